//! What can go wrong with an account.

use super::passwords::PasswordError;
use super::rules::Complaint;
use crate::store::StoreError;
use crate::store::users::Taken;

/// Why something about an account was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Values that are not acceptable: (field, sentence for the client) pairs.
    #[error("unacceptable values: {0:?}")]
    Invalid(Vec<(&'static str, Complaint)>),
    /// The name or the address is somebody's already.
    #[error("taken: {0:?}")]
    Taken(Taken),
    /// Unknown user, wrong password or locked account; which of them is nobody's business.
    #[error("user name and password do not match")]
    Mismatch,
    /// No user has this number.
    #[error("no such user")]
    UnknownUser,
    /// No password can be hashed or verified now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}
