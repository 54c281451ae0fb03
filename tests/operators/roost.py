"""A Roost under test, and a client that tells answers from failures."""

import base64
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib

PASSWORD = "correct horse"
STARTED = time.monotonic()


def png(width=8, height=6, transparent=False, noise=False):
    """A picture: opaque ones come back as JPEG, transparent ones as PNG."""
    depth = 4 if transparent else 3
    row = width * depth
    pixels = (
        b"".join(b"\0" + os.urandom(row) for _ in range(height))
        if noise
        else (b"\0" + bytes([200, 30, 90, 128][:depth]) * width) * height
    )

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6 if transparent else 2, 0, 0, 0)
    body = zlib.compress(pixels, 0 if noise else 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


class Answer:
    def __init__(self, raw):
        self.status, self.headers, self.body = raw.status, raw.headers, raw.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]!r}"


class Roost:
    """One process over SQLite in a folder of its own; its log is kept in memory."""

    def __init__(self, environment):
        self.folder = tempfile.TemporaryDirectory(prefix="roost-operators.")
        self.environment = os.environ | {
            "ROOST_LISTEN": "127.0.0.1:0",
            "ROOST_DATA_DIR": self.folder.name,
            "ROOST_RATE_LIMITS": "off",
        }
        self.environment |= environment
        self.process, self.base, self.log = None, None, []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """A process that still runs is ended; after a failure the end of its log is shown."""
        if kind:
            print("\n".join(self.log[-40:]), file=sys.stderr)
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)

    def launch(self, **changes):
        """Starts the process and waits until it listens or ends; whether it listens."""
        self.log = []
        self.process = subprocess.Popen(
            [os.environ["ROOST_TEST_BINARY"], "serve"],
            env=self.environment | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read_log, args=[self.process.stderr], daemon=True).start()
        line = self.process.stdout.readline()
        self.base = line.removeprefix("Roost listens on ").strip()
        return bool(line)

    def _read_log(self, stream):
        for line in stream:
            self.log.append(line.rstrip())

    def count(self, word):
        """Lines of the log with the word."""
        return sum(word in line for line in list(self.log))

    def logged(self, word):
        return self.count(word) > 0

    def end(self, how=signal.SIGTERM):
        """The exit status; what a kill -9 leaves is negative."""
        self.process.send_signal(how)
        return self.process.wait(timeout=20)

    def ask(self, method, path, body=None, token=None, **headers):
        if isinstance(body, (dict, list)):
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as raw:
                return Answer(raw)
        except urllib.error.HTTPError as raw:
            with raw:
                return Answer(raw)

    def sign_up(self, name):
        who = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        assert self.ask("POST", "/api/accounts/signup/", who).status == 201
        return self.ask("POST", "/api/accounts/token/", who).json()["token"]

    def upload(self, method, path, token, files, **fields):
        """`files`: field name, file name, bytes."""
        mark = base64.b16encode(os.urandom(12)).decode()
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        for name, file_name, data in files:
            head = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
            parts.append(f"--{mark}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        return self.ask(method, path, body, token, **kind)


def tell(text):
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def until(seconds, what, condition):
    """Waits for something that happens in the background."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
