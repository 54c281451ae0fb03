//! Ways to prove who one is besides the cookie: bearer tokens and HTTP Basic.

use std::time::Duration;

use crate::harness::{App, PASSWORD, Setup, json, on_every_setup, shape, text};

on_every_setup! {
    a_token_works_until_it_is_deleted,
    a_token_needs_the_password,
    basic_credentials_work_everywhere,
    wrong_credentials_are_refused,
    tokens_are_kept_as_hashes,
}

const TOKEN: &str = "/api/accounts/token/";

fn a_token_works_until_it_is_deleted(app: App) {
    let ann = app.sign_up("ann");
    let reply = app.anonymous().post(TOKEN, json!({"username": "ann", "password": PASSWORD}));
    assert!(reply.set_cookie("sessionid").is_none(), "a token request starts no session");
    let answer = reply.expect(201);
    shape::keys(&answer, &["token", "expires_at"]);
    let expiry = chrono::DateTime::parse_from_rfc3339(&text(&answer["expires_at"])).unwrap();
    let left = expiry.signed_duration_since(chrono::Utc::now()).to_std().expect("in the future");
    assert!(left > Duration::from_secs(3600), "{left:?}");

    let bearer = ann.with_authorization(&format!("Bearer {}", text(&answer["token"])));
    bearer.tweet("sent with a token");
    assert_eq!(bearer.get("/api/accounts/login_status/").expect(200)["user"]["id"], ann.id);
    let other = ann.with_bearer();

    bearer.delete(TOKEN).expect(200);
    let refused = bearer.get("/api/newsfeeds/");
    assert!(matches!(refused.status, 401 | 403), "{}", refused.describe());
    // The person's other token and session live on.
    other.get("/api/newsfeeds/").expect(200);
    ann.get("/api/newsfeeds/").expect(200);
}

fn a_token_needs_the_password(app: App) {
    app.sign_up("ann");
    let message = "Username and password does not match.";
    for (username, password) in [("ann", "wrong password"), ("nobody", PASSWORD)] {
        let body = json!({"username": username, "password": password});
        app.anonymous().post(TOKEN, body).refused(400, message);
    }
    assert_eq!(app.anonymous().post(TOKEN, json!({})).status, 400);
    app.anonymous().delete(TOKEN).refused(403, "Authentication credentials were not provided.");
}

fn basic_credentials_work_everywhere(app: App) {
    let ann = app.sign_up("ann").with_basic();
    let bob = app.sign_up("bob").with_basic();
    ann.follow(&bob);
    let tweet = bob.tweet("by Basic alone");
    app.quiesce();
    assert_eq!(ann.feed_ids(), [tweet["id"].as_i64().unwrap()]);
    let like = ann.like("tweet", tweet["id"].as_i64().unwrap());
    assert_eq!(like["user"]["username"], "ann");
    assert_eq!(ann.get("/api/accounts/login_status/").expect(200)["has_logged_in"], true);
    // Each request stands alone: nothing was stored in the jar.
    assert_eq!(ann.cookie("sessionid"), None);
}

fn wrong_credentials_are_refused(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("hello");
    let attempts = [
        "Basic YW5uOndyb25n",         // ann:wrong
        "Basic bm9ib2R5OmNvcnJlY3Q=", // nobody:correct
        "Basic YW5u",                 // ann, without a colon
        "Basic !!!not-base64!!!",
        "Basic /////w==",             // not UTF-8
        "Basic YW5uAAA6cGFzc3dvcmQA", // NUL characters
        "Basic",
        "Bearer",
        "Bearer 0",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    ];
    for attempt in attempts {
        let reply = ann.with_authorization(attempt).get("/api/newsfeeds/");
        assert!(matches!(reply.status, 401 | 403), "{attempt}: {}", reply.describe());
    }
    let long = format!("Bearer {}", "x".repeat(8000));
    let reply = ann.with_authorization(&long).get("/api/newsfeeds/");
    assert!(matches!(reply.status, 401 | 403), "{}", reply.describe());
}

fn tokens_are_kept_as_hashes(app: App) {
    let ann = app.sign_up("ann");
    let body = json!({"username": "ann", "password": PASSWORD});
    let token = text(&ann.post(TOKEN, body).expect(201)["token"]);
    let session = ann.cookie("sessionid").expect("a session");
    assert!(token.len() >= 32 && session.len() >= 32, "guessable: {token} {session}");
    // Whoever reads the database cannot log in with what is there.
    for secret in [token, session] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let stored = if app.setup == Setup::Sqlite {
            "hex(token_hash)"
        } else {
            "encode(token_hash, 'hex')"
        };
        let query = format!("SELECT count(*) AS n FROM sessions WHERE lower({stored}) = '{hex}'");
        assert_eq!(app.sql(&query), 0);
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM sessions"), 2);
}
