//! What operators do to an account.

use super::Accounts;
use crate::accounts::{AccountError, TokenHash};
use crate::bus::News;
use crate::store::{sessions as session_rows, users};

impl Accounts {
    /// Gives a user a new password and ends all sessions and tokens.
    ///
    /// # Errors
    /// `Invalid`, `UnknownUser`, or an outage.
    pub async fn reset_password(&self, user_id: i64, new: &str) -> Result<(), AccountError> {
        self.rules
            .password(new)
            .map_err(|complaint| AccountError::Invalid(vec![("password", complaint)]))?;
        let password_hash = self.passwords.hash(new.to_owned()).await?;
        let bus = self.bus.clone();
        let changed = self.db.write("reset_password", move |conn| {
            let Some(username) = users::set_password(conn, user_id, &password_hash)? else {
                return Ok(None);
            };
            let ended = session_rows::delete_of_user(conn, user_id, None)?;
            bus.announce(conn, &News::of_account(&ended, Some(&username)))?;
            Ok(Some((username, ended)))
        });
        self.changed(changed.await?)
    }

    /// Locks an account out, ending all its sessions and tokens, or lets it in again.
    ///
    /// # Errors
    /// `UnknownUser`, or an outage.
    pub async fn set_disabled(&self, user_id: i64, disabled: bool) -> Result<(), AccountError> {
        let bus = self.bus.clone();
        let changed = self.db.write("set_disabled", move |conn| {
            let Some(username) = users::set_disabled(conn, user_id, disabled)? else {
                return Ok(None);
            };
            let ended = match disabled {
                true => session_rows::delete_of_user(conn, user_id, None)?,
                false => Vec::new(),
            };
            bus.announce(conn, &News::of_account(&ended, Some(&username)))?;
            Ok(Some((username, ended)))
        });
        self.changed(changed.await?)
    }

    /// Makes a committed change of an account known on this node.
    fn changed(&self, change: Option<(String, Vec<TokenHash>)>) -> Result<(), AccountError> {
        let (username, ended) = change.ok_or(AccountError::UnknownUser)?;
        self.sessions.ended(&ended);
        self.proofs.invalidate(&username);
        Ok(())
    }
}
