"""Two nodes behind nginx, restarted one after the other under load; run by scripts/rolling-restart."""

import argparse
import collections
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from roost import STARTED, Roost, tell, until

TWEETS = "/api/tweets/"
READERS, WRITERS, LISTENERS = 4, 2, 2
# What a client does between two requests: a steady load, not as much as possible.
PAUSE = 0.01


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    """deploy/nginx.conf with other ports, in a folder of its own."""

    def __init__(self, nodes):
        self.folder = tempfile.TemporaryDirectory(prefix="roost-nginx.")
        self.nodes, self.port = nodes, free_port()
        self.process = None
        self.write(down=None)

    def write(self, down):
        text = pathlib.Path("deploy/nginx.conf").read_text()
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        for written, port in zip((8000, 8001), self.nodes):
            out = " down" if port == down else ""
            text, found = re.subn(
                rf"server 127\.0\.0\.1:{written} max_fails=0;",
                f"server 127.0.0.1:{port} max_fails=0{out};",
                text,
            )
            assert found == 1, "deploy/nginx.conf has changed"
        where = pathlib.Path(self.folder.name)
        (where / "roost.conf").write_text(text)
        (where / "nginx.conf").write_text(
            f"daemon off; pid {where}/pid; error_log {where}/error.log warn;\n"
            "worker_processes 1;\n"
            # As whoever runs this: the folder is its own.
            + ("user root;\n" if os.geteuid() == 0 else "")
            + "events { worker_connections 1024; }\n"
            f"http {{ access_log off; client_body_temp_path {where}/body;\n"
            f"proxy_temp_path {where}/proxy; fastcgi_temp_path {where}/f;\n"
            f"uwsgi_temp_path {where}/u; scgi_temp_path {where}/s;\n"
            f"include {where}/roost.conf; }}\n"
        )

    def command(self, *more):
        return ["nginx", "-p", self.folder.name, "-c", "nginx.conf", "-e", "error.log", *more]

    def start(self):
        subprocess.run(self.command("-t", "-q"), check=True)
        self.process = subprocess.Popen(self.command())
        until(10, "nginx listens", lambda: connects(self.port))

    def reload(self, down):
        """Takes a node out, or all in, and waits until the workers with the old list take no more
        connections. Those that they have go on: a stream may last for hours."""
        before = self.workers()
        self.write(down)
        self.process.send_signal(signal.SIGHUP)
        until(10, "new workers", lambda: self.workers() - before)
        until(10, "the old workers' end", lambda: not before & self.workers(taking=True))

    def workers(self, taking=False):
        """The processes, or only those that take new connections."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        there = set(children.read_text().split())
        return {pid for pid in there if not (taking and b"shutting down" in title(pid))}

    def errors(self):
        text = (pathlib.Path(self.folder.name) / "error.log").read_text()
        return collections.Counter(re.sub(r"^.*?\*\d+ |, client:.*$", "", line) for line in text.splitlines())

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=10)


def title(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"shutting down"


def connects(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Taken:
    """What came over a stream, event by event."""

    def __init__(self):
        self.last, self.texts = None, []
        self.cut()

    def cut(self):
        self.id = self.text = None

    def line(self, line):
        if line.startswith(b"id: "):
            self.id = line[4:].strip().decode()
        elif found := re.search(rb'"content":"(post \d+ \d+)"', line):
            self.text = found[1].decode()
        elif line == b"\n":
            self.last = self.id or self.last
            self.texts += [self.text] if self.text else []
            self.cut()


class Load:
    """Clients that tell what they were told. They try nothing again, and open a connection for each
    request: nginx closes those that are idle when it reads its configuration anew, and what a
    client does then is not what is tested."""

    def __init__(self, port, tokens):
        self.port, self.over = port, threading.Event()
        self.answers, self.failures, self.posted, self.seen = collections.Counter(), [], [], []
        self.streams_opened, self.lock = 0, threading.Lock()
        jobs = [(self.read, token) for token in tokens[:READERS]]
        jobs += [(self.write, token) for token in tokens[:WRITERS]]
        jobs += [(self.listen, token) for token in tokens[:LISTENERS]]
        self.threads = [threading.Thread(target=job, args=[token, number], daemon=True)
                        for number, (job, token) in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def ask(self, token, method, path, body=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        head = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            link.request(method, path, body, head)
            answer = link.getresponse()
            text = answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            status, text = type(error).__name__, str(error).encode()
        finally:
            link.close()
        with self.lock:
            self.answers[method, status] += 1
            if status not in (200, 201):
                self.failures.append(f"{time.monotonic() - STARTED:.2f} {method} {path}: {status} {text[:80]}")
        return status

    def read(self, token, number):
        while not self.over.is_set():
            self.ask(token, "GET", "/api/newsfeeds/")
            time.sleep(PAUSE)

    def write(self, token, number):
        count = 0
        while not self.over.is_set():
            count += 1
            text = f"post {number} {count}"
            if self.ask(token, "POST", TWEETS, f"content={text}") == 201:
                with self.lock:
                    self.posted.append(text)
            time.sleep(PAUSE)

    def listen(self, token, number):
        """Listens, and comes back where it was whenever the stream ends."""
        taken = Taken()
        while not self.over.is_set():
            head = {"Authorization": f"Bearer {token}"}
            head |= {"Last-Event-ID": taken.last} if taken.last else {}
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                link.request("GET", "/api/newsfeeds/stream/", headers=head)
                answer = link.getresponse()
                if answer.status == 200:
                    self.streams_opened += 1
                    while not self.over.is_set() and (line := answer.readline()):
                        taken.line(line)
                else:
                    self.failures.append(f"stream: {answer.status} {answer.read()[:80]}")
            except (OSError, http.client.HTTPException):
                pass  # Cut off: it goes on after the last whole event.
            finally:
                link.close()
            taken.cut()
        with self.lock:
            self.seen.append((token, taken.texts))

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(timeout=30)


def feed(roost, token):
    """Every text of a feed, newest first."""
    texts, cursor = [], ""
    while True:
        page = roost.ask("GET", f"/api/newsfeeds/?page_size=100{cursor}", token=token).json()
        texts += [entry["tweet"]["content"] for entry in page["results"]]
        if not page["has_next_page"]:
            return texts
        cursor = f"&created_at__lt={page['results'][-1]['created_at']}"


def restart(nginx, node, port, unannounced):
    if not unannounced:
        nginx.reload(down=port)
    assert node.end() == 0, "the node did not end in good order"
    assert node.launch(), node.log
    assert node.ask("GET", "/readyz").status == 200
    if not unannounced:
        nginx.reload(down=None)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--unannounced", action="store_true")
    asked = arguments.parse_args()

    shared = tempfile.TemporaryDirectory(prefix="roost-media.")
    ports = free_port(), free_port()
    nodes = [
        Roost({
            "ROOST_LISTEN": f"127.0.0.1:{port}",
            "DATABASE_URL": os.environ["ROOST_TEST_POSTGRES"],
            "REDIS_URL": os.environ["ROOST_TEST_REDIS"] + "/0",
            "ROOST_MEDIA_URL": shared.name,
            "ROOST_TRUSTED_PROXIES": "127.0.0.1",
        })
        for port in ports
    ]
    nginx = Nginx(ports)
    try:
        for node in nodes:
            assert node.launch(), node.log
        nginx.start()
        tokens = [nodes[0].sign_up(f"user{n}") for n in range(4)]
        for reader, token in enumerate(tokens, 1):
            for author in range(1, WRITERS + 1):
                if author != reader:
                    nodes[0].ask("POST", f"/api/friendships/{author}/follow/", {}, token)
        load = Load(nginx.port, tokens)
        time.sleep(1)
        for number in range(asked.rounds):
            for node, port in zip(nodes, ports):
                restart(nginx, node, port, asked.unannounced)
                time.sleep(0.5)
            tell(f"round {number + 1}: {sum(load.answers.values())} answers, {len(load.failures)} failures")
        time.sleep(1)
        load.stop()

        tell(", ".join(f"{count} x {method} {status}" for (method, status), count in sorted(load.answers.items(), key=str)))
        tell(f"{load.streams_opened} streams opened by {LISTENERS} listeners")
        for line, count in nginx.errors().most_common(5):
            tell(f"nginx, {count} x: {line}")
        until(20, "every post in every feed", lambda: all(
            set(load.posted) <= set(feed(nodes[0], token)) for token in tokens))
        for token in tokens:
            texts = feed(nodes[1], token)
            assert len(texts) == len(set(texts)), "a post is twice in a feed"
        for token, texts in load.seen:
            # From the first event to the last the stream is the feed, oldest first.
            whole = feed(nodes[0], token)[::-1]
            first, last = whole.index(texts[0]), whole.index(texts[-1])
            assert texts == whole[first:last + 1], "a stream has lost, repeated or swapped a post"
        check = subprocess.run([os.environ["ROOST_TEST_BINARY"], "check"], env=nodes[0].environment,
                               capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
        tell(f"{len(load.posted)} posts acknowledged, each in every feed once; {check.stdout.splitlines()[-1]}")
        for failure in load.failures[:20]:
            print(f"          {failure}")
        if load.failures and not asked.unannounced:
            sys.exit(f"{len(load.failures)} requests failed")
    finally:
        nginx.stop()
        for node in nodes:
            if node.process and node.process.poll() is None:
                node.end(signal.SIGKILL)


main()
