//! Who somebody is: accounts, passwords, sessions and tokens.
//!
//! - [`passwords`]: argon2id, bounded;
//! - [`sessions`]: tokens, stored hashed, and a cache of those in use;
//! - [`basic`]: what makes HTTP Basic affordable;
//! - [`endings`]: who hears at once that a session has ended;
//! - [`rules`]: what names, addresses and passwords may look like;
//! - [`Accounts`]: all of it together, which is what the HTTP layer and the command line call.
//!
//! Invariants: a token or password is never stored in the clear; a session that was ended on
//! this node is dead at once, one that was ended on another as soon as this one hears of it; an
//! account that is locked or has a new password has no session from before.

pub mod basic;
pub mod endings;
mod error;
pub mod passwords;
pub mod rules;
mod service;
pub mod sessions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use error::AccountError;
pub use rules::Rules;
pub use service::{Accounts, Settings, Standing};
pub use sessions::{LIFETIME, TRUSTED_FOR, TokenHash, token_hash};

pub use crate::store::sessions::Kind;
use crate::time::Timestamp;

/// How a request has proved who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// The session cookie, which browsers send by themselves.
    Cookie,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
}

/// Who a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user_id: i64,
    /// The user's name.
    pub username: Arc<str>,
    /// The session or token that proves it; none with Basic.
    pub session: Option<TokenHash>,
    /// How it was proved.
    pub method: AuthMethod,
}

/// A user who has just signed up or logged in, with the only copy of the session's token. No
/// `Debug`: it must not reach a log.
pub struct LogIn {
    /// The user.
    pub user_id: i64,
    /// The user's name.
    pub username: Arc<str>,
    /// The token of the new session, for the client to keep.
    pub token: String,
    /// When the session ends.
    pub expires_at: Timestamp,
}
