//! Tests of accounts as a whole, on both engines.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::rules::Rules;
use super::*;
use crate::config::Length;
use crate::store::testing::{TestDb, databases};
use crate::store::users::Taken;
use crate::time::Clock;

const PASSWORD: &str = "correct horse";

fn settings(trusted_for: Duration) -> Settings {
    let rules =
        Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 128 } };
    Settings { rules, trusted_for }
}

fn accounts(test: &TestDb) -> Accounts {
    Accounts::new(test.db.clone(), Clock::system(), settings(sessions::TRUSTED_FOR)).unwrap()
}

async fn sign_up(accounts: &Accounts, name: &str) -> LogIn {
    accounts.sign_up(name, &format!("{name}@example.com"), PASSWORD).await.ok().unwrap()
}

fn hash_of(log_in: &LogIn) -> TokenHash {
    token_hash(&log_in.token).unwrap()
}

async fn is_alive(accounts: &Accounts, kind: Kind, hash: TokenHash) -> bool {
    let cached = accounts.cached_session(kind, &hash).is_some();
    cached || accounts.session(kind, hash).await.unwrap().is_some()
}

#[tokio::test]
async fn signing_up_starts_a_session_that_needs_no_query() {
    for test in databases() {
        let accounts = accounts(&test);
        let ann = accounts.sign_up(" Ann ", "Ann@Example.com", PASSWORD).await.ok().unwrap();
        assert_eq!(&*ann.username, "ann", "{}", test.name);
        let who = accounts.cached_session(Kind::Cookie, &hash_of(&ann)).unwrap();
        assert_eq!((who.user_id, who.method), (ann.user_id, AuthMethod::Cookie));
        assert_eq!(accounts.cached_session(Kind::Bearer, &hash_of(&ann)), None, "wrong kind");
        assert!(!is_alive(&accounts, Kind::Bearer, hash_of(&ann)).await);

        let other_node = super::tests::accounts(&test);
        assert_eq!(other_node.cached_session(Kind::Cookie, &hash_of(&ann)), None);
        let there = other_node.session(Kind::Cookie, hash_of(&ann)).await.unwrap();
        assert_eq!(there, Some(who));
    }
}

#[tokio::test]
async fn complaints_come_together_and_taken_names_are_told() {
    for test in databases() {
        let accounts = accounts(&test);
        let refused = accounts.sign_up("a-b", "nowhere", "short").await.err().unwrap();
        let AccountError::Invalid(complaints) = refused else { panic!("{refused}") };
        let fields: Vec<_> = complaints.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["username", "email", "password"], "{}", test.name);

        sign_up(&accounts, "ann").await;
        for (name, email, username_taken, email_taken) in [
            ("ANN", "x@example.com", true, false),
            ("bob", "ANN@example.com", false, true),
            ("ann", "ann@example.com", true, true),
        ] {
            let refused = accounts.sign_up(name, email, PASSWORD).await.err().unwrap();
            let AccountError::Taken(taken) = refused else { panic!("{refused}") };
            assert_eq!(taken, Taken { username: username_taken, email: email_taken });
        }
    }
}

#[tokio::test]
async fn of_parallel_sign_ups_under_one_name_one_succeeds() {
    for test in databases() {
        let accounts = accounts(&test);
        let attempts = (0..6).map(|number| {
            let email = format!("ann{}@example.com", number % 2);
            let accounts = &accounts;
            async move { accounts.sign_up("ann", &email, PASSWORD).await }
        });
        let results = futures_util::future::join_all(attempts).await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{}", test.name);
        for error in lost.into_iter().filter_map(Result::err) {
            assert!(matches!(error, AccountError::Taken(t) if t.username), "{error}");
        }
    }
}

#[tokio::test]
async fn every_failed_login_is_the_same() {
    for test in databases() {
        let accounts = accounts(&test);
        let ann = sign_up(&accounts, "ann").await;
        let attempt = |name: &'static str, password: &'static str| {
            let accounts = &accounts;
            async move { accounts.log_in(name, password, Kind::Cookie).await.err() }
        };
        assert!(attempt("ANN ", PASSWORD).await.is_none(), "any case of the name");
        for (name, password) in [
            ("ann", "correct horse "),
            ("ann", "CORRECT HORSE"),
            ("ann", ""),
            ("bob", PASSWORD),
            ("", PASSWORD),
            ("an\0n", PASSWORD),
            ("%", PASSWORD),
        ] {
            let error = attempt(name, password).await;
            assert!(matches!(error, Some(AccountError::Mismatch)), "{} {name:?}", test.name);
        }
        accounts.set_disabled(ann.user_id, true).await.unwrap();
        assert!(matches!(attempt("ann", PASSWORD).await, Some(AccountError::Mismatch)));
        assert!(!is_alive(&accounts, Kind::Cookie, hash_of(&ann)).await);
        accounts.set_disabled(ann.user_id, false).await.unwrap();
        assert!(attempt("ann", PASSWORD).await.is_none());
        assert!(!is_alive(&accounts, Kind::Cookie, hash_of(&ann)).await, "stays ended");
    }
}

#[tokio::test]
async fn logging_out_ends_one_session_at_once() {
    for test in databases() {
        let accounts = accounts(&test);
        let first = sign_up(&accounts, "ann").await;
        let second = accounts.log_in("ann", PASSWORD, Kind::Cookie).await.ok().unwrap();
        assert_ne!(first.token, second.token);
        accounts.log_out(hash_of(&first)).await.unwrap();
        assert!(!is_alive(&accounts, Kind::Cookie, hash_of(&first)).await, "{}", test.name);
        assert!(is_alive(&accounts, Kind::Cookie, hash_of(&second)).await);
        accounts.log_out(hash_of(&first)).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_noticed_when_trust_runs_out() {
    for test in databases() {
        let here = accounts(&test);
        let wary =
            Accounts::new(test.db.clone(), Clock::system(), settings(Duration::ZERO)).unwrap();
        let ann = sign_up(&here, "ann").await;
        let hash = hash_of(&ann);
        assert!(wary.session(Kind::Cookie, hash).await.unwrap().is_some());
        here.log_out(hash).await.unwrap();
        assert_eq!(wary.cached_session(Kind::Cookie, &hash), None, "{}", test.name);
        assert_eq!(wary.session(Kind::Cookie, hash).await.unwrap(), None);
    }
}

#[tokio::test]
async fn no_session_outlives_its_expiry() {
    for test in databases() {
        let wall = Arc::new(AtomicI64::new(1_000_000));
        let source = wall.clone();
        let clock = Clock::from_source(move || source.load(Ordering::SeqCst));
        let accounts =
            Accounts::new(test.db.clone(), clock, settings(sessions::TRUSTED_FOR)).unwrap();
        let ann = sign_up(&accounts, "ann").await;
        let hash = hash_of(&ann);

        // A moment before the end it may still be read, but not be trusted for a minute.
        wall.store(ann.expires_at.micros() - 1_000, Ordering::SeqCst);
        let late = super::tests::accounts(&test);
        assert_eq!(late.session(Kind::Cookie, hash).await.unwrap(), None, "the real clock");
        assert!(accounts.session(Kind::Cookie, hash).await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(accounts.cached_session(Kind::Cookie, &hash), None, "{}", test.name);

        wall.store(ann.expires_at.micros(), Ordering::SeqCst);
        assert_eq!(accounts.session(Kind::Cookie, hash).await.unwrap(), None);
        assert_eq!(accounts.sweep_expired(10).await.unwrap(), 1);
        assert_eq!(accounts.sweep_expired(10).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_new_password_ends_whatever_the_old_one_began() {
    const NEW: &str = "battery staple";
    for test in databases() {
        let accounts = accounts(&test);
        let ann = sign_up(&accounts, "ann").await;
        let token = accounts.log_in("ann", PASSWORD, Kind::Bearer).await.ok().unwrap();
        accounts.basic("ann", PASSWORD).await.unwrap();
        assert!(accounts.cached_basic("Ann", PASSWORD).is_some());

        let refused = accounts.reset_password(ann.user_id, "short").await;
        assert!(matches!(refused, Err(AccountError::Invalid(_))));
        let nobody = accounts.reset_password(ann.user_id + 1, NEW).await;
        assert!(matches!(nobody, Err(AccountError::UnknownUser)));
        assert!(is_alive(&accounts, Kind::Cookie, hash_of(&ann)).await);

        accounts.reset_password(ann.user_id, NEW).await.unwrap();
        assert!(!is_alive(&accounts, Kind::Cookie, hash_of(&ann)).await, "{}", test.name);
        assert!(!is_alive(&accounts, Kind::Bearer, hash_of(&token)).await);
        assert!(accounts.cached_basic("ann", PASSWORD).is_none());
        let old = accounts.basic("ann", PASSWORD).await;
        assert!(matches!(old, Err(AccountError::Mismatch)));
        assert_eq!(accounts.basic("ANN", NEW).await.unwrap().user_id, ann.user_id);
    }
}

#[tokio::test]
async fn a_login_that_races_a_new_password_leaves_no_session() {
    for test in databases() {
        let accounts = accounts(&test);
        let ann = sign_up(&accounts, "ann").await;
        for round in 0..8 {
            let (old, new) = (format!("password {round}"), format!("password {}", round + 1));
            accounts.reset_password(ann.user_id, &old).await.unwrap();
            let (log_in, reset) = tokio::join!(
                accounts.log_in("ann", &old, Kind::Cookie),
                accounts.reset_password(ann.user_id, &new),
            );
            reset.unwrap();
            if let Ok(log_in) = log_in {
                let alive = is_alive(&accounts, Kind::Cookie, hash_of(&log_in)).await;
                assert!(!alive, "{} round {round}", test.name);
            }
        }
    }
}

#[tokio::test]
async fn revoking_tokens_leaves_cookies_alone() {
    for test in databases() {
        let accounts = accounts(&test);
        let ann = sign_up(&accounts, "ann").await;
        let token = accounts.log_in("ann", PASSWORD, Kind::Bearer).await.ok().unwrap();
        accounts.revoke_tokens(ann.user_id).await.unwrap();
        assert!(!is_alive(&accounts, Kind::Bearer, hash_of(&token)).await, "{}", test.name);
        assert!(is_alive(&accounts, Kind::Cookie, hash_of(&ann)).await);
    }
}
