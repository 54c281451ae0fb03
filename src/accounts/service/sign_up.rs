//! Signing up.

use std::sync::Arc;

use super::Accounts;
use crate::accounts::rules;
use crate::accounts::{AccountError, Kind, LogIn};
use crate::store::Conn;
use crate::store::sessions::{self as session_rows, NewSession};
use crate::store::users::{self, NewUser, Taken};

impl Accounts {
    /// Adds a user with a profile and a first session. Nothing is hashed for a name that is
    /// taken anyway.
    ///
    /// # Errors
    /// `Invalid`, `Taken`, or an outage.
    pub async fn sign_up(
        &self,
        username: &str,
        email: &str,
        password: &str,
    ) -> Result<LogIn, AccountError> {
        let (username, email) = self.check(username, email, password)?;
        let names = (username.clone(), email.clone());
        let taken = self
            .db
            .read("sign_up_taken", move |conn| Ok(users::taken(conn, &names.0, &names.1)?))
            .await?;
        if taken != Taken::default() {
            return Err(AccountError::Taken(taken));
        }
        let password_hash = self.passwords.hash(password.to_owned()).await?;
        let new = NewUser { username, email, password_hash, created_at: self.clock.now() };
        let username: Arc<str> = new.username.as_str().into();
        let mut fresh = self.fresh(0, Kind::Cookie)?;
        let ticket = self.sessions.ticket(&fresh.row.token_hash);
        let row = fresh.row;
        let user_id =
            self.db.write("sign_up", move |conn| Ok(add_user(conn, &new, row)?)).await??;
        fresh.row.user_id = user_id;
        self.sessions.added(ticket, &fresh.row, username.clone());
        metrics::counter!("roost_sign_ups_total").increment(1);
        Ok(LogIn { user_id, username, token: fresh.token, expires_at: fresh.row.expires_at })
    }

    /// All complaints at once; otherwise name and address as they are stored.
    fn check(
        &self,
        username: &str,
        email: &str,
        password: &str,
    ) -> Result<(String, String), AccountError> {
        let username = self.rules.username(username);
        let email = rules::email(email);
        let password = self.rules.password(password);
        match (username, email, password) {
            (Ok(username), Ok(email), Ok(())) => Ok((username, email)),
            (username, email, password) => {
                let complaints = [
                    ("username", username.err()),
                    ("email", email.err()),
                    ("password", password.err()),
                ];
                let told = complaints
                    .into_iter()
                    .filter_map(|(field, complaint)| Some((field, complaint?)))
                    .collect();
                Err(AccountError::Invalid(told))
            }
        }
    }
}

/// Adds user, profile and first session, or says what was taken meanwhile.
fn add_user(
    conn: &mut Conn<'_>,
    new: &NewUser,
    mut session: NewSession,
) -> diesel::QueryResult<Result<i64, AccountError>> {
    let Some(user_id) = users::create(conn, new)? else {
        let taken = users::taken(conn, &new.username, &new.email)?;
        return Ok(Err(AccountError::Taken(taken)));
    };
    session.user_id = user_id;
    session_rows::insert(conn, &session)?;
    Ok(Ok(user_id))
}
