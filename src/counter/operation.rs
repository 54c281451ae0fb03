//! What callers ask of the counter, and what they get.

use crate::store::StoreError;
use crate::store::comments::CommentRow;
use crate::store::idempotency::IdempotencyKey;
use crate::store::likes::LikeKey;
use crate::time::Timestamp;

/// One change to likes or comments.
#[derive(Debug)]
pub enum Operation {
    /// Like an object.
    Like(LikeKey),
    /// Take a like back.
    Unlike(LikeKey),
    /// Write a comment.
    AddComment(NewComment),
    /// Remove one's own comment.
    DeleteComment {
        /// Who asks.
        user_id: i64,
        /// The comment.
        comment_id: i64,
    },
}

/// A comment to be written; its text is checked already.
#[derive(Debug)]
pub struct NewComment {
    /// Its author.
    pub user_id: i64,
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Its text.
    pub content: String,
    /// For a request that may be repeated and must be carried out once.
    pub idempotency: Option<Idempotent>,
}

/// Writes the body of the answer for a comment. It runs inside the transaction, because the
/// answer is kept with the comment: it must not block.
pub type Render = Box<dyn Fn(&CommentRow) -> String + Send + Sync>;

/// A client's key for a request, and how the answer that is kept for it looks.
pub struct Idempotent {
    /// The key, and what it stands for.
    pub key: IdempotencyKey,
    /// Makes the answer.
    pub render: Render,
}

impl std::fmt::Debug for Idempotent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

/// A like that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liked {
    /// Since when: the time of the first of several like requests.
    pub created_at: Timestamp,
    /// Whether this request made it.
    pub created: bool,
}

/// A comment that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commented {
    /// The comment, of a request without an idempotency key.
    Row(CommentRow),
    /// The body of the answer, of a request with one: what this or an earlier request with the
    /// same key has made.
    Body(String),
}

/// How an operation ended that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of a like.
    Liked(Liked),
    /// Of an unlike: whether there was a like.
    Unliked(bool),
    /// Of a new comment.
    Commented(Commented),
    /// Of a removed comment.
    CommentDeleted,
}

/// Why an operation was not carried out, as its place in the order of operations wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The tweet or comment does not exist.
    Missing,
    /// The comment is somebody else's.
    Forbidden,
    /// The idempotency key was used with another request.
    KeyReused,
}

/// Why an operation has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// A rule of the service forbids it.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Too many operations wait already: nothing was done.
    #[error("too many operations wait")]
    Overloaded,
    /// The database is away, or there was no answer in time. The operation may have happened if
    /// it was lost on the way; likes and keyed comments may be sent again without harm.
    #[error("the operation could not be completed")]
    Unavailable,
    /// A bug or a broken constraint; the cause is in the log.
    #[error("the operation failed")]
    Failed,
}

impl From<&StoreError> for CounterError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Query(_) => CounterError::Failed,
            _ => CounterError::Unavailable,
        }
    }
}
