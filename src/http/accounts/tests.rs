//! Tests of the account routes.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use serde_json::{Value, json};

use super::*;
use crate::accounts::Settings;
use crate::accounts::rules::Rules;
use crate::config::Length;
use crate::http::proxies::TrustedProxies;
use crate::store::testing::{TestDb, sqlite};
use crate::time::Clock;

const PASSWORD: &str = "correct horse";

struct World {
    _test: TestDb,
    accounts: Data<Accounts>,
}

struct Reply {
    status: StatusCode,
    body: Value,
    cookie: Option<String>,
}

impl Reply {
    /// The session cookie in the form in which it is sent back.
    fn session(&self) -> &str {
        self.cookie.as_deref().unwrap().split(';').next().unwrap()
    }
}

fn world() -> World {
    let test = sqlite();
    let rules =
        Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 128 } };
    let settings = Settings { rules, trusted_for: Duration::from_secs(60) };
    let accounts = Accounts::new(test.db.clone(), Clock::system(), settings).unwrap();
    World { _test: test, accounts: Data::new(accounts) }
}

impl World {
    async fn send(&self, request: TestRequest) -> Reply {
        let proxies = TrustedProxies::parse(&["10.0.0.1"]).unwrap();
        let app = App::new()
            .app_data(self.accounts.clone())
            .app_data(web::Data::new(proxies))
            .configure(configure);
        let service = init_service(app).await;
        let response = call_service(&service, request.to_request()).await;
        let status = response.status();
        let cookie = response.headers().get(header::SET_COOKIE);
        let cookie = cookie.map(|line| line.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(&read_body(response).await).unwrap();
        Reply { status, body, cookie }
    }

    async fn post(&self, name: &str, body: Value) -> Reply {
        self.send(post(name).set_json(body)).await
    }

    async fn sign_up(&self, name: &str) -> Reply {
        let email = format!("{name}@example.com");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        let reply = self.post("signup", body).await;
        assert_eq!(reply.status, StatusCode::CREATED);
        reply
    }
}

fn post(name: &str) -> TestRequest {
    TestRequest::post().uri(&format!("/api/accounts/{name}/"))
}

fn status_of(session: &str) -> TestRequest {
    let peer = "192.0.2.1:1234".parse().unwrap();
    TestRequest::get()
        .uri("/api/accounts/login_status/")
        .peer_addr(peer)
        .insert_header(("cookie", session))
}

#[actix_web::test]
async fn signing_up_and_out_as_the_contract_says() {
    let world = world();
    let reply = world.sign_up("Ann").await;
    let id = reply.body["user"]["id"].as_i64().unwrap();
    let user = json!({"id": id, "username": "ann"});
    assert_eq!(reply.body, json!({"success": true, "user": user}));
    let cookie = reply.cookie.clone().unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=1209600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");

    let status = world.send(status_of(reply.session())).await;
    let expected = json!({"has_logged_in": true, "ip": "192.0.2.1", "user": user});
    assert_eq!(status.body, expected);

    let out = post("logout").insert_header(("cookie", reply.session()));
    let out = world.send(out).await;
    assert_eq!((out.status, &out.body), (StatusCode::OK, &json!({"success": true})));
    assert!(out.cookie.unwrap().contains("Max-Age=0"));
    let status = world.send(status_of(reply.session())).await;
    assert_eq!(status.body, json!({"has_logged_in": false, "ip": "192.0.2.1"}));
    assert_eq!(world.post("logout", json!({})).await.status, StatusCode::OK, "nobody");
}

#[actix_web::test]
async fn duplicates_are_told_under_two_names() {
    let world = world();
    world.sign_up("ann").await;
    let body = json!({"username": "ANN", "email": "ann@example.com", "password": PASSWORD});
    let reply = world.post("signup", body).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.body["message"], "Please check input.");
    let (name, email) = (USERNAME_TAKEN, EMAIL_TAKEN);
    let errors = json!({"username": [name], "email": [email], "message": [name, email]});
    assert_eq!(reply.body["errors"], errors);
    assert_eq!(reply.cookie, None);
}

#[actix_web::test]
async fn what_is_missing_or_wrong_is_400() {
    let world = world();
    world.sign_up("ann").await;
    let reply = world.post("signup", json!({"username": "bob"})).await;
    assert_eq!(reply.body["message"], "missing email,password in request");
    let reply = world.post("signup", json!({"username": [], "email": 1, "password": {}})).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    for name in ["login", "token"] {
        let reply = world.post(name, json!({"password": "x"})).await;
        assert_eq!(reply.body["message"], "missing username in request");
        let mut answers = Vec::new();
        for (user, password) in [("ann", "wrong password"), ("nobody", PASSWORD)] {
            let body = json!({"username": user, "password": password});
            let reply = world.post(name, body).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST);
            assert_eq!(reply.body["message"], "Username and password does not match.");
            answers.push(reply.body);
        }
        assert_eq!(answers[0], answers[1], "nothing tells which it was");
    }
}

#[actix_web::test]
async fn a_login_starts_a_new_session_whatever_cookie_came_with_it() {
    let world = world();
    let first = world.sign_up("ann").await;
    let body = json!({"username": "ANN", "password": PASSWORD});
    let request = post("login").insert_header(("cookie", first.session())).set_json(body);
    let second = world.send(request).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(second.body, first.body);
    assert_ne!(second.session(), first.session());
    for session in [first.session(), second.session()] {
        assert_eq!(world.send(status_of(session)).await.body["has_logged_in"], true);
    }
}

#[actix_web::test]
async fn another_site_can_neither_sign_up_nor_log_in() {
    let world = world();
    world.sign_up("ann").await;
    let body = json!({"username": "ann", "email": "a@b.c", "password": PASSWORD});
    for name in ["login", "signup"] {
        let request = post(name).insert_header(("sec-fetch-site", "cross-site")).set_json(&body);
        let reply = world.send(request).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert_eq!(reply.body["message"], "CSRF Failed: cross-site request.");
        assert_eq!(reply.cookie, None);
    }
}

#[actix_web::test]
async fn tokens_come_without_a_cookie_and_end_alone() {
    let world = world();
    let ann = world.sign_up("ann").await;
    let body = json!({"username": "ann", "password": PASSWORD});
    let reply = world.post("token", body.clone()).await;
    assert_eq!((reply.status, &reply.cookie), (StatusCode::CREATED, &None));
    let expiry = Timestamp::parse(reply.body["expires_at"].as_str().unwrap()).unwrap();
    let left = expiry.micros() - Clock::system().now().micros();
    assert!((left - LIFETIME.as_micros() as i64).abs() < 60_000_000, "{left}");
    let other = world.post("token", body).await;

    let end = |bearer: &Value| {
        let line = format!("Bearer {}", bearer["token"].as_str().unwrap());
        TestRequest::delete()
            .uri("/api/accounts/token/")
            .insert_header((header::AUTHORIZATION, line))
    };
    assert_eq!(world.send(end(&reply.body)).await.body, json!({"success": true}));
    assert_eq!(world.send(end(&reply.body)).await.status, StatusCode::FORBIDDEN, "it is dead");
    assert_eq!(world.send(status_of(ann.session())).await.body["has_logged_in"], true);

    // The cookie names no token: all of them go.
    let request =
        TestRequest::delete().uri("/api/accounts/token/").insert_header(("cookie", ann.session()));
    assert_eq!(world.send(request).await.status, StatusCode::OK);
    assert_eq!(world.send(end(&other.body)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.send(status_of(ann.session())).await.body["has_logged_in"], true);
    let nobody = TestRequest::delete().uri("/api/accounts/token/");
    assert_eq!(world.send(nobody).await.status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn behind_tls_the_cookie_is_secure() {
    let world = world();
    world.sign_up("ann").await;
    let log_in = |peer: &str| {
        post("login")
            .peer_addr(peer.parse().unwrap())
            .insert_header(("x-forwarded-proto", "https"))
            .set_json(json!({"username": "ann", "password": PASSWORD}))
    };
    let proxied = world.send(log_in("10.0.0.1:1")).await.cookie.unwrap();
    assert!(proxied.contains("Secure"), "{proxied}");
    let direct = world.send(log_in("203.0.113.9:1")).await.cookie.unwrap();
    assert!(!direct.contains("Secure"), "{direct}");
}

#[test]
fn an_overload_is_503_and_a_long_password_a_complaint() {
    let overload = ApiError::from(AccountError::Password(PasswordError::Overloaded));
    assert_eq!(overload, ApiError::Unavailable { retry_after: RETRY_AFTER_S });
    let long = ApiError::from(AccountError::Password(PasswordError::TooLong));
    assert!(matches!(long, ApiError::Validation(_)));
}
