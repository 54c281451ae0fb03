"""The life of photos in a bucket, told in order; run by scripts/s3-test."""

import http.client
import signal
import socket
import time
import urllib.parse

from bucket import Bucket
from roost import Roost, png, tell, until

TWEETS = "/api/tweets/"
LEFT = "photos of a deleted tweet are left"


def post(roost, token, *files, content="with photos"):
    return roost.upload("POST", TWEETS, token, [("files", *file) for file in files], content=content)


def key_of(bucket, url):
    return bucket.prefix + url.removeprefix("/media")


def refused_for_now(answer):
    """A clear answer that says when to come back, not a failure of the service."""
    assert answer.status == 503 and answer.headers["Retry-After"], answer
    assert answer.json()["code"] == "unavailable", answer


def a_bad_bucket_stops_the_start(bucket):
    for what, changes, expected in [
        ("a secret that is wrong", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch"),
        ("a key that nobody knows", {"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "InvalidAccessKeyId"),
        ("a bucket that is not there", {"ROOST_MEDIA_URL": "s3://photos-absent/roost"}, "NoSuchBucket"),
        ("a prefix of somebody else", {"ROOST_MEDIA_URL": "s3://photos/other"}, "AccessDenied"),
        ("http without a permission for it", {"AWS_ALLOW_HTTP": "false"}, "AWS_ALLOW_HTTP"),
    ]:
        roost = Roost(bucket.environment(**changes))
        assert not roost.launch(), f"{what} was accepted"
        assert roost.process.wait(timeout=10) == 1
        until(5, "the error", lambda: roost.logged("error: "))
        error = next(line for line in roost.log if line.startswith("error: "))
        assert expected in error, f"{what}: {error}"
        assert roost.environment["AWS_SECRET_ACCESS_KEY"] not in error
        tell(f"{what}: {error}")
    assert bucket.keys() == [], "an attempt to start left something behind"


def photos_and_avatars_come_back(bucket, roost, ann):
    photos = ("one.png", png()), ("two.png", png(transparent=True)), ("one.png", png())
    urls = post(roost, ann, *photos).json()["photo_urls"]
    assert len(set(urls)) == 3
    saved = roost.upload("PUT", "/api/profiles/1/", ann, [("avatar", "me.png", png())], nickname="Ann")
    assert saved.status == 200, saved
    avatar = saved.json()["avatar"]
    assert bucket.keys() == sorted(key_of(bucket, url) for url in [*urls, avatar]), bucket.keys()
    kinds = ["image/jpeg", "image/png", "image/jpeg", "image/jpeg"]
    for url, kind in zip([*urls, avatar], kinds):
        for method in "GET", "HEAD":
            answer = roost.ask(method, url)
            assert answer.status == 200 and answer.headers["Content-Type"] == kind, answer
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable", answer
            stored = bucket.s3_object(key_of(bucket, url))
            assert int(answer.headers["Content-Length"]) == len(stored), answer
            assert answer.body == (stored if method == "GET" else b""), answer
            again = roost.ask(method, url, **{"If-None-Match": answer.headers["ETag"]})
            assert again.status == 304 and not again.body, again
    assert roost.ask("GET", urls[0][:-5] + "x.jpg").status == 404
    tell("photos and avatars come back with their types, lengths and caching headers")
    return urls, avatar


def a_killed_node_has_lost_nothing(bucket, roost, ann):
    url = post(roost, ann, ("kept.png", png())).json()["photo_urls"][0]
    assert roost.end(signal.SIGKILL) < 0
    assert roost.launch()
    assert roost.ask("GET", url).body == bucket.s3_object(key_of(bucket, url))
    tell("after kill -9 right behind the answer, the photo is there")


def a_deleted_tweet_takes_its_photos_along(bucket, roost, ann):
    tweet = post(roost, ann, *[(f"{n}.png", png()) for n in range(9)]).json()
    keys = {key_of(bucket, url) for url in tweet["photo_urls"]}
    assert len(keys) == 9 and keys <= set(bucket.keys())
    assert roost.ask("DELETE", f"{TWEETS}{tweet['id']}/", token=ann).status == 200
    until(20, "the photos are gone", lambda: not keys & set(bucket.keys()))
    for url in tweet["photo_urls"]:
        assert roost.ask("GET", url).status == 404
    tell("the nine photos of a deleted tweet are gone from the bucket")


def a_half_stored_tweet_leaves_nothing(bucket, roost, ann):
    before = bucket.keys()
    answer = post(roost, ann, ("good.png", png()), ("bad.png", b"no picture"))
    assert answer.status == 400, answer
    until(5, "the good photo is gone", lambda: bucket.keys() == before)
    tell("a tweet with a bad photo leaves none of the good ones")


def while_the_bucket_is_away(bucket, roost, ann, urls, what, limit, word):
    doomed = post(roost, ann, ("doomed.png", png())).json()
    left = roost.count(LEFT)
    tweets = len(roost.ask("GET", f"{TWEETS}?user_id=1").json()["results"])
    {"off": bucket.off, "silent": bucket.fall_silent, "shut": lambda: bucket.permit(False)}[what]()
    started = time.monotonic()
    refused_for_now(post(roost, ann, ("lost.png", png())))
    took = time.monotonic() - started
    assert took < limit, f"a photo was refused only after {took:.1f} s"
    until(5, f"a word of {word} in the log", lambda: roost.logged(word))
    refused_for_now(roost.upload("PUT", "/api/profiles/1/", ann, [("avatar", "x.png", png())]))
    refused_for_now(roost.ask("GET", urls[0]))
    # All else goes on.
    assert roost.ask("GET", "/readyz").status == 200
    assert roost.ask("POST", TWEETS, {"content": "no photo"}, ann).status == 201
    assert roost.ask("GET", "/api/newsfeeds/", token=ann).status == 200
    assert roost.ask("DELETE", f"{TWEETS}{doomed['id']}/", token=ann).status == 200
    until(40, "an attempt to delete the photo has failed", lambda: roost.count(LEFT) > left)
    bucket.permit(True) if what == "shut" else bucket.on()
    answer = post(roost, ann, ("found.png", png()))
    assert answer.status == 201, answer
    shown = roost.ask("GET", f"{TWEETS}?user_id=1").json()["results"]
    assert len(shown) == tweets + 1, "the refused tweet is there, or another one is not"
    doomed_key = key_of(bucket, doomed["photo_urls"][0])
    until(60, "the photo of the tweet deleted meanwhile is gone", lambda: doomed_key not in bucket.keys())
    assert roost.ask("GET", urls[0]).status == 200
    tell(f"bucket {what}: 503 after {took:.1f} s, all else works, deletions are made up for")


def a_start_without_the_bucket(bucket, roost, ann, urls):
    assert roost.end() == 0
    bucket.off()
    started = time.monotonic()
    assert roost.launch(), roost.log
    took = time.monotonic() - started
    assert took < 6, f"the start took {took:.1f} s"
    until(5, "a word of the bucket in the log", lambda: roost.logged("the bucket of photos"))
    refused_for_now(post(roost, ann, ("lost.png", png())))
    bucket.on()
    assert post(roost, ann, ("found.png", png())).status == 201
    assert roost.ask("GET", urls[0]).status == 200
    tell(f"a start without the bucket took {took:.1f} s, and photos work once it is back")


def a_slow_client_gets_all_of_a_large_photo(bucket, roost, ann):
    url = post(roost, ann, ("large.png", png(1600, 1600, transparent=True, noise=True))).json()
    url = url["photo_urls"][0]
    stored = bucket.s3_object(key_of(bucket, url))
    place = urllib.parse.urlsplit(roost.base)
    with socket.socket() as client:
        # Before connecting, so that the window is small from the beginning.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.connect((place.hostname, place.port))
        client.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        started, got, piece = time.monotonic(), b"", len(stored) // 100 + 1
        # The pace of the reader is what is tested: a hundred pieces in 25 seconds.
        while len(got) < len(stored):
            part = answer.read(piece)
            assert part, f"cut off after {len(got)} of {len(stored)} bytes"
            got += part
            time.sleep(0.25)
    assert got == stored
    tell(f"a client got {len(got) / 1e6:.1f} MB in {time.monotonic() - started:.0f} s")


def main():
    bucket = Bucket("photos", "roost")
    a_bad_bucket_stops_the_start(bucket)
    with Roost(bucket.environment()) as roost:
        assert roost.launch(), roost.log
        ann = roost.sign_up("ann")
        urls, _ = photos_and_avatars_come_back(bucket, roost, ann)
        a_killed_node_has_lost_nothing(bucket, roost, ann)
        a_deleted_tweet_takes_its_photos_along(bucket, roost, ann)
        a_half_stored_tweet_leaves_nothing(bucket, roost, ann)
        while_the_bucket_is_away(bucket, roost, ann, urls, "off", 8, "a photo could not be stored")
        while_the_bucket_is_away(bucket, roost, ann, urls, "silent", 20, "a photo could not be stored")
        while_the_bucket_is_away(bucket, roost, ann, urls, "shut", 5, "AccessDenied")
        a_start_without_the_bucket(bucket, roost, ann, urls)
        a_slow_client_gets_all_of_a_large_photo(bucket, roost, ann)
        assert not [line for line in roost.log if "panicked" in line or " 500 " in line]
        assert roost.end() == 0
    tell("all is well")


main()
