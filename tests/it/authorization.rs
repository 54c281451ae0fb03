//! Who may do what: every operation of the API's own description, asked by an anonymous client,
//! by the owner and by somebody else. An operation that is not in [`RULES`] fails the test, and
//! so does a rule without an operation: a new route cannot be forgotten. (That the description
//! has every route of the router is shown beside it, in `src/http/schema/tests.rs`.)

mod world;

use self::world::{World, fingerprint};
use crate::harness::{App, Value, json, on_every_setup, text};

on_every_setup! {
    every_operation_has_its_rule,
    nobody_does_what_is_not_theirs,
    a_method_that_a_path_lacks_is_refused,
    no_answer_tells_what_is_private,
    fields_that_are_not_the_clients_are_ignored,
}

/// Who may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum May {
    /// Anybody.
    All,
    /// Whoever is logged in, on their own behalf.
    Login,
    /// The owner of the object in the path; others get this status.
    Owner(u16),
}
use May::{All, Login, Owner};

/// (operation, who may, status of success for the owner).
const RULES: [(&str, May, u16); 38] = [
    ("POST /api/accounts/signup/", All, 201),
    ("POST /api/accounts/login/", All, 200),
    ("POST /api/accounts/logout/", All, 200),
    ("GET /api/accounts/login_status/", All, 200),
    ("POST /api/accounts/token/", All, 201),
    ("DELETE /api/accounts/token/", Login, 200),
    ("GET /api/profiles/", All, 200),
    ("GET /api/profiles/{}/", All, 200),
    ("PUT /api/profiles/{}/", Owner(403), 200),
    ("PATCH /api/profiles/{}/", Owner(403), 200),
    ("GET /api/tweets/", All, 200),
    ("POST /api/tweets/", Login, 201),
    ("GET /api/tweets/{}/", All, 200),
    ("DELETE /api/tweets/{}/", Owner(403), 200),
    ("GET /api/newsfeeds/", Login, 200),
    ("GET /api/newsfeeds/stream/", Login, 200),
    ("POST /api/friendships/{}/follow/", Login, 201),
    ("POST /api/friendships/{}/unfollow/", Login, 200),
    ("GET /api/friendships/{}/followers/", All, 200),
    ("GET /api/friendships/{}/followings/", All, 200),
    ("GET /api/comments/", All, 200),
    ("POST /api/comments/", Login, 201),
    ("PUT /api/comments/{}/", Owner(403), 200),
    ("DELETE /api/comments/{}/", Owner(403), 200),
    ("POST /api/likes/", Login, 201),
    ("POST /api/likes/cancel/", Login, 200),
    ("GET /api/notifications/", Login, 200),
    ("GET /api/notifications/unread-count/", Login, 200),
    ("POST /api/notifications/mark-all-as-read/", Login, 200),
    ("PUT /api/notifications/{}/", Owner(404), 200),
    ("GET /api/schema/", All, 200),
    ("GET /api/docs/", All, 200),
    ("GET /api/docs/docs.js", All, 200),
    ("GET /api/docs/docs.css", All, 200),
    ("GET /media/{}/{}", All, 200),
    ("GET /healthz", All, 200),
    ("GET /readyz", All, 200),
    ("GET /metrics", All, 200),
];

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Operations in the description, with every path parameter as `{}`.
fn operations(app: &App) -> Vec<(String, String)> {
    let schema = app.anonymous().get("/api/schema/").expect(200);
    let mut found = Vec::new();
    for (path, methods) in schema["paths"].as_object().expect("paths") {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        for method in methods.as_object().expect("methods").keys() {
            found.push((method.to_uppercase(), path.clone()));
        }
    }
    found
}

fn every_operation_has_its_rule(app: App) {
    let mut described: Vec<String> =
        operations(&app).into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let mut ruled: Vec<String> = RULES.iter().map(|(one, _, _)| (*one).to_owned()).collect();
    described.sort_unstable();
    ruled.sort_unstable();
    assert_eq!(described, ruled, "the rules and the description differ");
}

fn nobody_does_what_is_not_theirs(app: App) {
    let world = World::build(&app);
    let before = fingerprint(&app);
    // First all that must be refused, with nothing changed by it; the order of the rules then
    // does not matter.
    for (operation, may, _) in RULES {
        let (method, path) = operation.split_once(' ').unwrap();
        if may != All {
            let reply = world.ask(&app.anonymous(), method, path);
            reply.refused(403, "Authentication credentials were not provided.");
        }
        if let Owner(status) = may {
            let reply = world.ask(&world.bob, method, path);
            assert_eq!(reply.status, status, "{}", reply.describe());
        }
        // Nothing is anybody's business whose credentials are wrong, where any are looked at.
        let impostor = world.ann.with_authorization("Bearer nonsense");
        if may != All {
            let reply = world.ask(&impostor, method, path);
            reply.refused(403, "Invalid token.");
        }
        assert_eq!(fingerprint(&app), before, "{operation} changed something");
    }
    // Then what is allowed: each on objects of its own, since some of it deletes them.
    for (operation, may, success) in RULES {
        let (method, path) = operation.split_once(' ').unwrap();
        if method == "GET" {
            if may == All {
                let reply = world.ask(&app.anonymous(), method, path);
                assert_eq!(reply.status, success, "{}", reply.describe());
            }
            let reply = world.ask(&world.ann, method, path);
            assert_eq!(reply.status, success, "{}", reply.describe());
        }
    }
    let ann = &world.ann;
    for (operation, _, success) in RULES {
        let (method, path) = operation.split_once(' ').unwrap();
        if method == "GET" || path.contains("follow") || path.contains("accounts") {
            continue;
        }
        if operation == "DELETE /api/tweets/{}/" {
            continue;
        }
        let reply = world.ask(ann, method, path);
        assert_eq!(reply.status, success, "{}", reply.describe());
    }
    // One cannot follow oneself: Bob is the one who does these, of Ann.
    for path in ["/api/friendships/{}/unfollow/", "/api/friendships/{}/follow/"] {
        let reply = world.ask(&world.bob, "POST", path);
        assert!(matches!(reply.status, 200 | 201), "{}", reply.describe());
    }
    for path in ["signup", "login", "token"] {
        let reply = world.ask(&app.anonymous(), "POST", &format!("/api/accounts/{path}/"));
        assert!(matches!(reply.status, 200 | 201), "{}", reply.describe());
    }
    world.ask(ann, "DELETE", "/api/accounts/token/").expect(200);
    world.ask(ann, "DELETE", "/api/tweets/{}/").expect(200);
    world.ask(ann, "POST", "/api/accounts/logout/").expect(200);
    app.quiesce();
    app.assert_counts_match_rows();
}

fn a_method_that_a_path_lacks_is_refused(app: App) {
    let world = World::build(&app);
    let before = fingerprint(&app);
    let operations = operations(&app);
    let mut paths: Vec<&String> = operations.iter().map(|(_, path)| path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let has = |method: &str| operations.iter().any(|(m, p)| m == method && p == path);
        // Permission comes before the method where all of the path needs a login.
        let rules = RULES.iter().filter(|(one, _, _)| one.split_once(' ').unwrap().1 == path);
        let all_login = rules.clone().all(|(_, may, _)| *may != All);
        for method in METHODS.into_iter().chain(["TRACE", "PROPFIND"]).filter(|one| !has(one)) {
            let reply = world.ask(&world.ann, method, path);
            assert_eq!(reply.status, 405, "{}", reply.describe());
            let allow = reply.header("allow").unwrap_or_default().to_owned();
            let allowed: Vec<&str> = allow.split(", ").collect();
            for known in METHODS {
                assert_eq!(allowed.contains(&known), has(known), "{method} {path}: Allow: {allow}");
            }
            let reply = world.ask(&app.anonymous(), method, path);
            let expected = if all_login { 403 } else { 405 };
            assert_eq!(reply.status, expected, "{}", reply.describe());
        }
    }
    assert_eq!(fingerprint(&app), before);
}

fn no_answer_tells_what_is_private(app: App) {
    let world = World::build(&app);
    let hashes = app.sql_texts("SELECT password_hash AS t FROM users");
    let secrets: Vec<String> = hashes
        .into_iter()
        .chain(["ann@example.com".into(), "bob@example.com".into()])
        .chain([crate::harness::PASSWORD.to_owned(), "argon2".to_owned()])
        .chain(world.ann.cookie("sessionid"))
        .collect();
    for (operation, _, _) in RULES {
        let (method, path) = operation.split_once(' ').unwrap();
        if path.ends_with("/stream/") || path.starts_with("/media/") || path.contains("logout") {
            continue;
        }
        for who in [&world.bob, &app.anonymous(), &world.ann] {
            if method == "DELETE" && who.id == world.ann.id {
                continue;
            }
            let body = String::from_utf8_lossy(&world.ask(who, method, path).body).into_owned();
            for secret in &secrets {
                assert!(!body.contains(secret.as_str()), "{operation} tells {secret}: {body}");
            }
        }
    }
}

fn fields_that_are_not_the_clients_are_ignored(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let forged = |mut body: Value| {
        let fields = body.as_object_mut().unwrap();
        let more = json!({
            "id": 4711, "user_id": bob.id, "user": {"id": bob.id}, "from_user_id": bob.id,
            "created_at": "2001-01-01T00:00:00.000000Z", "likes_count": 99,
            "comments_count": 99, "has_liked": true, "is_admin": true, "is_staff": true,
            "photo_urls": ["/media/x/y.jpg"], "disabled": false,
        });
        for (name, value) in more.as_object().unwrap() {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        body
    };
    let tweet = ann.post("/api/tweets/", forged(json!({"content": "x"}))).expect(201);
    let comment = forged(json!({"tweet_id": tweet["id"], "content": "y"}));
    let comment = ann.post("/api/comments/", comment).expect(201);
    let like = forged(json!({"content_type": "tweet", "object_id": tweet["id"]}));
    let like = ann.post("/api/likes/", like).expect(201);
    for object in [&tweet, &comment, &like] {
        assert_eq!(object["user"]["id"], ann.id, "{object}");
        assert!(!text(&object["created_at"]).starts_with("2001"), "{object}");
    }
    for object in [&tweet, &comment] {
        assert_ne!(object["id"], 4711, "{object}");
        assert_eq!((&object["likes_count"], &object["has_liked"]), (&json!(0), &json!(false)));
    }
    assert_eq!((&tweet["comments_count"], &tweet["photo_urls"]), (&json!(0), &json!([])));
    // Whose comment it is, and on what, is not for its editor to say.
    let path = format!("/api/comments/{}/", comment["id"]);
    let edited = ann.put(&path, forged(json!({"content": "z", "tweet_id": 4711}))).expect(200);
    assert_eq!((&edited["id"], &edited["tweet_id"]), (&comment["id"], &tweet["id"]));
    assert_eq!(edited["created_at"], comment["created_at"]);
    // Nor is a profile's owner, and nobody reads another's feed by asking for it.
    let path = format!("/api/profiles/{}/", ann.id);
    ann.put(&path, forged(json!({"nickname": "Ann", "username": "root"}))).expect(200);
    assert_eq!(ann.get(&path).expect(200)["username"], "ann");
    let peek = bob.get(&format!("/api/newsfeeds/?user_id={}", ann.id)).expect(200);
    assert_eq!(peek["results"], json!([]));
    let peek = bob.get(&format!("/api/notifications/?user_id={}&recipient={0}", ann.id));
    assert_eq!(peek.expect(200)["count"], 0);
    assert_eq!(app.sql("SELECT count(*) AS n FROM users WHERE username IN ('ann', 'bob')"), 2);
}
