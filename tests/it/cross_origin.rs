//! Pages of other origins: who is let in, and with what.

use crate::harness::{App, Client, Reply, Setup, json, on_every_setup};

on_every_setup! {
    named_origins_may_use_the_api_with_cookies,
    everybody_may_use_it_without,
}

const APP: &str = "https://app.example";
const TWEETS: &str = "/api/tweets/";

fn from(client: &Client, method: &str, path: &str, origin: &str) -> Reply {
    let request = client.request(method, path).header("Origin", origin);
    let request = request.header("Sec-Fetch-Site", "same-site");
    match method {
        "POST" => request.json(&json!({"content": "from another origin"})).send(),
        _ => request.send(),
    }
}

fn ask(client: &Client, path: &str, origin: &str) -> Reply {
    let request = client.request("OPTIONS", path).header("Origin", origin);
    request
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,idempotency-key")
        .send()
}

fn allowed(reply: &Reply) -> (Option<&str>, Option<&str>) {
    let header = |name| reply.header(name);
    (header("access-control-allow-origin"), header("access-control-allow-credentials"))
}

fn named_origins_may_use_the_api_with_cookies(setup: Setup) {
    let other = "http://localhost:3000";
    let app = App::on(setup).env("ROOST_CORS_ORIGINS", &format!("{APP},{other}")).start();
    let ann = app.sign_up("ann");
    for origin in [APP, other] {
        // The question carries no credentials and comes before the login is looked at.
        let answer = ask(&app.anonymous(), "/api/likes/", origin);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.describe());
        assert_eq!(allowed(&answer), (Some(origin), Some("true")));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("Idempotency-Key") && !headers.contains('*'), "{headers}");
        assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
        assert!(answer.header("access-control-max-age").is_some());
        assert_eq!(answer.header("vary"), Some("Origin"));

        let answer = from(&ann, "POST", TWEETS, origin);
        assert_eq!((answer.status, allowed(&answer)), (201, (Some(origin), Some("true"))));
        let answer = from(&ann, "GET", "/api/newsfeeds/", origin);
        assert_eq!((answer.status, allowed(&answer)), (200, (Some(origin), Some("true"))));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Link"));
        // Its scripts must be able to read refusals, too.
        let answer = from(&app.anonymous(), "GET", "/api/newsfeeds/", origin);
        assert_eq!((answer.status, allowed(&answer)), (403, (Some(origin), Some("true"))));
    }
    let lookalikes =
        ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"];
    for stranger in lookalikes {
        let answer = from(&ann, "POST", TWEETS, stranger);
        assert_eq!((answer.status, allowed(&answer)), (403, (None, None)), "{stranger}");
        let answer = ask(&ann, TWEETS, stranger);
        assert_eq!((answer.status, allowed(&answer)), (405, (None, None)), "{stranger}");
        let answer = from(&ann, "GET", "/api/tweets/?user_id=1", stranger);
        assert_eq!((answer.status, allowed(&answer)), (200, (None, None)), "{stranger}");
        let vary: Vec<&str> = answer.headers_of("vary");
        assert!(vary.contains(&"Origin"), "a cache would mix them up: {vary:?}");
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 2);
    // What is no part of the API stays with its own origin.
    let answer = from(&ann, "GET", "/healthz", APP);
    assert_eq!(allowed(&answer), (None, None));
}

fn everybody_may_use_it_without(setup: Setup) {
    let app = App::on(setup).env("ROOST_CORS_ORIGINS", "*").start();
    let ann = app.sign_up("ann");
    let answer = ask(&app.anonymous(), TWEETS, APP);
    assert_eq!((answer.status, allowed(&answer)), (204, (Some("*"), None)));
    let answer = from(&ann.with_bearer(), "POST", TWEETS, APP);
    assert_eq!((answer.status, allowed(&answer)), (201, (Some("*"), None)));
    // The cookie of a browser that is lured here still does not count.
    assert_eq!(from(&ann, "POST", TWEETS, APP).status, 403);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 1);
}
