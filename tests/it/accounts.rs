//! Sign-up, login, logout and the question who is logged in.

use crate::harness::{App, PASSWORD, json, on_every_setup, shape};

on_every_setup! {
    sign_up_answers_with_the_user_and_starts_a_session,
    sign_up_accepts_forms_and_multipart,
    names_and_addresses_are_kept_in_lower_case,
    names_and_addresses_are_unique_without_regard_to_case,
    sign_up_refuses_what_does_not_fit,
    login_starts_another_session,
    login_does_not_tell_which_part_is_wrong,
    login_gives_a_new_session_id,
    logout_kills_the_session_on_the_server,
    a_made_up_session_is_nobody,
    passwords_and_addresses_never_come_back,
    account_paths_know_their_methods,
}

const SIGN_UP: &str = "/api/accounts/signup/";
const LOGIN: &str = "/api/accounts/login/";
const STATUS: &str = "/api/accounts/login_status/";

fn sign_up_answers_with_the_user_and_starts_a_session(app: App) {
    let ann = app.anonymous();
    let before = ann.get(STATUS).expect(200);
    assert_eq!(before, json!({"has_logged_in": false, "ip": "127.0.0.1"}));

    let body = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD});
    let reply = ann.post(SIGN_UP, body);
    let cookie = reply.set_cookie("sessionid").expect("a session cookie").to_owned();
    let answer = reply.expect(201);
    shape::keys(&answer, &["success", "user"]);
    shape::short_user(&answer["user"]);
    assert_eq!(answer["success"], true);
    assert_eq!(answer["user"]["username"], "ann");

    let attributes: Vec<String> =
        cookie.split(';').skip(1).map(|part| part.trim().to_ascii_lowercase()).collect();
    for expected in ["httponly", "samesite=lax", "path=/", "max-age=1209600"] {
        assert!(attributes.iter().any(|found| found == expected), "{expected} in {cookie}");
    }
    // A Secure cookie would never come back over the plain HTTP of this test.
    assert!(!attributes.iter().any(|found| found == "secure"), "{cookie}");

    let after = ann.get(STATUS).expect(200);
    assert_eq!(after, json!({"has_logged_in": true, "ip": "127.0.0.1", "user": answer["user"]}));
}

fn sign_up_accepts_forms_and_multipart(app: App) {
    let fields = |name: &'static str, email: &'static str| {
        [("username", name), ("email", email), ("password", PASSWORD)]
    };
    let by_form = app.anonymous().post_form(SIGN_UP, &fields("ann", "ann@example.com"));
    assert_eq!(by_form.expect(201)["user"]["username"], "ann");
    let multipart = fields("bob", "bob@example.com");
    let by_multipart = app.anonymous().post_multipart(SIGN_UP, &multipart, &[]);
    assert_eq!(by_multipart.expect(201)["user"]["username"], "bob");
}

fn names_and_addresses_are_kept_in_lower_case(app: App) {
    let body = json!({"username": "AnnLee", "email": "Ann.Lee@Example.COM", "password": PASSWORD});
    let answer = app.anonymous().post(SIGN_UP, body).expect(201);
    assert_eq!(answer["user"]["username"], "annlee");
    assert_eq!(app.sql_texts("SELECT email AS t FROM users"), ["ann.lee@example.com"]);

    let body = json!({"username": "ANNLEE", "password": PASSWORD});
    let answer = app.anonymous().post(LOGIN, body).expect(200);
    assert_eq!(answer["user"]["username"], "annlee");
}

fn names_and_addresses_are_unique_without_regard_to_case(app: App) {
    app.sign_up("ann");
    let attempt = |username: &str, email: &str| {
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        app.anonymous().post(SIGN_UP, body)
    };
    let name = "This username has been occupied.";
    let address = "This email address has been occupied.";

    let body = attempt("ANN", "other@example.com").blames(&["username"]);
    assert_eq!(body["message"], "Please check input.");
    assert_eq!(body["errors"]["username"], json!([name]));
    assert_eq!(body["errors"]["message"], json!([name]));

    let body = attempt("other", "Ann@Example.com").blames(&["email"]);
    assert_eq!(body["errors"]["email"], json!([address]));
    assert_eq!(body["errors"]["message"], json!([address]));

    let body = attempt("ann", "ann@example.com").blames(&["username", "email"]);
    assert_eq!(body["errors"]["message"], json!([name, address]));
    assert_eq!(app.sql("SELECT count(*) AS n FROM users"), 1);
}

fn sign_up_refuses_what_does_not_fit(app: App) {
    let attempt = |username: &str, email: &str, password: &str| {
        let body = json!({"username": username, "email": email, "password": password});
        app.anonymous().post(SIGN_UP, body)
    };
    let good = "good@example.com";
    for username in ["ab", &"a".repeat(21), "two words", "a-b-c", "ännchen", "ann@x", "ann\u{200b}"]
    {
        let body = attempt(username, good, PASSWORD).blames(&["username"]);
        assert_eq!(body["message"], "Please check input.", "{username}");
    }
    for email in ["", "plain", "@example.com", "a@", "a b@example.com", "a@b@c.example"] {
        attempt("good", email, PASSWORD).blames(&["email"]);
    }
    for password in ["1234567", &"p".repeat(129)] {
        attempt("good", good, password).blames(&["password"]);
    }
    attempt("ab", "plain", "short").blames(&["username", "email", "password"]);
    assert_eq!(app.anonymous().post(SIGN_UP, json!({})).status, 400);
    assert_eq!(app.sql("SELECT count(*) AS n FROM users"), 0);

    // The edges themselves are fine; a password counts characters, not bytes.
    attempt("abc", "abc@example.com", &"é".repeat(8)).expect(201);
    attempt(&"z".repeat(20), "z@example.com", &"p".repeat(128)).expect(201);
    attempt("under_score_9", "u@example.com", PASSWORD).expect(201);
}

fn login_starts_another_session(app: App) {
    let ann = app.sign_up("ann");
    let phone = app.anonymous();
    let reply = phone.post(LOGIN, json!({"username": "ann", "password": PASSWORD}));
    assert!(reply.set_cookie("sessionid").is_some(), "{}", reply.describe());
    let user = json!({"id": ann.id, "username": "ann"});
    assert_eq!(reply.expect(200), json!({"success": true, "user": user}));
    assert_eq!(phone.get(STATUS).expect(200)["has_logged_in"], true);

    let by_form = app.anonymous().post_form(LOGIN, &[("username", "ann"), ("password", PASSWORD)]);
    by_form.expect(200);

    // Two devices, two sessions: logging out of one leaves the other.
    phone.post("/api/accounts/logout/", json!({})).expect(200);
    assert_eq!(ann.get(STATUS).expect(200)["has_logged_in"], true);
}

fn login_does_not_tell_which_part_is_wrong(app: App) {
    app.sign_up("ann");
    let message = "Username and password does not match.";
    let attempt = |username: &str, password: &str| {
        let body = json!({"username": username, "password": password});
        app.anonymous().post(LOGIN, body)
    };
    let wrong_password = attempt("ann", "wrong password").refused(400, message);
    let nobody = attempt("nobody", "wrong password").refused(400, message);
    assert_eq!(wrong_password, nobody);
    // A password is what was typed: neither trimmed nor folded.
    attempt("ann", &PASSWORD.to_uppercase()).refused(400, message);
    attempt("ann", &format!("{PASSWORD} ")).refused(400, message);
    for body in [json!({}), json!({"username": "ann"}), json!({"password": PASSWORD})] {
        assert_eq!(app.anonymous().post(LOGIN, body).status, 400);
    }
}

fn login_gives_a_new_session_id(app: App) {
    app.sign_up("ann");
    // Session fixation: an id chosen beforehand must not become a logged-in one.
    let victim = app.anonymous();
    victim.set_cookie("sessionid", "chosen-by-the-attacker");
    victim.post(LOGIN, json!({"username": "ann", "password": PASSWORD})).expect(200);
    assert_ne!(victim.cookie("sessionid").as_deref(), Some("chosen-by-the-attacker"));
    let attacker = app.anonymous();
    attacker.set_cookie("sessionid", "chosen-by-the-attacker");
    assert_eq!(attacker.get(STATUS).expect(200)["has_logged_in"], false);
}

fn logout_kills_the_session_on_the_server(app: App) {
    let ann = app.sign_up("ann");
    let session = ann.cookie("sessionid").expect("a session");
    assert_eq!(ann.post("/api/accounts/logout/", json!({})).expect(200), json!({"success": true}));
    assert_eq!(ann.get(STATUS).expect(200)["has_logged_in"], false);

    // Whoever kept a copy of the cookie has nothing.
    let thief = app.anonymous();
    thief.set_cookie("sessionid", &session);
    assert_eq!(thief.get(STATUS).expect(200)["has_logged_in"], false);
    thief.get("/api/newsfeeds/").expect(403);

    // Logging out when nobody is logged in is no error.
    app.anonymous().post("/api/accounts/logout/", json!({})).expect(200);
}

fn a_made_up_session_is_nobody(app: App) {
    let ann = app.sign_up("ann");
    let session = ann.cookie("sessionid").expect("a session");
    let mut tampered = session.clone();
    let last = if tampered.pop() == Some('a') { 'b' } else { 'a' };
    tampered.push(last);
    for value in [tampered.as_str(), "1", "%00", "'; DROP TABLE sessions; --", &"x".repeat(3000)] {
        let stranger = app.anonymous();
        stranger.set_cookie("sessionid", value);
        assert_eq!(stranger.get(STATUS).expect(200)["has_logged_in"], false, "{value}");
        let message = "Authentication credentials were not provided.";
        stranger.get("/api/newsfeeds/").refused(403, message);
    }
    assert_eq!(ann.get(STATUS).expect(200)["has_logged_in"], true);
}

fn passwords_and_addresses_never_come_back(mut app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("hello");
    let paths = [STATUS.to_owned(), format!("/api/profiles/{}/", ann.id), "/api/newsfeeds/".into()];
    for path in paths {
        let text = ann.get(&path).text();
        assert!(!text.contains("example.com") && !text.contains("password"), "{path}: {text}");
    }
    let stored = app.sql_texts("SELECT password_hash AS t FROM users");
    assert!(stored[0].starts_with("$argon2id$"), "{stored:?}");
    assert_eq!(app.sigterm(), Some(0));
    assert!(!app.log_text().contains(PASSWORD), "the log holds a password");
}

fn account_paths_know_their_methods(app: App) {
    let anonymous = app.anonymous();
    for path in [SIGN_UP, LOGIN] {
        let reply = anonymous.get(path);
        assert_eq!(reply.header("allow"), Some("POST"), "{}", reply.describe());
        reply.refused(405, "Method \"GET\" not allowed.");
    }
    anonymous.put(LOGIN, json!({})).refused(405, "Method \"PUT\" not allowed.");
    anonymous.post(STATUS, json!({})).refused(405, "Method \"POST\" not allowed.");
    anonymous.get("/api/accounts/logout/").refused(405, "Method \"GET\" not allowed.");
}
