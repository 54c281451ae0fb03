"""Fills a fresh Roost with things whose ids are known, so that random requests meet them.

    seed.py BASE_URL

Prints, as shell assignments, the two changing parts of a photo's path. Users 1 (ann) and 2
(bob), tweets 1 to 40 (odd ones of ann), comments 1 to 60 (even ones of ann), notifications.
"""

import base64
import json
import sys
import urllib.request

BASE = sys.argv[1]
PASSWORD = "correct horse"


# A transparent pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def send(method, path, kind, body, token=None):
    headers = {"Content-Type": kind}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(BASE + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def post(path, body, token=None):
    return send("POST", path, "application/json", json.dumps(body).encode(), token)


def user(name):
    who = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    post("/api/accounts/signup/", who)
    return post("/api/accounts/token/", {"username": name, "password": PASSWORD})["token"]


ann, bob = user("ann"), user("bob")
for number in range(1, 41):
    post("/api/tweets/", {"content": f"tweet {number}"}, ann if number % 2 else bob)
post("/api/friendships/1/follow/", {}, bob)
post("/api/friendships/2/follow/", {}, ann)
for tweet in range(40, 10, -1):
    post("/api/likes/", {"content_type": "tweet", "object_id": tweet}, bob)
    post("/api/comments/", {"tweet_id": tweet, "content": "well said"}, bob)
    post("/api/comments/", {"tweet_id": tweet, "content": "thank you"}, ann)
form = b'--b\r\nContent-Disposition: form-data; name="avatar"; filename="a.png"\r\n\r\n'
form += PNG + b"\r\n--b--\r\n"
kind = "multipart/form-data; boundary=b"
avatar = send("PUT", "/api/profiles/1/", kind, form, ann)["avatar"]
_, _, random, name = avatar.split("/")
print(f"ROOST_PHOTO_RANDOM={random}")
print(f"ROOST_PHOTO_NAME={name}")
