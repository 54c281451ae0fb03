//! What is to become notifications, written in the transaction of the like or comment.

use diesel::prelude::*;

use super::Conn;
use super::notifications::Verb;
use super::rows::{AroundRows, Column, on_rows, pieces};
use crate::time::Timestamp;

/// A notification to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNotice {
    /// Whose like or comment is noticed by whom: the owner of the object.
    pub recipient_id: i64,
    /// Who liked or commented.
    pub actor_id: i64,
    /// What happened.
    pub verb: Verb,
    /// The tweet or comment.
    pub target_id: i64,
    /// When.
    pub created_at: Timestamp,
}

struct Insert;

impl AroundRows for Insert {
    type Row = ();
    type Columns = [Column; 5];
    const POSTGRES: [&'static str; 2] = [
        "INSERT INTO notification_outbox (recipient_id, actor_id, verb, target_id, created_at) ",
        "",
    ];
    /// FAIL: what fails takes its transaction with it, so SQLite need not copy each page to undo
    /// this statement alone.
    const SQLITE: [&'static str; 2] = [
        "INSERT OR FAIL INTO notification_outbox \
         (recipient_id, actor_id, verb, target_id, created_at) ",
        "",
    ];
}

/// Adds notices.
pub fn insert(conn: &mut Conn<'_>, notices: &[NewNotice]) -> QueryResult<()> {
    for notices in pieces(conn.engine(), notices) {
        let columns = [
            Column::big(notices, |notice| notice.recipient_id),
            Column::big(notices, |notice| notice.actor_id),
            Column::small(notices, |notice| notice.verb.code()),
            Column::big(notices, |notice| notice.target_id),
            Column::big(notices, |notice| notice.created_at.0),
        ];
        on_rows!(conn, Insert, columns, |query, c| query.execute(c))?;
    }
    Ok(())
}
