//! The one transaction of a batch. The number of its statements depends on the kinds of
//! operations in the batch, not on how many there are.

use std::collections::{BTreeSet, HashMap};

use diesel::QueryResult;

use super::batch::{Plan, Planned, PlannedComment, plan};
use super::footprint::{CommentTarget, Found, Kept, Wanted};
use super::newness::Likes;
use super::operation::{Answer, Commented, NewComment, Operation, Refusal};
use super::sink::Changes;
use super::store::Committed;
use crate::store::comments::{self, CommentRow, NewCommentRow};
use crate::store::idempotency::{self, KeptResponse};
use crate::store::likes::{self, LikeKey, LikeKind};
use crate::store::locks::{self, TransactionName};
use crate::store::tasks::{self, NewTask, TaskKind};
use crate::store::{Conn, ROWS_PER_STATEMENT, StoreError, counts, outbox};
use crate::time::{Clock, Timestamp};

/// A transaction that is ready to commit.
pub(super) struct Written {
    pub(super) committed: Committed,
    /// Tells later whether it has committed; `None` if it has written nothing.
    pub(super) witness: Option<Witness>,
}

/// What tells whether a transaction has committed.
#[derive(Debug, Clone)]
pub(super) enum Witness {
    /// Its name, on Postgres; and a row that it has added, if it has, for a server that cannot
    /// tell after a crash.
    Transaction(TransactionName, Option<RowWitness>),
    /// A row that is there, or is not, only if it has. That holds as long as nobody else writes.
    Row(RowWitness),
}

/// See [`Witness::Row`].
#[derive(Debug, Clone, Copy)]
pub(super) enum RowWitness {
    LikeAdded(LikeKey, Timestamp),
    LikeRemoved(LikeKey, Timestamp),
    CommentAdded(i64, Timestamp),
    CommentRemoved(i64),
}

impl RowWitness {
    /// Whether the transaction has committed.
    pub(super) fn is_there(self, conn: &mut Conn<'_>) -> QueryResult<bool> {
        let like =
            |conn: &mut Conn<'_>, key, at| Ok(likes::existing(conn, &[key])?.contains(&(key, at)));
        match self {
            RowWitness::LikeAdded(key, at) => like(conn, key, at),
            RowWitness::LikeRemoved(key, at) => Ok(!like(conn, key, at)?),
            RowWitness::CommentAdded(id, at) => comments::exists(conn, id, at),
            RowWitness::CommentRemoved(id) => Ok(comments::tweets_of(conn, &[id])?.is_empty()),
        }
    }
}

/// Carries out the operations up to the commit.
///
/// # Errors
/// Those of the statements; [`StoreError::Conflict`] when a like that was taken for new is there,
/// or when rows have changed under the locks, which only a writer can do that does not take them.
/// The transaction is then run again.
pub(super) fn run(
    conn: &mut Conn<'_>,
    operations: &[Operation],
    likes: Likes,
    clock: &Clock,
) -> Result<Written, StoreError> {
    let started = clock.now();
    let (found, name) = find(conn, &Wanted::by(operations), likes, started)?;
    let plan = plan(operations, &found, &mut || clock.now());
    if plan.is_empty() {
        let answers = answers(operations, &plan, &[]);
        return Ok(Written {
            committed: Committed { answers, changes: Changes::default() },
            witness: None,
        });
    }
    let mut changes = Changes::default();
    write_likes(conn, &plan, &mut changes)?;
    let added = add_comments(conn, operations, &plan)?;
    remove_comments(conn, &plan, started, &mut changes)?;
    changes.tweets = counts::apply_to_tweets(conn, &plan.tweet_deltas)?;
    expect(changes.tweets.len(), plan.tweet_deltas.len(), "tweets")?;
    changes.comments = counts::apply_to_comments(conn, &plan.comment_deltas)?;
    expect(changes.comments.len(), plan.comment_deltas.len(), "comments")?;
    outbox::insert(conn, &plan.notices)?;
    idempotency::insert(conn, &answers_to_keep(&added), started)?;
    let row_added = row_added(&plan, &added);
    let witness = match name {
        Some(name) => Some(Witness::Transaction(name, row_added)),
        None => row_added.or_else(|| row_removed(&plan)).map(Witness::Row),
    };
    let answers = answers(operations, &plan, &added);
    Ok(Written { committed: Committed { answers, changes }, witness })
}

/// Locks what the batch touches and reads it. Also gives the transaction's name (Postgres).
fn find(
    conn: &mut Conn<'_>,
    wanted: &Wanted<'_>,
    likes: Likes,
    now: Timestamp,
) -> Result<(Found, Option<TransactionName>), StoreError> {
    let mut found = Found::default();
    let mut name = None;
    let mut tweets: BTreeSet<i64> = wanted.tweets.clone();
    if !wanted.doomed.is_empty() {
        let of = comments::tweets_of(conn, &list(&wanted.doomed))?;
        tweets.extend(of.into_iter().map(|(_, tweet_id)| tweet_id));
    }
    if !tweets.is_empty() {
        let (locked, named) = locks::lock_tweets(conn, &list(&tweets))?;
        found.tweets = locked.into_iter().map(|tweet| (tweet.id, tweet.user_id)).collect();
        name = named;
    }
    if !wanted.comments.is_empty() {
        let (locked, named) = locks::lock_comments(conn, &list(&wanted.comments))?;
        found.comments = locked
            .into_iter()
            .map(|row| (row.id, CommentTarget { tweet_id: row.tweet_id, user_id: row.user_id }))
            .collect();
        name = name.or(named);
    }
    let looked_for = match likes {
        Likes::TakenForNew => &wanted.contested,
        Likes::LookedFor => &wanted.likes,
    };
    found.likes = likes::existing(conn, &list(looked_for))?.into_iter().collect();
    if !wanted.commented.is_empty() {
        found.newest_comment =
            comments::newest(conn, &list(&wanted.commented))?.into_iter().collect();
    }
    found.kept = idempotency::find(conn, &list(&wanted.keys), now)?
        .into_iter()
        .map(|kept| {
            let KeptResponse { user_id, key, response } = kept;
            ((user_id, key.key), Kept { fingerprint: key.fingerprint, response })
        })
        .collect();
    Ok((found, name))
}

fn list<T: Copy>(set: &BTreeSet<T>) -> Vec<T> {
    set.iter().copied().collect()
}

fn write_likes(conn: &mut Conn<'_>, plan: &Plan, changes: &mut Changes) -> Result<(), StoreError> {
    let removed: Vec<LikeKey> = plan.likes_removed.iter().map(|(key, _)| *key).collect();
    expect(likes::delete(conn, &removed)?, removed.len(), "likes to remove")?;
    expect(likes::insert(conn, &plan.likes_added)?, plan.likes_added.len(), "likes to add")?;
    changes.likes.extend(removed.into_iter().map(|key| (key, false)));
    changes.likes.extend(plan.likes_added.iter().map(|(key, _)| (*key, true)));
    Ok(())
}

/// A comment that has been inserted, and the answer if it is rendered to be kept.
struct Added {
    row: CommentRow,
    kept: Option<KeptResponse>,
}

fn add_comments(
    conn: &mut Conn<'_>,
    operations: &[Operation],
    plan: &Plan,
) -> Result<Vec<Added>, StoreError> {
    let new: Vec<(&PlannedComment, &NewComment)> = plan
        .comments_added
        .iter()
        .filter_map(|planned| match &operations[planned.operation] {
            Operation::AddComment(new) => Some((planned, new)),
            _ => None,
        })
        .collect();
    let rows: Vec<NewCommentRow> = new
        .iter()
        .map(|(planned, new)| NewCommentRow {
            tweet_id: new.tweet_id,
            user_id: new.user_id,
            content: new.content.clone(),
            created_at: planned.created_at,
            likes_count: 0,
        })
        .collect();
    // The order of returned rows is nowhere promised; a comment's moment is unique per tweet.
    let ids: HashMap<(i64, Timestamp), i64> = comments::insert(conn, &rows)?
        .into_iter()
        .map(|(tweet_id, created_at, id)| ((tweet_id, created_at), id))
        .collect();
    expect(ids.len(), rows.len(), "comments to add")?;
    let added = new
        .into_iter()
        .filter_map(|(planned, new)| {
            let id = *ids.get(&(new.tweet_id, planned.created_at))?;
            Some(Added::new(id, planned.created_at, new))
        })
        .collect();
    Ok(added)
}

/// Removes comments with their likes: a thousand of these at once, the rest as a task, so that
/// nobody waits for a comment that many like.
fn remove_comments(
    conn: &mut Conn<'_>,
    plan: &Plan,
    now: Timestamp,
    changes: &mut Changes,
) -> Result<(), StoreError> {
    let gone = &plan.comments_removed;
    if gone.is_empty() {
        return Ok(());
    }
    expect(comments::delete(conn, gone)?, gone.len(), "comments to remove")?;
    let most = ROWS_PER_STATEMENT;
    if likes::delete_of_objects(conn, LikeKind::Comment, gone, most as i64)? == most {
        let rest: Vec<NewTask> =
            gone.iter().map(|id| NewTask { until_key: *id, ..NewTask::default() }).collect();
        tasks::add(conn, TaskKind::PurgeLikes, &rest, now)?;
    }
    changes.removed_comments = gone.clone();
    Ok(())
}

impl Added {
    fn new(id: i64, created_at: Timestamp, new: &NewComment) -> Added {
        let row = CommentRow {
            id,
            tweet_id: new.tweet_id,
            user_id: new.user_id,
            content: new.content.clone(),
            created_at,
            likes_count: 0,
        };
        let kept = new.idempotency.as_ref().map(|idempotent| KeptResponse {
            user_id: new.user_id,
            key: idempotent.key.clone(),
            response: (idempotent.render)(&row),
        });
        Added { row, kept }
    }

    fn answer(&self) -> Answer {
        Answer::Commented(match &self.kept {
            Some(kept) => Commented::Body(kept.response.clone()),
            None => Commented::Row(self.row.clone()),
        })
    }
}

fn answers_to_keep(added: &[Added]) -> Vec<KeptResponse> {
    added.iter().filter_map(|added| added.kept.clone()).collect()
}

fn answers(operations: &[Operation], plan: &Plan, added: &[Added]) -> Vec<Result<Answer, Refusal>> {
    debug_assert_eq!(operations.len(), plan.answers.len());
    plan.answers
        .iter()
        .map(|planned| match planned {
            Planned::Answer(answer) => Ok(answer.clone()),
            Planned::Refused(refusal) => Err(*refusal),
            Planned::Kept(body) => Ok(Answer::Commented(Commented::Body(body.clone()))),
            Planned::Comment(place) => Ok(added[*place].answer()),
        })
        .collect()
}

fn row_added(plan: &Plan, added: &[Added]) -> Option<RowWitness> {
    let like = plan.likes_added.first().map(|(key, at)| RowWitness::LikeAdded(*key, *at));
    let comment = |added: &Added| RowWitness::CommentAdded(added.row.id, added.row.created_at);
    like.or_else(|| added.first().map(comment))
}

fn row_removed(plan: &Plan) -> Option<RowWitness> {
    let like = plan.likes_removed.first().map(|(key, at)| RowWitness::LikeRemoved(*key, *at));
    like.or(plan.comments_removed.first().map(|id| RowWitness::CommentRemoved(*id)))
}

/// The deltas come from rows that really changed, or the transaction is run again.
fn expect(rows: usize, planned: usize, what: &str) -> Result<(), StoreError> {
    if rows == planned {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("{rows} {what} instead of {planned}")))
}
