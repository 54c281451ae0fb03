//! Who a virtual user is.

use std::time::{SystemTime, UNIX_EPOCH};

use goose::prelude::*;
use serde::Deserialize;

/// How many users `roost seed` has made; unset or 0: each virtual user signs up.
const SEEDED_USERS: &str = "ROOST_LOADTEST_USERS";

/// The password of seeded users.
const SEED_PASSWORD: &str = "roost-demo";

/// A virtual user after logging in.
#[derive(Clone)]
pub struct Session {
    /// The user's id.
    pub id: i64,
    /// The tweets of the newest page that was read.
    pub seen: Vec<i64>,
    /// Where that page begins and ends, as cursors.
    pub newest: Option<String>,
    /// See `newest`.
    pub oldest: Option<String>,
}

#[derive(Deserialize)]
struct LoggedIn {
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: i64,
}

/// Logs in as a seeded user, or signs up. The session is a cookie, kept by goose.
pub async fn start(user: &mut GooseUser) -> TransactionResult {
    let seeded: usize =
        std::env::var(SEEDED_USERS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (path, body) = if seeded > 0 {
        let username = format!("user{:06}", user.weighted_users_index % seeded + 1);
        let body = serde_json::json!({"username": username, "password": SEED_PASSWORD});
        ("/api/accounts/login/", body)
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let username = format!("g{:x}{:x}", user.weighted_users_index, now.as_micros());
        let username = &username[..username.len().min(20)];
        let email = format!("{username}@example.com");
        let body =
            serde_json::json!({"username": username, "email": email, "password": SEED_PASSWORD});
        ("/api/accounts/signup/", body)
    };
    let mut goose = user.post_json(path, &body).await?;
    let reply = match goose.response {
        Ok(response) => response.json::<LoggedIn>().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match reply {
        Ok(LoggedIn { user: User { id } }) => {
            user.set_session_data(Session { id, seen: Vec::new(), newest: None, oldest: None });
            Ok(())
        }
        Err(why) => {
            let why = format!("cannot log in: {why}");
            user.set_failure(&why, &mut goose.request, None, None)
        }
    }
}
