//! What is to become notifications, written in the transaction of the like or comment.

use diesel::prelude::*;

use super::notifications::Verb;
use super::schema::notification_outbox;
use super::{Conn, ROWS_PER_STATEMENT, on};
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

#[derive(Insertable)]
#[diesel(table_name = notification_outbox, treat_none_as_default_value = false)]
struct NewRow {
    recipient_id: i64,
    actor_id: i64,
    verb: i16,
    target_id: i64,
    created_at: Timestamp,
}

/// Adds notices.
pub fn insert(conn: &mut Conn<'_>, notices: &[NewNotice]) -> QueryResult<()> {
    let rows: Vec<NewRow> = notices
        .iter()
        .map(|notice| NewRow {
            recipient_id: notice.recipient_id,
            actor_id: notice.actor_id,
            verb: notice.verb.code(),
            target_id: notice.target_id,
            created_at: notice.created_at,
        })
        .collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        on!(conn, |c| diesel::insert_into(notification_outbox::table).values(rows).execute(c))?;
    }
    Ok(())
}
