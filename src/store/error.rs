//! What can go wrong in the database, as far as callers need to tell it apart.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection within the wait limit, or the connection was lost: nothing was written,
    /// trying again later may work.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The statement ran into its time limit, or waited too long for a lock: nothing was written,
    /// and the connection is as good as before.
    #[error("the database took too long: {0}")]
    TimedOut(String),
    /// The connection was lost while committing: the transaction may have happened or not.
    #[error("outcome of the commit unknown: {0}")]
    OutcomeUnknown(String),
    /// The transaction lost against a concurrent one and was rolled back.
    #[error("transaction conflict: {0}")]
    Conflict(String),
    /// Anything else: a bug, or a constraint that the caller should have known about.
    #[error(transparent)]
    Query(DieselError),
}

impl StoreError {
    /// Whether the error says that the database cannot serve now, as against a refused query.
    pub fn is_outage(&self) -> bool {
        matches!(self, StoreError::TimedOut(_)) || self.lost_connection()
    }

    /// Whether the connection is of no use any more.
    pub(super) fn lost_connection(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
    }

    /// The same for an error raised at the commit itself: what is not a clear refusal by the
    /// server leaves the outcome open.
    pub(super) fn at_commit(error: DieselError) -> StoreError {
        match StoreError::from(error) {
            StoreError::Unavailable(reason) => StoreError::OutcomeUnknown(reason),
            other => other,
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return match error {
                DieselError::BrokenTransactionManager => {
                    StoreError::Unavailable("connection lost inside a transaction".into())
                }
                other => StoreError::Query(other),
            };
        };
        let message = info.message().to_owned();
        match kind {
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                StoreError::Unavailable(message)
            }
            DatabaseErrorKind::SerializationFailure => StoreError::Conflict(message),
            DatabaseErrorKind::ReadOnlyTransaction => StoreError::Unavailable(message),
            _ => match passing_trouble(&message) {
                Some(make) => make(message),
                None => StoreError::Query(error),
            },
        }
    }
}

/// Diesel gives no SQLSTATE for these, only the server's English words (libpq's own and those
/// of SQLite are never translated; Roost asks Postgres for `lc_messages=C`).
fn passing_trouble(message: &str) -> Option<fn(String) -> StoreError> {
    const TIMED_OUT: [&str; 2] = ["statement timeout", "lock timeout"];
    const UNAVAILABLE: [&str; 10] = [
        "terminating connection",
        "server closed the connection",
        "the database system is",
        "no connection to the server",
        "could not receive data",
        "could not send data",
        "database is locked",
        "database or disk is full",
        "No space left on device",
        "disk I/O error",
    ];
    if message.contains("deadlock detected") {
        return Some(StoreError::Conflict);
    }
    if TIMED_OUT.iter().any(|words| message.contains(words)) {
        return Some(StoreError::TimedOut);
    }
    UNAVAILABLE
        .iter()
        .any(|words| message.contains(words))
        .then_some(StoreError::Unavailable as fn(String) -> StoreError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(kind: DatabaseErrorKind, message: &str) -> StoreError {
        DieselError::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn outages_conflicts_and_bugs_are_told_apart() {
        use DatabaseErrorKind::{ClosedConnection, SerializationFailure, UniqueViolation, Unknown};
        assert!(database(ClosedConnection, "gone").is_outage());
        let slow = database(Unknown, "canceling statement due to statement timeout");
        assert!(slow.is_outage() && !slow.lost_connection(), "the connection answers: {slow:?}");
        assert!(matches!(database(SerializationFailure, "x"), StoreError::Conflict(_)));
        assert!(matches!(database(Unknown, "deadlock detected"), StoreError::Conflict(_)));
        assert!(matches!(database(UniqueViolation, "x"), StoreError::Query(_)));
        assert!(matches!(
            StoreError::at_commit(DieselError::DatabaseError(
                ClosedConnection,
                Box::new("gone".to_owned())
            )),
            StoreError::OutcomeUnknown(_)
        ));
    }
}
