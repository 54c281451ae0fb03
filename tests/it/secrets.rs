//! What must not get out: into the log, into answers, into another site's hands.

use crate::harness::{App, PASSWORD, Reply, Setup, id, json, on_every_setup, photo, text};

on_every_setup! {
    the_log_holds_no_secret,
    every_answer_has_the_headers_of_a_careful_server,
    a_made_up_host_leads_nowhere,
    a_failure_of_the_server_tells_nothing_of_it,
    photos_lose_what_they_tell_of_their_owner,
}

/// A whole story, everything in it that the log must not repeat, and a failure of each kind.
fn the_log_holds_no_secret(setup: Setup) {
    let mut app = App::on(setup).env("ROOST_LOG", "trace").start();
    let (ann, bob) = (app.sign_up("ann_the_secret"), app.sign_up("bob_the_secret"));
    let mut secrets: Vec<String> = [
        PASSWORD,
        "ann_the_secret",
        "bob_the_secret",
        "@example.com",
        "argon2",
        "a wrong guess",
        "words of a tweet",
        "words of a comment",
        "Nickname of Ann",
        "holiday_in_rome",
        "key-of-a-request",
        "words in a query",
    ]
    .map(str::to_owned)
    .to_vec();
    let body = json!({"username": ann.username, "password": PASSWORD});
    secrets.push(text(&ann.post("/api/accounts/token/", body).expect(201)["token"]));
    secrets.extend([&ann, &bob].map(|who| who.cookie("sessionid").unwrap()));

    let image = photo::png();
    let files: [(&str, &str, &[u8]); 1] = [("files", "holiday_in_rome.png", &image)];
    let fields = [("content", "words of a tweet")];
    let tweet = ann.post_multipart("/api/tweets/", &fields, &files).expect(201);
    secrets.push(text(&tweet["photo_urls"][0]));
    let request = ann.request("POST", "/api/tweets/").header("Idempotency-Key", "key-of-a-request");
    request.json(&json!({"content": "words of a tweet"})).send().expect(201);
    ann.put(&format!("/api/profiles/{}/", ann.id), json!({"nickname": "Nickname of Ann"}));
    bob.follow(&ann);
    bob.like("tweet", id(&tweet));
    let comment = id(&bob.comment(id(&tweet), "words of a comment"));
    bob.put(&format!("/api/comments/{comment}/"), json!({"content": "words of a comment, new"}));
    app.quiesce();
    ann.notifications();
    bob.feed();
    ann.with_basic().feed();
    ann.with_bearer().feed();
    ann.get("/api/profiles/?username=ann_the_secret").expect(200);
    ann.get("/api/notifications/?unread=words%20in%20a%20query").expect(400);
    app.anonymous().get(&text(&tweet["photo_urls"][0]));
    for (username, password) in
        [(&*ann.username, "a wrong guess"), ("nobody_here", "a wrong guess")]
    {
        let body = json!({"username": username, "password": password});
        app.anonymous().post("/api/accounts/login/", body).expect(400);
    }
    let twice = json!({
        "username": ann.username, "email": "ann_the_secret@example.com", "password": PASSWORD,
    });
    app.anonymous().post("/api/accounts/signup/", twice).expect(400);
    app.anonymous().with_authorization("Bearer a wrong guess").get("/api/newsfeeds/").expect(403);
    ann.delete(&format!("/api/tweets/{}/", id(&tweet))).expect(200);
    ann.post("/api/accounts/logout/", json!({})).expect(200);
    app.quiesce();

    assert_eq!(app.sigterm(), Some(0));
    let log = app.log_text();
    assert!(log.lines().count() > 30, "nothing was logged that could be looked at:\n{log}");
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} in the log: {}", line.unwrap_or_default());
    }
}

fn every_answer_has_the_headers_of_a_careful_server(app: App) {
    let ann = app.sign_up("ann");
    let image = photo::png();
    let files: [(&str, &str, &[u8]); 1] = [("files", "a.png", &image)];
    let tweet = ann.post_multipart("/api/tweets/", &[("content", "x")], &files).expect(201);
    let photo = text(&tweet["photo_urls"][0]);
    let big = "x".repeat(100_000);
    let odd_key = ann.request("POST", "/api/tweets/").header("Idempotency-Key", "a b");
    let replies: Vec<Reply> = vec![
        ann.get("/api/newsfeeds/"),
        ann.get("/api/newsfeeds"),
        ann.get(&photo),
        ann.get("/media/none/none.png"),
        ann.get("/api/docs/"),
        ann.get("/api/docs/docs.js"),
        ann.get("/api/schema/"),
        ann.get("/healthz"),
        ann.get("/metrics"),
        ann.get("/"),
        ann.get("/api/nothing/"),
        ann.get("/api/tweets/99/"),
        ann.get("/api/tweets/?user_id=x"),
        ann.delete("/api/newsfeeds/"),
        ann.post("/api/tweets/", json!({"content": big})),
        ann.request("POST", "/api/tweets/").body("text/plain", "x").send(),
        odd_key.json(&json!({"content": "x"})).send(),
        ann.request("OPTIONS", "/api/tweets/").send(),
        app.anonymous().get("/api/newsfeeds/"),
        app.anonymous().request("HEAD", "/api/newsfeeds/").send(),
    ];
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    for expected in [200, 301, 400, 403, 404, 405, 413, 415] {
        assert!(statuses.contains(&expected), "{expected} is not among {statuses:?}");
    }
    for reply in replies {
        let said = reply.describe();
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{said}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{said}");
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{said}");
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{said}");
        let is_page = reply.header("content-type").unwrap_or_default().contains("html");
        assert!(!is_page || reply.status < 300, "an error as a page: {said}");
        // No browser may be told to speak TLS only by a server that does not.
        assert_eq!(reply.header("strict-transport-security"), None, "{said}");
        // Who made the server is nobody's business.
        assert_eq!((reply.header("server"), reply.header("x-powered-by")), (None, None), "{said}");
    }
}

fn a_made_up_host_leads_nowhere(app: App) {
    let ann = app.sign_up("ann");
    ann.tweets(3);
    let bob = app.sign_up("bob");
    for number in 1..=11 {
        let tweet = id(&ann.tweet(&format!("to be liked {number}")));
        bob.like("tweet", tweet);
    }
    app.quiesce();
    let evil = ["X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"];
    for path in ["/api/newsfeeds/?page_size=1", "/api/newsfeeds", "/api/notifications/"] {
        let reply = ann.raw_request(&format!("GET {path}"), &evil, b"");
        let head = format!("{:?} {:?}", reply.header("link"), reply.header("location"));
        let all = head + &String::from_utf8_lossy(&reply.body);
        assert!(!all.contains("evil.example"), "{path}: {all}");
    }
    // The Host itself may come back to the one who sent it, and to nobody else: never in a
    // redirect, and never from a cache that others share.
    let cookie = ann.cookie_header();
    let ask = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: evil.example\r\nCookie: {cookie}\r\n\
             Connection: close\r\n\r\n"
        );
        ann.raw(request.as_bytes())
    };
    for path in ["/api/newsfeeds", "/api/newsfeeds/?page_size=1", "/api/tweets/?user_id=1"] {
        let reply = ask(path);
        let head = format!("{:?} {:?}", reply.header("link"), reply.header("location"));
        assert!(!head.contains("evil.example"), "{path}: {head}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("evil.example"), "{path}");
    }
    let listed = ask("/api/notifications/");
    assert!(listed.header("cache-control").unwrap().contains("private"));
}

/// A table is missing, as after a mistake of the operator: the cause is in the log alone.
fn a_failure_of_the_server_tells_nothing_of_it(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.tweet("hello");
    app.quiesce();
    app.sql_execute("ALTER TABLE profiles RENAME TO profiles_elsewhere");
    let path = format!("/api/profiles/{}/", bob.id);
    let anonymous = app.anonymous();
    let asked = [
        anonymous.request("GET", &path),
        bob.request("PUT", &path).json(&json!({"nickname": "Bob"})),
    ];
    for (number, request) in asked.into_iter().enumerate() {
        let name = format!("it-fails-{number}");
        let reply = request.header("X-Request-Id", &name).send_as_is().checked_shape();
        assert_eq!(reply.status, 500, "{}", reply.describe());
        let body = reply.json();
        assert_eq!(
            (&body["code"], &body["message"]),
            (&json!("internal"), &json!("A server error occurred."),)
        );
        let text = format!("{} {:?}", reply.text(), reply.header("server")).to_lowercase();
        for told in ["profiles", "select", "relation", "table", "sql", "diesel", "src/", "panick"] {
            assert!(!text.contains(told), "{told}: {text}");
        }
        app.wait_for_log(|log| {
            log.lines().any(|line| line.contains(&name) && line.contains("profiles"))
        });
    }
    app.sql_execute("ALTER TABLE profiles_elsewhere RENAME TO profiles");
    bob.put(&path, json!({"nickname": "Bob"})).expect(200);
}

fn photos_lose_what_they_tell_of_their_owner(app: App) {
    let ann = app.sign_up("ann");
    let secret = "GPS 41.9028N 12.4964E";
    let image = photo::jpeg_with_exif(secret);
    assert!(image.windows(secret.len()).any(|part| part == secret.as_bytes()));
    // A picture and a page in one file: what follows the picture is dropped with the rest.
    let polyglot = [&photo::png()[..], b"<html><script>alert(1)</script></html>"].concat();
    let files: [(&str, &str, &[u8]); 3] = [
        ("files", "../../etc/passwd.jpg", &image),
        ("files", "page.html", &polyglot),
        ("files", "shell.php%00.png", &polyglot),
    ];
    let tweet = ann.post_multipart("/api/tweets/", &[("content", "x")], &files).expect(201);
    for url in tweet["photo_urls"].as_array().unwrap() {
        let url = url.as_str().unwrap();
        assert!(!url.contains("..") && !url.contains(".php") && !url.contains("html."), "{url}");
        assert!(url.ends_with(".jpg") || url.ends_with(".png"), "{url}");
        let reply = app.anonymous().get(url);
        assert!(reply.header("content-type").unwrap().starts_with("image/"), "{url}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        for left in [secret.as_bytes(), b"<script"] {
            assert!(!reply.body.windows(left.len()).any(|part| part == left), "{url}");
        }
    }
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let page = b"<html><script>alert(1)</script></html>";
    for (name, bytes) in
        [("a.svg", &svg[..]), ("a.png", svg), ("a.jpg", page), ("a.gif", b"GIF89a")]
    {
        let files: [(&str, &str, &[u8]); 1] = [("files", name, bytes)];
        ann.post_multipart("/api/tweets/", &[("content", "x")], &files).blames(&["files"]);
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 1);
}

/// Servers that are away, and one that does not let Roost in: each is a line of the log, without
/// the password in its URL.
#[test]
fn the_log_holds_no_password_of_a_server() {
    for setup in [Setup::Postgres, Setup::PostgresRedis] {
        let mut app =
            App::on(setup).env("ROOST_LOG", "trace").env("ROOST_DB_WAIT_MS", "200").start();
        let ann = app.sign_up("ann");
        let urls: Vec<(String, String)> = app.environment().to_vec();
        for (name, url) in urls.iter().filter(|(name, _)| name.ends_with("_URL")) {
            let (scheme, rest) = url.split_once("://").unwrap();
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            // This PostgreSQL takes any password, this Redis none of a user that it does not know.
            let user = if scheme == "redis" { "stranger" } else { "postgres" };
            app.set_env(name, &format!("{scheme}://{user}:s3cret_of_a_server@{host}"));
        }
        app.restart();
        ann.tweet("hello");
        app.set_database_reachable(false);
        for _ in 0..3 {
            ann.post("/api/tweets/", json!({"content": "lost"})).expect(503);
        }
        app.wait_for_log(|log| log.contains("query failed"));
        if setup == Setup::PostgresRedis {
            app.wait_for_log(|log| log.to_lowercase().contains("redis"));
            assert_eq!(app.metric("roost_redis_up"), Some(0.0), "it was let in");
        }
        app.set_database_reachable(true);
        assert_eq!(app.sigterm(), Some(0));
        let log = app.log_text();
        let line = log.lines().find(|line| line.contains("s3cret"));
        assert!(line.is_none(), "{setup:?}: {}", line.unwrap_or_default());
    }
}

/// Keys are made of numbers and hashes, whatever people call themselves.
#[test]
fn what_people_type_is_in_no_key_of_redis() {
    let builder = App::on(Setup::PostgresRedis).own_redis();
    let mut app = builder.env("ROOST_RATE_LIMITS", "on").start();
    let ann = app.sign_up("ann_the_secret");
    let tweet = id(&ann.tweet("words of a tweet"));
    ann.like("tweet", tweet);
    let scripts = app.redis_server().info("number_of_cached_scripts");
    assert!(scripts > 0);
    for username in ["a}{*\r\nFLUSHALL\r\n", "user_newsfeeds:1", "*", "ann_the_secret"] {
        let guess = json!({"username": username, "password": "a wrong guess"});
        app.anonymous().post("/api/accounts/login/", guess).expect(400);
    }
    app.quiesce();
    assert_eq!(ann.feed_ids().len(), 1);
    let mut redis = app.redis().expect("a Redis");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis).expect("KEYS");
    let of = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert!(of("rate:login:name-") >= 4 && of("tweet_counts:") == 1, "{keys:?}");
    for key in &keys {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.".contains(c);
        let is_tagged = key.starts_with('{') && key.ends_with("}:gen");
        let name = if is_tagged { &key[1..key.len() - 5] } else { key };
        assert!(name.chars().all(plain) && !key.contains("secret"), "{key}");
    }
    // Nor does it become part of a script: these are the same few for everybody.
    assert_eq!(app.redis_server().info("number_of_cached_scripts"), scripts);
}
