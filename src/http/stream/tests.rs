//! Places and permits; the stream as a whole is tested from outside, in `tests/it/stream.rs`.

use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::accounts::rules::Rules;
use crate::accounts::{AuthMethod, Identity, Kind, Settings, token_hash};
use crate::config::Length;
use crate::store::testing::databases;
use crate::time::Clock;

const PASSWORD: &str = "correct horse";

#[test]
fn the_oldest_stream_of_a_user_makes_room() {
    let streams = Streams::default();
    let places: Vec<Place> = (0..MOST_OF_ONE_USER).map(|_| streams.enter(1).unwrap()).collect();
    let other = streams.enter(2).unwrap();
    assert!(places.iter().all(|place| place.given_up.notified().now_or_never().is_none()));
    let newest = streams.enter(1).unwrap();
    assert!(places[0].given_up.notified().now_or_never().is_some(), "the oldest");
    for kept in places[1..].iter().chain([&other, &newest]) {
        assert!(kept.given_up.notified().now_or_never().is_none());
    }
    drop((places, other, newest));
    let open = streams.open.lock();
    assert_eq!((open.all, open.of_users.len()), (0, 0));
}

#[test]
fn a_node_has_an_end() {
    let streams = Streams::default();
    let places: Vec<Place> =
        (0..MOST_STREAMS as i64).map(|user| streams.enter(user).unwrap()).collect();
    let refused = streams.enter(-1).err();
    assert_eq!(refused, Some(ApiError::Unavailable { retry_after: RETRY_AFTER_S }));
    drop(places);
    streams.enter(-1).unwrap();
}

/// Accounts that take nothing on trust, so that every look is one into the database.
fn accounts(db: &crate::store::Db) -> web::Data<Accounts> {
    let any = Length { min: 1, max: 100 };
    let rules = Rules { username: any, password: any };
    let settings = Settings { rules, trusted_for: Duration::ZERO };
    web::Data::new(Accounts::new(db.clone(), Clock::system(), settings).unwrap())
}

#[tokio::test]
async fn an_end_of_the_session_is_heard_and_seen() {
    for test in databases() {
        let accounts = accounts(&test.db);
        let ann = accounts.sign_up("ann", "ann@example.com", PASSWORD).await.ok().unwrap();
        let hash = token_hash(&ann.token).unwrap();
        let me = accounts.session(Kind::Cookie, hash).await.unwrap().unwrap();
        let mut permit = Permit::new(me.clone(), accounts.clone()).await.unwrap().unwrap();
        assert!(permit.holds().await, "{}", test.name);
        assert!(permit.shaken().now_or_never().is_none());
        accounts.log_out(hash).await.unwrap();
        assert!(permit.shaken().now_or_never().is_some(), "{}", test.name);
        assert!(!permit.holds().await);
        assert!(Permit::new(me, accounts).await.unwrap().is_none(), "ended before it began");
    }
}

#[tokio::test]
async fn a_locked_account_ends_every_kind_of_stream() {
    for test in databases() {
        let accounts = accounts(&test.db);
        let ann = accounts.sign_up("ann", "ann@example.com", PASSWORD).await.ok().unwrap();
        let token = accounts.log_in("ann", PASSWORD, Kind::Bearer).await.ok().unwrap();
        let bearer = accounts
            .session(Kind::Bearer, token_hash(&token.token).unwrap())
            .await
            .unwrap()
            .unwrap();
        let basic = accounts.basic("ann", PASSWORD).await.ok().unwrap();
        assert_eq!(basic.method, AuthMethod::Basic);
        let mut permits = Vec::new();
        for me in [bearer, basic] {
            permits.push(Permit::new(me, accounts.clone()).await.unwrap().unwrap());
        }
        for permit in &mut permits {
            assert!(permit.holds().await, "{}", test.name);
        }
        accounts.set_disabled(ann.user_id, true).await.ok().unwrap();
        for permit in &mut permits {
            assert!(!permit.holds().await, "{}", test.name);
        }
    }
}

#[tokio::test]
async fn a_new_password_ends_a_stream_opened_with_the_old_one() {
    for test in databases() {
        let accounts = accounts(&test.db);
        let ann = accounts.sign_up("ann", "ann@example.com", PASSWORD).await.ok().unwrap();
        let me: Identity = accounts.basic("ann", PASSWORD).await.ok().unwrap();
        let mut permit = Permit::new(me, accounts.clone()).await.unwrap().unwrap();
        accounts.reset_password(ann.user_id, "another horse").await.ok().unwrap();
        assert!(!permit.holds().await, "{}", test.name);
    }
}
