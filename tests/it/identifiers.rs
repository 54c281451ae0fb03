//! Ids in paths, in queries and in bodies: positive 64-bit integers or a clear refusal.

use crate::harness::{App, id, json, on_every_setup};

on_every_setup! {
    a_path_with_a_bad_id_leads_nowhere,
    a_bad_id_in_a_query_is_refused,
    an_unknown_id_in_a_query_finds_nothing,
    a_bad_id_in_a_body_is_refused,
    parameters_given_twice_do_no_harm,
}

/// What is no id at all.
const BAD: [&str; 15] = [
    "0",
    "-1",
    "-0",
    "9223372036854775808",
    "18446744073709551617",
    "99999999999999999999999999999999",
    "1e3",
    "0x10",
    "1.0",
    "abc",
    "NaN",
    "%201",
    "1%00",
    "%D9%A1",
    "1%20OR%201=1",
];
/// Ids that could be somebody's and are nobody's.
const UNKNOWN: [&str; 3] = ["2147483648", "4294967297", "9223372036854775807"];

fn a_path_with_a_bad_id_leads_nowhere(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("number one");
    for value in BAD.iter().chain(&UNKNOWN) {
        let paths = [
            ("GET", format!("/api/tweets/{value}/")),
            ("DELETE", format!("/api/tweets/{value}/")),
            ("GET", format!("/api/profiles/{value}/")),
            ("PUT", format!("/api/profiles/{value}/")),
            ("POST", format!("/api/friendships/{value}/follow/")),
            ("POST", format!("/api/friendships/{value}/unfollow/")),
            ("PUT", format!("/api/comments/{value}/")),
            ("DELETE", format!("/api/comments/{value}/")),
            ("PUT", format!("/api/notifications/{value}/")),
        ];
        for (method, path) in paths {
            let body = json!({"content": "x", "nickname": "x", "unread": false});
            ann.request(method, &path).json(&body).send().refused(404, "Not found.");
        }
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets WHERE deleted_at IS NULL"), 1);
}

fn a_bad_id_in_a_query_is_refused(app: App) {
    for value in BAD {
        app.anonymous().get(&format!("/api/tweets/?user_id={value}")).blames(&["user_id"]);
        app.anonymous().get(&format!("/api/comments/?tweet_id={value}")).blames(&["tweet_id"]);
    }
}

fn an_unknown_id_in_a_query_finds_nothing(app: App) {
    for value in UNKNOWN {
        let tweets = app.anonymous().get(&format!("/api/tweets/?user_id={value}")).expect(200);
        assert_eq!(tweets, json!({"has_next_page": false, "results": []}));
        let comments = app.anonymous().get(&format!("/api/comments/?tweet_id={value}")).expect(200);
        assert_eq!(comments["comments"], json!([]));
    }
}

fn a_bad_id_in_a_body_is_refused(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("number one"));
    let mut values: Vec<_> = BAD
        .iter()
        .chain(&UNKNOWN)
        .filter(|text| !text.contains('%'))
        .map(|text| json!(text))
        .collect();
    values.extend([json!(0), json!(-1), json!(9_223_372_036_854_775_808_u64), json!(i64::MAX)]);
    values.extend([json!(1.5), json!(-1e300), json!(true), json!(null), json!([tweet]), json!({})]);
    for value in values {
        let body = json!({"tweet_id": value, "content": "x"});
        ann.post("/api/comments/", body).expect(400);
        for path in ["/api/likes/", "/api/likes/cancel/"] {
            ann.post(path, json!({"content_type": "tweet", "object_id": value})).expect(400);
        }
    }
    let page = ann.tweet_page(tweet);
    assert_eq!((&page["comments_count"], &page["likes_count"]), (&json!(0), &json!(0)));
}

fn parameters_given_twice_do_no_harm(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.tweet("by ann");
    bob.tweet("by bob");
    // Refused, or one of the two counts; never an answer that is about both or neither.
    let reply = ann.get(&format!("/api/tweets/?user_id={}&user_id={}", ann.id, bob.id));
    if reply.status == 200 {
        assert_eq!(reply.json()["results"].as_array().unwrap().len(), 1);
    } else {
        reply.expect(400);
    }
    let reply = ann.get("/api/newsfeeds/?page_size=1&page_size=2");
    assert!(matches!(reply.status, 200 | 400), "{}", reply.describe());
    let twice = [("content", "one"), ("content", "two")];
    for reply in
        [ann.post_form("/api/tweets/", &twice), ann.post_multipart("/api/tweets/", &twice, &[])]
    {
        assert!(matches!(reply.status, 201 | 400), "{}", reply.describe());
    }
    let json_twice = br#"{"content":"one","content":"two"}"#;
    let reply = ann.request("POST", "/api/tweets/").body("application/json", *json_twice).send();
    assert!(matches!(reply.status, 201 | 400), "{}", reply.describe());
}
