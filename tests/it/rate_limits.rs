//! What one address and one account may do, as the settings say.

use crate::harness::{App, Client, PASSWORD, Reply, Setup, id, json, on_every_setup};

on_every_setup! {
    every_limit_is_a_setting,
    a_limited_answer_tells_what_is_left,
    an_account_is_not_guessed_at_from_many_addresses,
    one_address_does_no_more_than_some_accounts,
    what_ends_well_is_no_failed_login,
}

/// One hour, so that nothing refills while the test runs.
const BY_THE_HOUR: [(&str, &str); 9] = [
    ("ROOST_LIMIT_SIGN_UP", "4/3600"),
    ("ROOST_LIMIT_LOGIN", "6/3600"),
    ("ROOST_LIMIT_LOGIN_ACCOUNT", "5/3600"),
    ("ROOST_LIMIT_POST", "3/3600"),
    ("ROOST_LIMIT_FOLLOW", "4/3600"),
    ("ROOST_LIMIT_LIKE", "5/3600"),
    ("ROOST_LIMIT_WRITE", "6/3600"),
    ("ROOST_LIMIT_READ", "30/3600"),
    ("ROOST_LIMIT_READ_ANONYMOUS", "20/3600"),
];

fn limited(setup: Setup, more: &[(&str, &str)]) -> App {
    let settings = [("ROOST_RATE_LIMITS", "on"), ("ROOST_TRUSTED_PROXIES", "127.0.0.1")];
    let all = settings.iter().chain(&BY_THE_HOUR).chain(more);
    all.fold(App::on(setup), |builder, (name, value)| builder.env(name, value)).start()
}

/// How many of the answers come before the first 429, and that nothing else comes after it.
#[track_caller]
fn passed(mut ask: impl FnMut() -> Reply) -> usize {
    let statuses: Vec<u16> = (0..40).map(|_| ask().status).collect();
    let passed = statuses.iter().position(|status| *status == 429).expect("a limit");
    assert!(statuses[passed..].iter().all(|status| *status == 429), "{statuses:?}");
    passed
}

fn every_limit_is_a_setting(setup: Setup) {
    let app = limited(setup, &[]);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let mut number = 0;
    let mut sign_up = || {
        number += 1;
        let name = format!("other_{number}");
        let email = format!("{name}@example.com");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        app.anonymous().post("/api/accounts/signup/", body)
    };
    assert_eq!(passed(&mut sign_up), 2, "sign-ups, after two");
    let follow = || ann.post(&format!("/api/friendships/{}/follow/", bob.id), json!({}));
    assert_eq!(passed(follow), 4, "follows");
    assert_eq!(passed(|| bob.post("/api/tweets/", json!({"content": "x"}))), 3, "posts");
    let tweet = app.sql("SELECT max(id) AS n FROM tweets");
    let like = || ann.post("/api/likes/", json!({"content_type": "tweet", "object_id": tweet}));
    assert_eq!(passed(like), 5, "likes");
    let comment = || ann.post("/api/comments/", json!({"tweet_id": tweet, "content": "y"}));
    assert_eq!(passed(comment), 6, "comments");
    assert_eq!(passed(|| ann.get("/api/newsfeeds/")), 30, "reads");
    let read = || app.anonymous().get(&format!("/api/tweets/{tweet}/"));
    assert_eq!(passed(read), 20, "reads of the anonymous");
    // What is refused is not carried out, and everybody else goes on.
    assert_eq!(app.sql("SELECT count(*) AS n FROM users"), 4);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 3);
    assert_eq!(app.sql("SELECT count(*) AS n FROM comments"), 6);
    bob.get("/api/newsfeeds/").expect(200);
    app.anonymous().get("/api/schema/").expect(200);
    app.anonymous().get("/healthz").expect_text(200);
    let wrong = json!({"username": "nobody_here", "password": "a wrong guess"});
    assert_eq!(passed(|| app.anonymous().post("/api/accounts/login/", wrong.clone())), 5);
}

fn a_limited_answer_tells_what_is_left(setup: Setup) {
    let app = limited(setup, &[]);
    let ann = app.sign_up("ann");
    let number = |reply: &Reply, name: &str| -> u64 {
        let value = reply.header(name).unwrap_or_else(|| panic!("{name}: {}", reply.describe()));
        value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
    };
    let post = || ann.post("/api/tweets/", json!({"content": "x"}));
    for left in [2, 1, 0] {
        let reply = post();
        assert_eq!(number(&reply, "x-ratelimit-limit"), 3, "{}", reply.describe());
        assert_eq!(number(&reply, "x-ratelimit-remaining"), left, "{}", reply.describe());
        reply.expect(201);
    }
    let refused = post();
    assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    let wait = number(&refused, "retry-after");
    assert!((1_100..=1_200).contains(&wait), "{wait}");
    assert_eq!(number(&refused, "x-ratelimit-reset"), wait);
    let body = refused.expect(429);
    assert_eq!(body["code"], "throttled");
    // A refusal in words of its own (400, 404, 403) counts, and says so too.
    let odd = ann.post("/api/comments/", json!({}));
    assert_eq!((odd.status, number(&odd, "x-ratelimit-remaining")), (400, 5));
}

fn from(client: &Client, address: &str, username: &str, password: &str) -> Reply {
    let body = json!({"username": username, "password": password});
    let request = client.request("POST", "/api/accounts/login/").json(&body);
    request.header("X-Forwarded-For", address).send()
}

fn an_account_is_not_guessed_at_from_many_addresses(setup: Setup) {
    let app = limited(setup, &[]);
    app.sign_up("ann");
    let anonymous = app.anonymous();
    let mut host = 0;
    let mut guess = |username: &str| {
        host += 1;
        from(&anonymous, &format!("203.0.113.{host}"), username, "a wrong guess").status
    };
    // The same for a name that exists and one that does not, in whatever case.
    for username in ["ann", "nobody_here"] {
        let statuses: Vec<u16> = (0..7).map(|_| guess(username)).collect();
        assert_eq!(statuses, [400, 400, 400, 400, 400, 429, 429], "{username}");
    }
    assert_eq!(guess(" ANN "), 429);
    // Nor by another way to prove a password.
    let basic = anonymous.with_authorization("Basic YW5uOndyb25n"); // ann:wrong
    let request = basic.request("GET", "/api/newsfeeds/").header("X-Forwarded-For", "203.0.113.99");
    assert_eq!(request.send().status, 429);
    let body = json!({"username": "ann", "password": PASSWORD});
    let token = anonymous.request("POST", "/api/accounts/token/").json(&body);
    assert_eq!(token.header("X-Forwarded-For", "203.0.113.98").send().status, 429);
    // Others are let in.
    let bob = app.sign_up("bob");
    from(&bob, "203.0.113.97", "bob", PASSWORD).expect(200);
}

fn one_address_does_no_more_than_some_accounts(setup: Setup) {
    let app = limited(setup, &[("ROOST_LIMIT_ADDRESS_ACCOUNTS", "2")]);
    let people = ["ann", "bob", "cid"].map(|name| app.sign_up(name));
    let posted: Vec<usize> = people
        .iter()
        .map(|one| passed(|| one.post("/api/tweets/", json!({"content": "x"}))))
        .collect();
    assert_eq!(posted, [3, 3, 0]);
    // From elsewhere Cid may: the account has spent nothing.
    let request = people[2].request("POST", "/api/tweets/").json(&json!({"content": "y"}));
    let tweet = request.header("X-Forwarded-For", "203.0.113.1").send().expect(201);
    assert!(id(&tweet) > 0);
}

fn what_ends_well_is_no_failed_login(setup: Setup) {
    let app = limited(setup, &[]);
    let ann = app.sign_up("ann");
    for _ in 0..12 {
        from(&app.anonymous(), "203.0.113.5", "ann", PASSWORD).expect(200);
    }
    let basic = ann.with_basic();
    for _ in 0..12 {
        basic.get("/api/accounts/login_status/").expect(200);
    }
    for _ in 0..5 {
        from(&app.anonymous(), "203.0.113.5", "ann", "a wrong guess").expect(400);
    }
    assert_eq!(from(&app.anonymous(), "203.0.113.5", "ann", PASSWORD).status, 429);
}
