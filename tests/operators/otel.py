"""What a collector of traces sees of requests; run by scripts/otel-test."""

import concurrent.futures
import http.server
import socket
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from roost import Roost, tell, until

TWEETS = "/api/tweets/"


class Collector:
    """Takes traces by OTLP over HTTP, and keeps them."""

    def __init__(self):
        self.spans, self.services, self.complaints = [], set(), []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, self.headers["Content-Type"], body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, kind, body):
        if (path, kind) != ("/v1/traces", "application/x-protobuf"):
            self.complaints.append(f"{path} {kind}")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            self.services.update(names)
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def request(self, request_id):
        """The span of one request, or None."""
        found = [span for span in list(self.spans) if attributes(span).get("request_id") == request_id]
        assert len(found) < 2, f"{request_id} was sent twice"
        return found[0] if found else None

    def children(self, parent):
        return [
            span
            for span in list(self.spans)
            if (span.trace_id, span.parent_span_id) == (parent.trace_id, parent.span_id)
        ]


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def described(span):
    return f"{span.name} {attributes(span)}"


def a_request_reaches_down_into_the_store(collector, roost, ann, bob):
    tweet = roost.ask("POST", TWEETS, {"content": "hello"}, ann).json()["id"]
    like = {"content_type": "tweet", "object_id": tweet}
    # By a handler, by the actor of a timeline, by the ordered writer, by the counter.
    for name, method, path, body, route, status, call in [
        ("by-handler", "GET", "/api/profiles/1/", None, "/api/profiles/{user_id}/", 200, "profile"),
        ("by-timeline", "GET", "/api/newsfeeds/", None, "/api/newsfeeds/", 200, "timeline."),
        ("by-writer", "POST", TWEETS, {"content": "x"}, TWEETS, 201, "writer."),
        ("by-counter", "POST", "/api/likes/", like, "/api/likes/", 201, "counter."),
        ("not-there", "GET", "/api/nothing/", None, "unknown", 404, None),
    ]:
        answer = roost.ask(method, path, body, bob, **{"X-Request-Id": name})
        assert answer.status == status, answer
        until(15, f"the span of {name}", lambda: collector.request(name))
        span = collector.request(name)
        told = attributes(span)
        assert span.kind == Span.SPAN_KIND_SERVER and span.name == f"{method} {route}", described(span)
        assert told["http.request.method"] == method and told["http.route"] == route, described(span)
        assert told["http.response.status_code"] == status, described(span)
        assert not span.parent_span_id and span.status.code == Status.STATUS_CODE_UNSET
        if call:
            # A child may end, and be sent, after its parent.
            is_there = lambda: any(child.name.startswith(call) for child in collector.children(span))
            until(15, f"a call {call}* of {name}", is_there)
        for child in collector.children(span):
            assert child.kind == Span.SPAN_KIND_CLIENT, described(child)
            assert child.start_time_unix_nano >= span.start_time_unix_nano
        calls = sorted(child.name for child in collector.children(span))
        tell(f"{span.name}: {', '.join(calls) or 'no call'}")


def who_shares_a_transaction_is_linked(collector, roost, ann, bob):
    tweet = roost.ask("POST", TWEETS, {"content": "liked by many"}, ann).json()["id"]
    like = {"content_type": "tweet", "object_id": tweet}

    def once(number):
        path = "/api/likes/" if number % 2 else "/api/likes/cancel/"
        roost.ask("POST", path, like, bob, **{"X-Request-Id": f"shared-{number}"})

    with concurrent.futures.ThreadPoolExecutor(16) as crowd:
        list(crowd.map(once, range(200)))
    shared = lambda: [s for s in list(collector.spans) if "shared-" in str(attributes(s).get("request_id"))]
    until(15, "the spans of 200 likes", lambda: len(shared()) == 200)
    ids = {span.span_id: span for span in shared()}
    links = [link for span in shared() for link in span.links]
    assert links and all(link.span_id in ids for link in links), links
    tell(f"200 likes by 16 at a time: {len(links)} shared another one's transaction and are linked")


def a_trace_goes_on_below_what_a_trusted_proxy_names(collector, roost, bob, is_trusted):
    trace, parent = bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes.fromhex("b7ad6b7169203331")

    def ask(name, version, flags):
        header = f"{version}-{trace.hex()}-{parent.hex()}-{flags}"
        name = f"{name}-{is_trusted}"
        answer = roost.ask("GET", "/api/profiles/1/", token=bob, **{"X-Request-Id": name, "traceparent": header})
        assert answer.status == 200, answer
        return name

    # One whose parent is not recorded is not recorded either.
    left_out = ask("left-out", "00", "00")
    for version, is_valid in [("ff", False), ("00", True)]:
        name = ask("version-" + version, version, "01")
        until(15, f"the span of {name}", lambda: collector.request(name))
        span = collector.request(name)
        is_below = (span.trace_id, span.parent_span_id) == (trace, parent)
        assert is_below == (is_trusted and is_valid), described(span)
        until(15, f"a call of {name}", lambda: collector.children(span))
    assert (collector.request(left_out) is None) == is_trusted
    tell(f"a traceparent of a proxy that is {'' if is_trusted else 'not '}trusted")


def what_nobody_asked_for_is_not_sent(collector):
    def strangers():
        known = {span.span_id for span in list(collector.spans) if "request_id" in attributes(span)}
        mine = lambda span: span.span_id in known or span.parent_span_id in known
        return [described(span) for span in list(collector.spans) if not mine(span)]

    # A call may be sent before the request that it was made for.
    until(15, "every span is of a request", lambda: not strangers())
    assert collector.services == {"roost"} and not collector.complaints
    tell(f"{len(collector.spans)} spans, each a request or below one")


def the_last_traces_are_sent_before_the_end(collector, roost, bob):
    # The clock would send it in ten minutes only.
    roost.ask("GET", "/api/newsfeeds/", token=bob, **{"X-Request-Id": "the-last"})
    started = time.monotonic()
    assert roost.end() == 0
    assert collector.request("the-last"), "lost at the stop"
    assert collector.children(collector.request("the-last")), "its calls were lost at the stop"
    tell(f"the last request arrived before the end, {time.monotonic() - started:.1f} s after SIGTERM")


def without_a_collector_all_goes_on(roost, bob, what, url):
    assert roost.launch(ROOST_OTLP_ENDPOINT=url), roost.log
    worst = 0
    for number in range(200):
        started = time.monotonic()
        assert roost.ask("GET", "/api/newsfeeds/", token=bob).status == 200
        worst = max(worst, time.monotonic() - started)
    until(30, "a word of it in the log", lambda: roost.logged("opentelemetry"))
    started = time.monotonic()
    assert roost.end() == 0
    took = time.monotonic() - started
    assert took < 8, f"the stop took {took:.1f} s"
    tell(f"{what}: slowest page {worst * 1000:.0f} ms, stopped in {took:.1f} s")


def main():
    collector = Collector()
    with Roost({"ROOST_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}) as roost:
        assert not roost.launch(ROOST_OTLP_ENDPOINT="https://127.0.0.1:1")
        until(5, "the error", lambda: roost.logged("ROOST_OTLP_ENDPOINT"))
        assert roost.launch(), roost.log
        ann, bob = roost.sign_up("ann"), roost.sign_up("bob")
        assert roost.ask("POST", "/api/friendships/1/follow/", {}, bob).status == 201
        a_request_reaches_down_into_the_store(collector, roost, ann, bob)
        who_shares_a_transaction_is_linked(collector, roost, ann, bob)
        a_trace_goes_on_below_what_a_trusted_proxy_names(collector, roost, bob, False)
        assert roost.end() == 0
        assert roost.launch(ROOST_TRUSTED_PROXIES="127.0.0.1")
        a_trace_goes_on_below_what_a_trusted_proxy_names(collector, roost, bob, True)
        what_nobody_asked_for_is_not_sent(collector)
        assert roost.end() == 0
        assert roost.launch(OTEL_BSP_SCHEDULE_DELAY="600000")
        the_last_traces_are_sent_before_the_end(collector, roost, bob)
        with socket.socket() as silence:
            silence.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{silence.getsockname()[1]}"
            without_a_collector_all_goes_on(roost, bob, "no collector", nobody)
            silence.listen(64)
            without_a_collector_all_goes_on(roost, bob, "a silent collector", nobody)
    tell("all is well")


main()
