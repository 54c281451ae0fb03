//! Notifications, and the outbox that they come from.
//!
//! A like or comment writes its outbox row in its own transaction, which costs it one insert.
//! The rest happens here, in the background: rows move from the outbox to `notifications` in
//! chunks, each move one transaction, so that each becomes exactly one notification whatever
//! crashes in between.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::prepared::Prepared;
use super::schema::notifications;
use super::{Conn, on};
use crate::time::Timestamp;

/// What happened, as stored in the column `verb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Somebody liked the recipient's tweet.
    LikedTweet,
    /// Somebody liked the recipient's comment.
    LikedComment,
    /// Somebody commented on the recipient's tweet.
    CommentedTweet,
}

impl Verb {
    /// The value stored in the column `verb`.
    pub fn code(self) -> i16 {
        match self {
            Verb::LikedTweet => 1,
            Verb::LikedComment => 2,
            Verb::CommentedTweet => 3,
        }
    }

    /// The verb of a stored value.
    pub fn from_code(code: i16) -> Option<Verb> {
        match code {
            1 => Some(Verb::LikedTweet),
            2 => Some(Verb::LikedComment),
            3 => Some(Verb::CommentedTweet),
            _ => None,
        }
    }

    /// The words of the contract.
    pub fn words(self) -> &'static str {
        match self {
            Verb::LikedTweet => "liked your tweet",
            Verb::LikedComment => "liked your comment",
            Verb::CommentedTweet => "commented on your tweet",
        }
    }

    /// The kind of object that the notification points at.
    pub fn target_type(self) -> &'static str {
        match self {
            Verb::LikedTweet | Verb::CommentedTweet => "tweet",
            Verb::LikedComment => "comment",
        }
    }
}

/// A notification as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = notifications)]
pub struct Notification {
    /// Its id; later ones have greater ids.
    pub id: i64,
    /// Who did it.
    pub actor_id: i64,
    /// A code of [`Verb`].
    pub verb: i16,
    /// The tweet or comment.
    pub target_id: i64,
    /// When it happened.
    pub created_at: Timestamp,
    /// Whether the recipient has yet to read it.
    pub unread: bool,
}

/// Which notifications of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    All,
    /// Those not read yet.
    Unread,
    /// Those read.
    Read,
}

/// How many the recipient has. Counts index entries, no rows (read ones are the difference).
pub fn count(conn: &mut Conn<'_>, recipient: i64, filter: Filter) -> QueryResult<i64> {
    match filter {
        Filter::All => on!(conn, |c| notifications::table
            .filter(notifications::recipient_id.eq(recipient))
            .count()
            .get_result(c)),
        // The bare column, not a bind: only so the planner sees that the partial index applies.
        Filter::Unread => on!(conn, |c| notifications::table
            .filter(notifications::recipient_id.eq(recipient))
            .filter(notifications::unread)
            .count()
            .get_result(c)),
        Filter::Read => {
            let all = count(conn, recipient, Filter::All)?;
            Ok((all - count(conn, recipient, Filter::Unread)?).max(0))
        }
    }
}

/// `want` notifications after the newest `skip`, newest first.
///
/// The skipped ones are walked as index entries only; rows are read for this page alone.
pub fn page(
    conn: &mut Conn<'_>,
    recipient: i64,
    filter: Filter,
    skip: i64,
    want: i64,
) -> QueryResult<Vec<Notification>> {
    let ids: Vec<i64> = on!(conn, |c| {
        let mine = notifications::table
            .filter(notifications::recipient_id.eq(recipient))
            .order(notifications::id.desc())
            .select(notifications::id)
            .offset(skip)
            .limit(want);
        match filter {
            Filter::All => mine.load(c),
            Filter::Unread => mine.filter(notifications::unread).load(c),
            Filter::Read => mine.filter(diesel::dsl::not(notifications::unread)).load(c),
        }
    })?;
    on!(conn, |c| notifications::table
        .filter(notifications::id.eq_any(ids))
        .order(notifications::id.desc())
        .select(Notification::as_select())
        .load(c))
}

/// Sets whether one notification is unread. `None` if the recipient has no such notification.
pub fn set_unread(
    conn: &mut Conn<'_>,
    recipient: i64,
    id: i64,
    unread: bool,
) -> QueryResult<Option<Notification>> {
    on!(conn, |c| diesel::update(
        notifications::table
            .filter(notifications::id.eq(id).and(notifications::recipient_id.eq(recipient)))
    )
    .set(notifications::unread.eq(unread))
    .returning(Notification::as_returning())
    .get_result(c)
    .optional())
}

/// The id of the newest notification of a recipient, 0 if there is none.
pub fn newest_id(conn: &mut Conn<'_>, recipient: i64) -> QueryResult<i64> {
    let newest: Option<i64> = on!(conn, |c| notifications::table
        .filter(notifications::recipient_id.eq(recipient))
        .order(notifications::id.desc())
        .select(notifications::id)
        .first(c)
        .optional())?;
    Ok(newest.unwrap_or(0))
}

/// Marks at most `limit` unread ones with ids up to `newest` as read and returns how many.
pub fn mark_read(
    conn: &mut Conn<'_>,
    recipient: i64,
    newest: i64,
    limit: usize,
) -> QueryResult<usize> {
    let sql = "UPDATE notifications SET unread = FALSE WHERE unread AND id IN (\
                   SELECT id FROM notifications \
                   WHERE recipient_id = ? AND unread AND id <= ? ORDER BY id LIMIT ?)";
    let query = Prepared { sql, binds: &[recipient, newest, limit as i64] };
    on!(conn, |c| query.execute(c))
}

/// Moves the oldest `limit` outbox rows into `notifications` and returns how many. To be called
/// in a write transaction.
///
/// On Postgres, rows that another node is moving are skipped; on SQLite the transaction has
/// the file to itself.
pub fn move_chunk(conn: &mut Conn<'_>, limit: usize) -> QueryResult<usize> {
    let binds = &[limit as i64];
    match conn {
        // ARRAY(...) is evaluated once; a plain IN might run again per row and lock more.
        Conn::Pg(c) => {
            let sql = "WITH moved AS (DELETE FROM notification_outbox WHERE id = ANY (ARRAY(\
                           SELECT id FROM notification_outbox ORDER BY id LIMIT ? \
                           FOR UPDATE SKIP LOCKED)) \
                           RETURNING id, recipient_id, actor_id, verb, target_id, created_at) \
                       INSERT INTO notifications \
                           (recipient_id, actor_id, verb, target_id, created_at) \
                       SELECT recipient_id, actor_id, verb, target_id, created_at \
                       FROM moved ORDER BY id";
            Prepared { sql, binds }.execute(&mut **c)
        }
        Conn::Sqlite(c) => {
            let copy = "INSERT INTO notifications \
                            (recipient_id, actor_id, verb, target_id, created_at) \
                        SELECT recipient_id, actor_id, verb, target_id, created_at \
                        FROM notification_outbox ORDER BY id LIMIT ?";
            let remove = "DELETE FROM notification_outbox WHERE id IN (\
                              SELECT id FROM notification_outbox ORDER BY id LIMIT ?)";
            let copied = Prepared { sql: copy, binds }.execute(&mut **c)?;
            let removed = Prepared { sql: remove, binds }.execute(&mut **c)?;
            debug_assert_eq!(copied, removed, "one transaction sees one outbox");
            Ok(copied)
        }
    }
}

/// How many outbox rows wait, counted up to `at_most`.
pub fn waiting(conn: &mut Conn<'_>, at_most: i64) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = BigInt)]
        waiting: i64,
    }
    let sql =
        "SELECT count(*) AS waiting FROM (SELECT 1 FROM notification_outbox LIMIT ?) AS heads";
    let query = Prepared { sql, binds: &[at_most] };
    let row: Waiting = on!(conn, |c| query.get_result(c))?;
    Ok(row.waiting)
}

#[cfg(test)]
pub(crate) fn put_in_outbox(
    conn: &mut Conn<'_>,
    recipient: i64,
    verb: Verb,
    target: i64,
    at: Timestamp,
) -> QueryResult<()> {
    use super::schema::notification_outbox;
    on!(conn, |c| diesel::insert_into(notification_outbox::table)
        .values((
            notification_outbox::recipient_id.eq(recipient),
            notification_outbox::actor_id.eq(recipient + 1),
            notification_outbox::verb.eq(verb.code()),
            notification_outbox::target_id.eq(target),
            notification_outbox::created_at.eq(at),
        ))
        .execute(c)
        .map(|_| ()))
}

#[cfg(test)]
mod tests;
