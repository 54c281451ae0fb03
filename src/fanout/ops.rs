//! What can be asked of the ordered writer, and what it answers.

use crate::store::StoreError;
use crate::store::idempotency::IdempotencyKey;
use crate::time::Timestamp;

/// A write that changes what stands in timelines.
pub enum Op {
    /// Post a tweet.
    Post(Post),
    /// Delete a tweet of `user_id`'s.
    Delete {
        /// Who asks.
        user_id: i64,
        /// What to delete.
        tweet_id: i64,
    },
    /// `from` follows `to`, who exists and is somebody else.
    Follow {
        /// The reader.
        from: i64,
        /// The author.
        to: i64,
    },
    /// `from` no longer follows `to`.
    Unfollow {
        /// The reader.
        from: i64,
        /// The author.
        to: i64,
    },
    /// Take entries of tweets that no longer exist out of a reader's feed.
    Purge {
        /// The reader.
        reader: i64,
        /// The entries, by their times.
        entries: Vec<Timestamp>,
    },
}

/// A tweet to be posted.
pub struct Post {
    /// The author.
    pub user_id: i64,
    /// The text, already cleaned.
    pub content: String,
    /// Photo URLs in upload order, already stored.
    pub photo_urls: Vec<String>,
    /// Present when the client may send the request again.
    pub idempotent: Option<Idempotent>,
}

/// What it takes to answer a repeated request with the first answer.
pub struct Idempotent {
    /// The client's key, and what it stands for.
    pub key: IdempotencyKey,
    /// Makes the answer that is stored in the transaction of the post.
    pub render: Box<dyn Fn(&Posted) -> String + Send + Sync>,
}

/// A tweet that has been posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Its id.
    pub tweet_id: i64,
    /// Its time.
    pub created_at: Timestamp,
}

/// What became of an [`Op`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tweet is stored and in its author's timelines.
    Posted(Posted),
    /// The request was carried out before; its answer.
    Replayed(String),
    /// The Idempotency-Key was used for another request.
    KeyConflict,
    /// The tweet is gone for readers; what belongs to it goes in the background.
    Deleted,
    /// Whether the friendship is new.
    Followed(bool),
    /// Whether there was a friendship.
    Unfollowed(bool),
    /// The entries are gone.
    Purged,
    /// There is no such tweet.
    NotFound,
    /// It is somebody else's.
    Forbidden,
}

/// Why a write was not carried out, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The queue is full or the service is stopping.
    #[error("too many writes wait")]
    Overloaded,
    /// The database is down, or the outcome is unknown; trying again is safe for everything
    /// but a post without an Idempotency-Key.
    #[error("the write could not be confirmed: {0}")]
    Unavailable(String),
    /// A bug: the database refused the statement.
    #[error("the write was refused: {0}")]
    Refused(String),
}

impl From<&StoreError> for WriteError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Query(refused) => WriteError::Refused(refused.to_string()),
            other => WriteError::Unavailable(other.to_string()),
        }
    }
}
