//! Tests of the profile routes.

use std::sync::Arc;
use std::time::Duration;

use actix_web::App;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use object_store::memory::InMemory;
use serde_json::{Value, json};

use super::*;
use crate::accounts::rules::Rules;
use crate::accounts::{Accounts, LogIn, Settings};
use crate::store::testing::{TestDb, databases};
use crate::time::{Clock, Timestamp};

struct World {
    test: TestDb,
    accounts: Data<Accounts>,
    users: Data<Users>,
}

struct Person {
    id: i64,
    cookie: String,
}

fn worlds() -> impl Iterator<Item = World> {
    databases().into_iter().map(|test| {
        let rules =
            Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 128 } };
        let settings = Settings { rules, trusted_for: Duration::from_secs(60) };
        let accounts = Accounts::new(test.db.clone(), Clock::system(), settings).unwrap();
        let users = Users::new(test.db.clone(), 100);
        World { test, accounts: Data::new(accounts), users: Data::new(users) }
    })
}

impl World {
    async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let LogIn { user_id, token, .. } =
            self.accounts.sign_up(name, &email, "correct horse").await.ok().unwrap();
        Person { id: user_id, cookie: format!("sessionid={token}") }
    }

    async fn send(&self, request: TestRequest) -> (StatusCode, Value) {
        let app = App::new()
            .app_data(self.accounts.clone())
            .app_data(self.users.clone())
            .app_data(Data::new(self.test.db.clone()))
            .app_data(Data::new(Media::on(Arc::new(InMemory::new()))))
            .configure(configure);
        let service = init_service(app).await;
        let response = call_service(&service, request.to_request()).await;
        let status = response.status();
        (status, serde_json::from_slice(&read_body(response).await).unwrap())
    }

    async fn get(&self, path: &str, by: Option<&Person>) -> (StatusCode, Value) {
        let mut request = TestRequest::get().uri(path);
        if let Some(person) = by {
            request = request.insert_header(("cookie", person.cookie.as_str()));
        }
        self.send(request).await
    }

    async fn put(&self, id: i64, by: &Person, body: Value) -> (StatusCode, Value) {
        self.send(changing(id, by).set_json(body)).await
    }
}

fn path(id: i64) -> String {
    format!("/api/profiles/{id}/")
}

fn changing(id: i64, by: &Person) -> TestRequest {
    TestRequest::put().uri(&path(id)).insert_header(("cookie", by.cookie.as_str()))
}

fn with_avatar(request: TestRequest, file: &[u8]) -> TestRequest {
    let mut body = b"--X\r\nContent-Disposition: form-data; name=\"avatar\"; \
        filename=\"me.png\"\r\nContent-Type: image/png\r\n\r\n"
        .to_vec();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--X--\r\n");
    request.insert_header(("content-type", "multipart/form-data; boundary=X")).set_payload(body)
}

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(4, 4).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[actix_web::test]
async fn a_profile_shows_the_card_the_counts_and_the_friendship() {
    for world in worlds() {
        let (ann, bob) = (world.person("ann").await, world.person("bob").await);
        let (from, to) = (ann.id, bob.id);
        world
            .test
            .db
            .write_blocking(|conn| Ok(friendships::follow(conn, from, to, Timestamp(5))?))
            .unwrap();
        let mut expected = json!({"id": bob.id, "username": "bob", "nickname": null,
            "avatar_url": null, "followers_count": 1, "followings_count": 0, "tweets_count": 0,
            "has_followed": true});
        let by_ann = world.get(&path(bob.id), Some(&ann)).await;
        assert_eq!(by_ann, (StatusCode::OK, expected.clone()), "{}", world.test.name);
        expected["has_followed"] = false.into();
        assert_eq!(world.get(&path(bob.id), None).await.1, expected);
        assert_eq!(world.get(&path(bob.id), Some(&bob)).await.1, expected);
        for name in ["bob", "BOB", "%20Bob"] {
            let path = format!("/api/profiles/?username={name}");
            assert_eq!(world.get(&path, None).await.1, expected, "{name}");
        }
        assert_eq!(world.get(&path(ann.id), None).await.1["followings_count"], 1);
    }
}

#[actix_web::test]
async fn nobody_has_no_profile() {
    for world in worlds() {
        let ann = world.person("ann").await;
        for id in ["0", "-1", "+1", "x", "1e3", "9223372036854775807", "9223372036854775808"] {
            let (status, body) = world.get(&format!("/api/profiles/{id}/"), None).await;
            assert_eq!((status, &body["message"]), (StatusCode::NOT_FOUND, &json!("Not found.")));
        }
        for name in ["", "nobody", "%25", "an_", "%00", "ann%27--", "%C3%A4"] {
            let (status, _) = world.get(&format!("/api/profiles/?username={name}"), None).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{name}");
        }
        let (status, body) = world.get("/api/profiles/", Some(&ann)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body["message"], "missing username in request");
    }
}

#[actix_web::test]
async fn a_change_is_seen_at_once_and_leaves_the_rest() {
    for world in worlds() {
        let ann = world.person("ann").await;
        world.users.one(ann.id).await.unwrap();
        let body = json!({"nickname": " Änne 🐔 ", "username": "root", "followers_count": 9});
        let expected = json!({"nickname": "Änne 🐔", "avatar": null});
        let reply = world.put(ann.id, &ann, body).await;
        assert_eq!(reply, (StatusCode::OK, expected), "{}", world.test.name);
        let card = world.users.one(ann.id).await.unwrap().unwrap();
        assert_eq!(card.nickname.as_deref(), Some("Änne 🐔"));
        assert_eq!((card.username.as_str(), card.avatar_url.as_deref()), ("ann", None));

        let request = with_avatar(changing(ann.id, &ann).method(Method::PATCH), &png());
        let (status, body) = world.send(request).await;
        assert_eq!((status, &body["nickname"]), (StatusCode::OK, &json!("Änne 🐔")));
        let url = body["avatar"].as_str().unwrap();
        assert!(url.starts_with("/media/") && url.contains("/me."), "{url}");
        let card = world.users.one(ann.id).await.unwrap().unwrap();
        assert_eq!(card.avatar_url.as_deref(), Some(url));
        let (_, unchanged) = world.put(ann.id, &ann, json!({})).await;
        assert_eq!(unchanged, body);
    }
}

#[actix_web::test]
async fn what_does_not_fit_is_told_by_field() {
    for world in worlds() {
        let ann = world.person("ann").await;
        for bad in [json!(""), json!("  "), json!("🐔".repeat(201)), json!("a\0"), json!([])] {
            let (status, body) = world.put(ann.id, &ann, json!({"nickname": bad})).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
            assert!(body["errors"]["nickname"].is_array(), "{body}");
        }
        let (status, _) = world.put(ann.id, &ann, json!({"nickname": "🐔".repeat(200)})).await;
        assert_eq!(status, StatusCode::OK);
        let no_picture = world.send(with_avatar(changing(ann.id, &ann), b"no picture")).await;
        let no_file = world.put(ann.id, &ann, json!({"avatar": "http://x.y/z.png"})).await;
        for (status, body) in [no_picture, no_file] {
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(body["errors"]["avatar"].is_array(), "{body}");
        }
    }
}

#[actix_web::test]
async fn only_the_owner_changes_a_profile() {
    for world in worlds() {
        let (ann, bob) = (world.person("ann").await, world.person("bob").await);
        let body = json!({"nickname": "mine now"});
        let (status, answer) = world.put(ann.id, &bob, body.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let message = "You do not have permission to access this object";
        assert_eq!(answer["message"], message);
        let missing = world.put(ann.id + 1000, &bob, body.clone()).await;
        assert_eq!(missing.0, StatusCode::NOT_FOUND);
        let request = TestRequest::put().uri(&path(ann.id)).set_json(&body);
        let (status, answer) = world.send(request).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(answer["message"], "Authentication credentials were not provided.");
        assert_eq!(world.get(&path(ann.id), None).await.1["nickname"], json!(null));
    }
}
