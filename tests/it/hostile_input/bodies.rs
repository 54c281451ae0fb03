//! Bodies that are malformed, too large, broken off, ambiguous, or of a type that nobody takes.

use std::io::{Read, Write};

use super::{TWEETS, assert_nothing_happened};
use crate::harness::{App, Client, Reply, json, on_every_setup};

on_every_setup! {
    malformed_json_is_refused,
    text_that_is_not_unicode_is_refused,
    bodies_have_a_limit,
    other_content_types_are_refused,
    malformed_forms_are_refused,
    malformed_multipart_is_refused,
    a_body_that_breaks_off_gets_one_answer,
    odd_numbers_in_json_are_refused,
    of_two_values_the_last_one_counts,
}

fn post_bytes(client: &Client, content_type: &str, bytes: &[u8]) -> Reply {
    client.request("POST", TWEETS).body(content_type, bytes).send()
}

fn malformed_json_is_refused(app: App) {
    let ann = app.sign_up("ann");
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let deep_objects = [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"{\"content\":}",
        b"{\"content\":\"x\"} trailing",
        b"{\"content\":\"x\"}{\"content\":\"y\"}",
        b"{'content':'x'}",
        b"{\"content\":\"x\",}",
        b"\xEF\xBB\xBF{\"content\":1}",
        b"{\"content\":NaN}",
        b"\"content\"",
        &deep[..50_000],
        &deep_objects[..50_000],
    ];
    for bytes in bodies {
        let reply = post_bytes(&ann, "application/json", bytes);
        assert_eq!(reply.status, 400, "{}: {}", String::from_utf8_lossy(bytes), reply.describe());
    }
    let reply = post_bytes(&ann, "application/json", &deep);
    assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());
    assert_nothing_happened(&app, &ann);
}

fn text_that_is_not_unicode_is_refused(app: App) {
    let ann = app.sign_up("ann");
    let json_bodies: [&[u8]; 6] = [
        b"{\"content\":\"\xFF\xFE\"}",
        b"{\"content\":\"\xC0\xAF\"}",
        b"{\"content\":\"\xED\xA0\x80\"}",
        br#"{"content":"\ud800"}"#,
        br#"{"content":"\udc00\ud800"}"#,
        br#"{"content":"a\u0000b"}"#,
    ];
    for bytes in json_bodies {
        let reply = post_bytes(&ann, "application/json", bytes);
        assert_eq!(reply.status, 400, "{}: {}", String::from_utf8_lossy(bytes), reply.describe());
    }
    for bytes in [&b"content=%FF%FE"[..], b"content=\xFF", b"content=a%00b", b"content=%ED%A0%80"] {
        let reply = post_bytes(&ann, "application/x-www-form-urlencoded", bytes);
        assert_eq!(reply.status, 400, "{}: {}", String::from_utf8_lossy(bytes), reply.describe());
    }
    let part =
        b"--b\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\n\xFF\xFE\r\n--b--\r\n";
    post_bytes(&ann, "multipart/form-data; boundary=b", part).expect(400);
    let login = br#"{"username":"\u0000","password":"\u0000"}"#;
    let reply = ann.request("POST", "/api/accounts/login/").body("application/json", *login).send();
    reply.expect(400);
    assert_nothing_happened(&app, &ann);
    // A proper pair of surrogates is one character.
    let bytes = br#"{"content":"\ud83d\udc14"}"#;
    assert_eq!(post_bytes(&ann, "application/json", bytes).expect(201)["content"], "🐔");
}

fn bodies_have_a_limit(app: App) {
    let ann = app.sign_up("ann");
    let ten_megabytes = format!("{{\"content\":\"{}\"}}", "x".repeat(10_000_000));
    let reply = post_bytes(&ann, "application/json", ten_megabytes.as_bytes());
    assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());
    let reply = post_bytes(&ann, "application/x-www-form-urlencoded", ten_megabytes.as_bytes());
    assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());
    // A small body that unpacks to a large one: the limit counts what comes out.
    let request = ann.request("POST", TWEETS).header("Content-Encoding", "gzip");
    let reply = request.body("application/json", gzip(ten_megabytes.as_bytes())).send();
    assert!(matches!(reply.status, 400 | 413 | 415), "{}", reply.describe());
    assert_nothing_happened(&app, &ann);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

fn other_content_types_are_refused(app: App) {
    let ann = app.sign_up("ann");
    let body = br#"{"content":"x"}"#;
    for content_type in
        ["text/plain", "application/xml", "application/octet-stream", "image/png", "x"]
    {
        let reply = post_bytes(&ann, content_type, body);
        assert_eq!(reply.status, 415, "{content_type}: {}", reply.describe());
    }
    let reply = post_bytes(&ann, "", body);
    assert!(matches!(reply.status, 400 | 415), "{}", reply.describe());
    assert_nothing_happened(&app, &ann);
    // Parameters and letter case of a type do not matter.
    post_bytes(&ann, "Application/JSON; charset=utf-8", body).expect(201);
}

fn malformed_forms_are_refused(app: App) {
    let ann = app.sign_up("ann");
    for bytes in [&b""[..], b"&&&", b"=", b"content", b"content=%ZZ%00", b"content=%"] {
        let reply = post_bytes(&ann, "application/x-www-form-urlencoded", bytes);
        // A stray percent sign may also be read as itself.
        let text = String::from_utf8_lossy(bytes).into_owned();
        let allowed = reply.status == 400 || (text == "content=%" && reply.status == 201);
        assert!(allowed, "{text}: {}", reply.describe());
    }
    let many = "a=1&".repeat(10_000) + "content=x";
    let reply = post_bytes(&ann, "application/x-www-form-urlencoded", many.as_bytes());
    assert!(matches!(reply.status, 201 | 400 | 413), "{}", reply.describe());
}

fn malformed_multipart_is_refused(app: App) {
    let ann = app.sign_up("ann");
    let part = "--b\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nx\r\n";
    let nameless = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n";
    let cases = [
        ("multipart/form-data", format!("{part}--b--\r\n")),
        ("multipart/form-data; boundary=", format!("{part}--b--\r\n")),
        ("multipart/form-data; boundary=other", format!("{part}--b--\r\n")),
        ("multipart/form-data; boundary=b", String::new()),
        ("multipart/form-data; boundary=b", part.to_owned()),
        ("multipart/form-data; boundary=b", nameless.to_owned()),
        ("multipart/form-data; boundary=b", "--b\r\n".repeat(1000)),
    ];
    for (content_type, body) in cases {
        let reply = post_bytes(&ann, content_type, body.as_bytes());
        assert!(matches!(reply.status, 400 | 415), "{content_type}: {}", reply.describe());
    }
    let many: String = (0..5000).map(|_| part).collect();
    let reply =
        post_bytes(&ann, "multipart/form-data; boundary=b", (many + "--b--\r\n").as_bytes());
    assert!(matches!(reply.status, 400 | 413), "{}", reply.describe());
    assert_nothing_happened(&app, &ann);
}

fn a_body_that_breaks_off_gets_one_answer(app: App) {
    let ann = app.sign_up("ann");
    let json_type = "Content-Type: application/json";
    let head = ann.head_of(&format!("POST {TWEETS}"), &[json_type, "Transfer-Encoding: chunked"]);
    for rest in ["no size\r\n", "5\r\nab", "3\r\n{}}}}}}\r\n", "ffffffffffffffffff\r\n{"] {
        let mut stream = ann.connect();
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 "), "{rest:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{rest:?}: {text}");
    }
    assert_nothing_happened(&app, &ann);
}

fn odd_numbers_in_json_are_refused(app: App) {
    let ann = app.sign_up("ann");
    for number in ["1e400", "-1e400", "9".repeat(5000).as_str(), "01", "+1", "1.", ".5", "0x10"] {
        let body = format!("{{\"content_type\":\"tweet\",\"object_id\":{number}}}");
        let request = ann.request("POST", "/api/likes/");
        let reply = request.body("application/json", body).send();
        assert_eq!(reply.status, 400, "{number}: {}", reply.describe());
    }
    ann.post("/api/likes/", json!({"content_type": "tweet", "object_id": 1})).expect(400);
}

fn of_two_values_the_last_one_counts(app: App) {
    let ann = app.sign_up("ann");
    let twice = br#"{"content":"one","content":"two"}"#;
    assert_eq!(post_bytes(&ann, "application/json", twice).expect(201)["content"], "two");
    let form = "application/x-www-form-urlencoded";
    assert_eq!(post_bytes(&ann, form, b"content=one&content=two").expect(201)["content"], "two");
    let fields = [("content", "one"), ("content", "two")];
    assert_eq!(ann.post_multipart(TWEETS, &fields, &[]).expect(201)["content"], "two");
    let page = ann.get("/api/newsfeeds/?page_size=1&page_size=2").expect(200);
    assert_eq!(page["results"].as_array().unwrap().len(), 2);
}
