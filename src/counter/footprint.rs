//! The part of the database that a batch touches: what to lock and read, and what was found.

use std::collections::{BTreeSet, HashMap};

use super::operation::Operation;
use crate::store::likes::{LikeKey, LikeKind};
use crate::time::Timestamp;

/// What a batch touches: ids in lock order, each once.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Tweets that are liked or commented on. Those of the comments to be deleted come to them.
    pub tweets: BTreeSet<i64>,
    /// Comments that are liked or to be deleted.
    pub comments: BTreeSet<i64>,
    /// The comments that may be deleted.
    pub doomed: BTreeSet<i64>,
    /// Tweets that may get a comment.
    pub commented: BTreeSet<i64>,
    /// Likes that may come or go.
    pub likes: BTreeSet<LikeKey>,
    /// Those of them that may also go: by an unlike, or with their comment.
    pub contested: BTreeSet<LikeKey>,
    /// Idempotency keys with their users.
    pub keys: BTreeSet<(i64, &'a str)>,
}

impl<'a> Wanted<'a> {
    /// What `operations` touch.
    pub fn by(operations: &'a [Operation]) -> Self {
        let mut wanted = Wanted::default();
        for operation in operations {
            match operation {
                Operation::Like(key) | Operation::Unlike(key) => {
                    match key.kind {
                        LikeKind::Tweet => wanted.tweets.insert(key.object_id),
                        LikeKind::Comment => wanted.comments.insert(key.object_id),
                    };
                    wanted.likes.insert(*key);
                    if matches!(operation, Operation::Unlike(_)) {
                        wanted.contested.insert(*key);
                    }
                }
                Operation::AddComment(new) => {
                    wanted.tweets.insert(new.tweet_id);
                    wanted.commented.insert(new.tweet_id);
                    if let Some(idempotent) = &new.idempotency {
                        wanted.keys.insert((new.user_id, &idempotent.key.key));
                    }
                }
                Operation::DeleteComment { comment_id, .. } => {
                    wanted.comments.insert(*comment_id);
                    wanted.doomed.insert(*comment_id);
                }
            }
        }
        if !wanted.doomed.is_empty() {
            let of_doomed = |key: &&LikeKey| {
                key.kind == LikeKind::Comment && wanted.doomed.contains(&key.object_id)
            };
            wanted.contested.extend(wanted.likes.iter().filter(of_doomed));
        }
        wanted
    }
}

/// A comment that is there when the batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommentTarget {
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Its author.
    pub user_id: i64,
}

/// The part of the database that a batch touches, as it is when the batch begins.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Authors of the tweets that exist.
    pub tweets: HashMap<i64, i64>,
    /// The comments that exist.
    pub comments: HashMap<i64, CommentTarget>,
    /// The likes that exist.
    pub likes: HashMap<LikeKey, Timestamp>,
    /// When the newest comment of a tweet was written.
    pub newest_comment: HashMap<i64, Timestamp>,
    /// Answers that are kept, by user and key.
    pub kept: HashMap<(i64, String), Kept>,
}

/// An answer that is kept for an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The request it answers.
    pub fingerprint: [u8; 32],
    /// The answer.
    pub response: String,
}
