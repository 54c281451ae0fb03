//! Tests of who a request is from.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, HttpResponse};
use base64::engine::general_purpose::STANDARD as PADDED;
use serde_json::{Value, json};

use super::*;
use crate::accounts::Settings;
use crate::accounts::rules::Rules;
use crate::config::Length;
use crate::http::fields::Fields;
use crate::store::testing::{TestDb, sqlite};
use crate::store::{Db, DbConfig};
use crate::time::Clock;

const PASSWORD: &str = "correct: horse";

fn accounts_on(db: Db) -> web::Data<Accounts> {
    let rules =
        Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 128 } };
    let settings = Settings { rules, trusted_for: Duration::from_secs(60) };
    web::Data::new(Accounts::new(db, Clock::system(), settings).unwrap())
}

struct World {
    _test: TestDb,
    accounts: web::Data<Accounts>,
    cookie: String,
    token: String,
}

async fn world() -> World {
    let test = sqlite();
    let accounts = accounts_on(test.db.clone());
    let ann = accounts.sign_up("ann", "ann@example.com", PASSWORD).await.ok().unwrap();
    let token = accounts.log_in("ann", PASSWORD, Kind::Bearer).await.ok().unwrap();
    let cookie = format!("theme=dark; {COOKIE}={}; x=y", ann.token);
    World { _test: test, accounts, cookie, token: token.token }
}

fn basic_line(name: &str, password: &str) -> String {
    format!("Basic {}", PADDED.encode(format!("{name}:{password}")))
}

async fn who(MaybeLoggedIn(found): MaybeLoggedIn) -> String {
    found.map_or("nobody".into(), |who| format!("{} by {:?}", who.username, who.method))
}

async fn private(LoggedIn(who): LoggedIn, MaybeLoggedIn(again): MaybeLoggedIn) -> HttpResponse {
    assert_eq!(again.as_ref(), Some(&who));
    HttpResponse::Ok().body(who.username.to_string())
}

async fn with_body(WithLogin(who, _): WithLogin<Fields>) -> String {
    who.username.to_string()
}

async fn ask(accounts: &web::Data<Accounts>, request: TestRequest) -> (StatusCode, String) {
    let app = App::new()
        .app_data(accounts.clone())
        .route("/who", web::to(who))
        .route("/private", web::to(private))
        .route("/body", web::to(with_body));
    let service = init_service(app).await;
    let response = call_service(&service, request.to_request()).await;
    let status = response.status();
    let bytes = actix_web::test::read_body(response).await;
    let text = match serde_json::from_slice::<Value>(&bytes) {
        Ok(error) => error["message"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::from_utf8(bytes.to_vec()).unwrap(),
    };
    (status, text)
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

#[actix_web::test]
async fn each_proof_is_accepted_warm_and_cold() {
    let world = world().await;
    let cold = accounts_on(world._test.db.clone());
    for accounts in [&world.accounts, &cold, &cold] {
        for (name, line, method) in [
            ("cookie", world.cookie.clone(), "Cookie"),
            ("authorization", format!("Bearer {}", world.token), "Bearer"),
            ("authorization", format!("bearer  {}", world.token), "Bearer"),
            ("authorization", basic_line("Ann", PASSWORD), "Basic"),
            ("authorization", basic_line("ann", PASSWORD).trim_end_matches('=').into(), "Basic"),
        ] {
            let asked = get("/who").insert_header((name, line.as_str()));
            let expected = (StatusCode::OK, format!("ann by {method}"));
            assert_eq!(ask(accounts, asked).await, expected, "{line}");
            let asked = get("/private").insert_header((name, line.as_str()));
            assert_eq!(ask(accounts, asked).await, (StatusCode::OK, "ann".into()), "{line}");
        }
    }
}

#[actix_web::test]
async fn nobody_is_refused_only_where_somebody_is_needed() {
    let world = world().await;
    let stale = format!("{COOKIE}={}", "a".repeat(43));
    for line in ["", "a=b", &format!("{COOKIE}="), &format!("{COOKIE}=x"), &stale, "sessionid"] {
        let asked = get("/who").insert_header(("cookie", line));
        assert_eq!(ask(&world.accounts, asked).await, (StatusCode::OK, "nobody".into()), "{line}");
        for path in ["/private", "/body"] {
            let asked = get(path).insert_header(("cookie", line));
            let message = "Authentication credentials were not provided.";
            let expected = (StatusCode::FORBIDDEN, message.into());
            assert_eq!(ask(&world.accounts, asked).await, expected, "{line}");
        }
    }
    // A scheme that is not ours says nothing.
    let asked = get("/who").insert_header(("authorization", "Digest username=\"ann\""));
    assert_eq!(ask(&world.accounts, asked).await, (StatusCode::OK, "nobody".into()));
}

#[actix_web::test]
async fn wrong_credentials_are_refused_everywhere_and_go_before_the_cookie() {
    let world = world().await;
    let (password, token) = ("Invalid username/password.", "Invalid token.");
    for (line, message) in [
        (basic_line("ann", "wrong"), password),
        (basic_line("nobody", PASSWORD), password),
        (basic_line("ann\0", "p\0"), password),
        ("Basic YW5u".into(), password),
        ("Basic !!!".into(), password),
        ("Basic /////w==".into(), password),
        ("Basic".into(), password),
        ("Bearer".into(), token),
        ("Bearer 0".into(), token),
        (format!("Bearer {}", "x".repeat(43)), token),
        (format!("Bearer {}", "x".repeat(8000)), token),
    ] {
        for path in ["/who", "/private", "/body"] {
            let asked = get(path)
                .insert_header(("cookie", world.cookie.as_str()))
                .insert_header(("authorization", line.as_str()));
            let expected = (StatusCode::FORBIDDEN, message.into());
            assert_eq!(ask(&world.accounts, asked).await, expected, "{line}");
        }
    }
}

#[actix_web::test]
async fn a_cookie_session_is_no_bearer_token_and_the_other_way_round() {
    let world = world().await;
    let session = world.cookie.split([';', '=']).nth(3).unwrap().to_owned();
    let asked = get("/who").insert_header(("authorization", format!("Bearer {session}")));
    assert_eq!(ask(&world.accounts, asked).await.0, StatusCode::FORBIDDEN);
    let asked = get("/who").insert_header(("cookie", format!("{COOKIE}={}", world.token)));
    assert_eq!(ask(&world.accounts, asked).await, (StatusCode::OK, "nobody".into()));
}

#[actix_web::test]
async fn another_site_cannot_use_the_cookie_to_write() {
    let world = world().await;
    let cold = accounts_on(world._test.db.clone());
    for accounts in [&world.accounts, &cold] {
        for path in ["/who", "/private", "/body"] {
            let foreign = |request: TestRequest| {
                request.uri(path).insert_header(("sec-fetch-site", "cross-site"))
            };
            let asked =
                foreign(TestRequest::post()).insert_header(("cookie", world.cookie.as_str()));
            let message = "CSRF Failed: cross-site request.".to_owned();
            assert_eq!(ask(accounts, asked).await, (StatusCode::FORBIDDEN, message));
            let asked =
                foreign(TestRequest::get()).insert_header(("cookie", world.cookie.as_str()));
            assert_eq!(ask(accounts, asked).await.0, StatusCode::OK, "reading is harmless");
            let bearer = ("authorization", format!("Bearer {}", world.token));
            let asked = foreign(TestRequest::post()).insert_header(bearer);
            assert_eq!(ask(accounts, asked).await.0, StatusCode::OK, "no browser sends a token");
        }
    }
}

#[actix_web::test]
async fn a_database_that_is_down_is_no_refusal() {
    let world = world().await;
    let config = DbConfig {
        url: "sqlite:/nonexistent/roost.db".into(),
        read_connections: 1,
        write_connections: 1,
        acquire_timeout: Duration::from_millis(50),
        statement_timeout: Duration::from_secs(5),
        max_waiting: 10,
    };
    let down = accounts_on(Db::open(&config).unwrap());
    for (name, line) in [
        ("cookie", world.cookie.clone()),
        ("authorization", format!("Bearer {}", world.token)),
        ("authorization", basic_line("ann", PASSWORD)),
    ] {
        let asked = get("/who").insert_header((name, line.as_str()));
        assert_eq!(ask(&down, asked).await.0, StatusCode::SERVICE_UNAVAILABLE, "{line}");
    }
    assert_eq!(ask(&down, get("/who")).await.0, StatusCode::OK, "nobody needs no database");
}

#[actix_web::test]
async fn the_login_comes_before_the_body() {
    let world = world().await;
    let broken = |request: TestRequest| {
        request.uri("/body").insert_header(("content-type", "application/json")).set_payload("{")
    };
    let asked = broken(TestRequest::post());
    assert_eq!(ask(&world.accounts, asked).await.0, StatusCode::FORBIDDEN);
    let asked = broken(TestRequest::post()).insert_header(("cookie", world.cookie.as_str()));
    assert_eq!(ask(&world.accounts, asked).await.0, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn errors_have_the_contracts_shape() {
    let world = world().await;
    let app = App::new().app_data(world.accounts.clone()).route("/private", web::to(private));
    let service = init_service(app).await;
    let response = call_service(&service, get("/private").to_request()).await;
    let body: Value = read_body_json(response).await;
    let text = "Authentication credentials were not provided.";
    let expected = json!({
        "success": false, "code": "not_authenticated", "message": text, "detail": text,
    });
    assert_eq!(body, expected);
}
