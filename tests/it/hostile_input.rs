//! Bodies, headers and paths that no honest client sends: refused in words, never a 500,
//! and the server goes on for everybody else. What stands in front of a body is here, bodies are
//! in [`bodies`].

mod bodies;

use crate::harness::{App, Client, on_every_setup};

on_every_setup! {
    odd_paths_and_queries_are_answered,
    odd_requests_are_answered,
    what_is_not_http_is_refused_in_the_same_shape,
    no_tunnel_is_opened,
    sizes_and_numbers_have_limits,
}

const TWEETS: &str = "/api/tweets/";

/// The proof that a refusal harmed nobody: the next honest request works, and it is the only
/// one that left a trace.
#[track_caller]
fn assert_nothing_happened(app: &App, client: &Client) {
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);
    client.tweet("still here");
}

fn odd_paths_and_queries_are_answered(app: App) {
    let ann = app.sign_up("ann");
    let long = "x".repeat(7000);
    let many = "a=1&".repeat(10_000);
    let paths = [
        "/api/%FF/",
        "/api/tweets/%FF/",
        "/api/tweets/%00/",
        "/api/tweets/1/../2/",
        "/api//tweets//",
        "/api/nothing/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/tweets/?user_id=%FF",
        "/api/tweets/?user_id=%",
        "/api/tweets/?%00=%00",
        "/api/profiles/?username=%00",
        "/api/profiles/?username=%FF",
        "/api/notifications/?unread=perhaps",
        &format!("/api/{long}/"),
        &format!("/api/newsfeeds/?{many}"),
        &format!("/api/profiles/?username={long}"),
    ];
    for path in paths {
        let reply = ann.raw_request(&format!("GET {path}"), &[], b"").checked();
        assert!((200..500).contains(&reply.status), "{}", reply.describe());
    }
    ann.get("/api/nothing/").refused(404, "Not found.");
    app.anonymous().get("/nothing/").refused(404, "Not found.");
    ann.tweet("still here");
}

fn odd_requests_are_answered(app: App) {
    let ann = app.sign_up("ann");
    let length = "Content-Length: 15";
    let json_type = "Content-Type: application/json";
    // Two lengths, or a length and chunks: the way requests are smuggled.
    let body = br#"{"content":"x"}"#;
    for extra in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        let reply = ann.raw_request(&format!("POST {TWEETS}"), &[json_type, length, extra], body);
        assert_eq!(reply.status, 400, "{extra}: {}", reply.describe());
    }
    let reply = ann.raw_request(&format!("POST {TWEETS}"), &[json_type, "Content-Length: -1"], b"");
    assert_eq!(reply.status, 400, "{}", reply.describe());
    let reply = app.anonymous().raw(b"GARBAGE\r\n\r\n");
    assert_eq!(reply.status, 400, "{}", reply.describe());
    for method in ["TRACE", "PROPFIND", "FOO"] {
        let reply = ann.raw_request(&format!("{method} {TWEETS}"), &[], b"").checked();
        assert_eq!(reply.status, 405, "{}", reply.describe());
    }
    // HTTP/1.0 still works.
    let reply = app.anonymous().raw(b"GET /healthz HTTP/1.0\r\n\r\n").checked();
    assert_eq!(reply.status, 200, "{}", reply.describe());
    // A foreign Host never finds its way into an answer.
    let reply = app.anonymous().raw(
        b"GET /api/tweets?user_id=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    assert!(!reply.header("location").unwrap().contains("evil.example"), "an open redirect");
    assert_nothing_happened(&app, &ann);
}

/// Refused below the application, where there are neither routes nor users.
fn what_is_not_http_is_refused_in_the_same_shape(app: App) {
    let ann = app.sign_up("ann");
    let host = "Host: localhost\r\n";
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "a".repeat(200_000);
    let bodies = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let json_type = "Content-Type: application/json\r\n";
    let cases = [
        (400, "malformed", "GARBAGE\r\n\r\n".to_owned()),
        (400, "malformed", format!("GET / HTTP/3.7\r\n{host}\r\n")),
        (400, "malformed", format!("G@T\u{7} / HTTP/1.1\r\n{host}\r\n")),
        (400, "malformed", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "malformed", format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (400, "malformed", format!("GET / HTTP/1.1\r\n{host}no colon\r\n\r\n")),
        (400, "malformed", format!("GET /{} HTTP/1.1\r\n{host}\r\n", &long[..70_000])),
        (400, "malformed", format!("POST {TWEETS} HTTP/1.1\r\n{host}{json_type}{bodies}\r\n")),
        (431, "head_too_large", format!("GET / HTTP/1.1\r\n{host}{many}\r\n")),
        (431, "head_too_large", format!("GET / HTTP/1.1\r\n{host}X-Long: {long}\r\n\r\n")),
    ];
    for (status, code, request) in &cases {
        let reply = app.anonymous().raw(request.as_bytes()).checked();
        assert_eq!(reply.status, *status, "{request:.60}: {}", reply.describe());
        assert_eq!(reply.header("connection"), Some("close"), "{request:.60}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{request:.60}");
        assert!(reply.header("date").is_some(), "{request:.60}");
        assert_eq!(reply.json()["code"], *code, "{request:.60}");
    }
    // Also after a request that was one.
    let good = ann.head_of("GET /healthz", &[]);
    let answers = ann.raw_bytes(format!("{good}GARBAGE\r\n\r\n").as_bytes());
    let text = String::from_utf8(answers).unwrap();
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400"], "{text}");
    assert_nothing_happened(&app, &ann);
}

fn no_tunnel_is_opened(app: App) {
    let ann = app.sign_up("ann");
    for target in ["example.com:443", "127.0.0.1:22", "/api/tweets/"] {
        let request =
            format!("CONNECT {target} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        let reply = ann.raw(request.as_bytes());
        assert!((400..500).contains(&reply.status), "{target}: {}", reply.describe());
    }
    // Nor is another host asked on the client's behalf, or another protocol spoken.
    let reply = ann.raw_request("GET http://example.com/api/nothing/", &[], b"").checked();
    assert_eq!(reply.status, 404, "{}", reply.describe());
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let reply = ann.raw_request("GET /healthz", &upgrade, b"");
    assert_eq!(reply.status, 200, "{}", reply.describe());
    assert_nothing_happened(&app, &ann);
}

fn sizes_and_numbers_have_limits(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(3);
    let feed = |size: &str| ann.get(&format!("/api/newsfeeds/?page_size={size}"));
    for size in ["0", "-1", "101", "1000000000", "99999999999999999999", "abc", "1.5", "", "%00"] {
        feed(size).blames(&["page_size"]);
    }
    feed("100").expect(200);
    // The lists by number clip a size and know no page beyond the last, however it is written.
    let friends = |query: &str| ann.get(&format!("/api/friendships/{}/followers/?{query}", ann.id));
    for size in ["1000000000", "99999999999999999999"] {
        friends(&format!("size={size}")).expect(200);
    }
    for size in ["0", "-1", "abc"] {
        friends(&format!("size={size}")).blames(&["size"]);
    }
    for page in ["2", "0", "-1", "abc", "1000000000", "99999999999999999999"] {
        friends(&format!("page={page}")).refused(404, "Invalid page.");
        let path = format!("/api/notifications/?page={page}");
        ann.get(&path).refused(404, "Invalid page.");
    }
}
