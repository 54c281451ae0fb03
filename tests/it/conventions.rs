//! What holds for every path: slashes, methods, request ids, headers, and who may send
//! unsafe requests with a browser's cookies.

use crate::harness::{App, Client, Reply, json, on_every_setup};

on_every_setup! {
    paths_without_a_slash_are_redirected,
    request_ids_are_echoed_or_made,
    a_wrong_method_is_told_the_right_ones,
    head_answers_as_get_without_a_body,
    answers_carry_the_headers_of_a_careful_server,
    cookies_from_another_site_do_not_count,
    tokens_are_exempt_from_that,
    old_csrf_headers_do_no_harm,
    private_answers_are_not_for_shared_caches,
}

const TWEETS: &str = "/api/tweets/";

fn paths_without_a_slash_are_redirected(app: App) {
    let ann = app.sign_up("ann");
    let reply = ann.get(&format!("/api/tweets?user_id={}", ann.id));
    assert_eq!(reply.status, 301, "{}", reply.describe());
    let location = reply.header("location").unwrap().to_owned();
    let location = location.strip_prefix(&app.base_url()).unwrap_or(&location);
    assert_eq!(location, format!("/api/tweets/?user_id={}", ann.id), "the query stays");
    ann.get(location).expect(200);
    // 308 keeps method and body, so the client may simply repeat the request.
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let reply = ann.request(method, "/api/tweets").json(&json!({"content": "x"})).send();
        assert_eq!(reply.status, 308, "{}", reply.describe());
        assert!(reply.header("location").unwrap().ends_with("/api/tweets/"));
    }
    for path in ["/api/accounts/login_status", "/api/tweets/1", "/api/friendships/1/followers"] {
        let reply = app.anonymous().get(path);
        assert_eq!(reply.status, 301, "{}", reply.describe());
        assert!(reply.header("location").unwrap().ends_with(&format!("{path}/")));
    }
    // Two slashes at the front name another host, where a redirect must not lead.
    let reply = app.anonymous().raw_request("GET //evil.example/api/tweets", &[], b"");
    let location = reply.header("location").unwrap_or_default();
    assert!(!location.starts_with("//") && !location.starts_with("http"), "{location}");
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);
}

fn request_ids_are_echoed_or_made(app: App) {
    let anonymous = app.anonymous();
    let with_id = |id: &str| {
        let request = anonymous.request("GET", "/api/accounts/login_status/");
        request.header("X-Request-Id", id).send()
    };
    assert_eq!(with_id("my-request-42").header("x-request-id"), Some("my-request-42"));
    let made = |path: &str| anonymous.get(path).header("x-request-id").unwrap().to_owned();
    assert_ne!(made("/healthz"), made("/healthz"));
    assert!(!made("/api/nothing/").is_empty());
    assert!(!made("/api/tweets").is_empty());
    // One that would flood the log is not taken over.
    let long = "x".repeat(2000);
    assert_ne!(with_id(&long).header("x-request-id"), Some(&*long));
}

fn a_wrong_method_is_told_the_right_ones(app: App) {
    let ann = app.sign_up("ann");
    let allowed = |reply: Reply| -> Vec<String> {
        let header =
            reply.header("allow").unwrap_or_else(|| panic!("no Allow: {}", reply.describe()));
        let mut methods: Vec<String> =
            header.split(',').map(|method| method.trim().to_owned()).collect();
        methods.retain(|method| method != "HEAD" && method != "OPTIONS");
        methods.sort();
        reply.expect(405);
        methods
    };
    assert_eq!(allowed(ann.put(TWEETS, json!({}))), ["GET", "POST"]);
    assert_eq!(allowed(ann.get("/api/likes/")), ["POST"]);
    assert_eq!(allowed(ann.get("/api/comments/1/")), ["DELETE", "PUT"]);
    assert_eq!(allowed(ann.delete("/api/profiles/1/")), ["GET", "PATCH", "PUT"]);
    // A login-only resource asks who is there before it looks at the method.
    let message = "Authentication credentials were not provided.";
    app.anonymous().get("/api/likes/").refused(403, message);
    app.anonymous().post("/api/newsfeeds/", json!({})).refused(403, message);
    app.anonymous().put("/api/accounts/login_status/", json!({})).expect(405);
}

fn head_answers_as_get_without_a_body(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("hello");
    for path in ["/api/newsfeeds/", "/api/accounts/login_status/", "/healthz"] {
        let reply = ann.request("HEAD", path).send();
        assert_eq!(reply.status, 200, "{}", reply.describe());
        assert!(reply.body.is_empty(), "{}", reply.describe());
    }
    assert_eq!(app.anonymous().request("HEAD", "/api/newsfeeds/").send().status, 403);
    assert_eq!(app.anonymous().request("HEAD", "/api/nothing/").send().status, 404);
}

fn answers_carry_the_headers_of_a_careful_server(app: App) {
    let ann = app.sign_up("ann");
    let replies = [
        ann.get("/api/newsfeeds/"),
        app.anonymous().get("/api/newsfeeds/"),
        app.anonymous().get("/api/nothing/"),
        app.anonymous().post("/api/accounts/login/", json!({})),
    ];
    for reply in replies {
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{}", reply.describe());
        assert!(reply.header("content-type").unwrap().starts_with("application/json"));
        // Nobody asked for it from another origin, and with credentials `*` would be a hole.
        assert_eq!(reply.header("access-control-allow-origin"), None, "{}", reply.describe());
    }
}

fn post_with(client: &Client, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request("POST", TWEETS).json(&json!({"content": "from where?"}));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send()
}

fn cookies_from_another_site_do_not_count(app: App) {
    let ann = app.sign_up("ann");
    let foreign: [&[(&str, &str)]; 7] = [
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        // Another port on the same machine is another origin.
        &[("Origin", "http://127.0.0.1:1")],
        &[("Origin", &format!("{}.evil.example", app.base_url()))],
        &[("Origin", "not a url")],
    ];
    for headers in foreign {
        let reply = post_with(&ann, headers);
        assert_eq!(reply.status, 403, "{headers:?}: {}", reply.describe());
        let mut request = ann.request("POST", "/api/accounts/logout/").json(&json!({}));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().expect(403);
        // What a page can send by a form alone, without asking first.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let mut request = ann.request("POST", TWEETS).body(kind, "content=from+a+form");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.send().expect(403);
        }
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);

    let own = app.base_url();
    let same: [&[(&str, &str)]; 5] = [
        &[],
        &[("Origin", &own)],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", &own)],
        &[("Sec-Fetch-Site", "same-origin")],
        // Typed into the address bar, or sent by an extension: the user's own doing.
        &[("Sec-Fetch-Site", "none")],
    ];
    for headers in same {
        assert_eq!(post_with(&ann, headers).status, 201, "{headers:?}");
    }
    // Reading is safe from anywhere: the browser keeps the answer from the other site.
    let request = ann.request("GET", "/api/newsfeeds/").header("Origin", "https://evil.example");
    request.header("Sec-Fetch-Site", "cross-site").send().expect(200);
}

fn tokens_are_exempt_from_that(app: App) {
    let ann = app.sign_up("ann");
    let foreign = [("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site")];
    // No browser adds these by itself, so their presence is consent.
    post_with(&ann.with_bearer(), &foreign).expect(201);
    post_with(&ann.with_basic(), &foreign).expect(201);
}

fn old_csrf_headers_do_no_harm(app: App) {
    let ann = app.sign_up("ann");
    ann.set_cookie("csrftoken", "abcdef");
    post_with(&ann, &[("X-CSRFToken", "abcdef")]).expect(201);
    post_with(&ann, &[("X-CSRFToken", "something else")]).expect(201);
}

fn private_answers_are_not_for_shared_caches(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("for me");
    let reply = ann.get("/api/newsfeeds/");
    let control = reply.header("cache-control").unwrap_or_default();
    assert!(
        control.contains("private") || control.contains("no-store"),
        "Cache-Control: {control}"
    );
}
