//! A batch of operations turned into rows to write, without any IO.
//!
//! Given what the batch touches ([`Found`]), [`plan`] walks the operations in the order of
//! arrival and keeps in memory what each would have changed, so that every caller gets the
//! answer it would have got had the operations run one by one; then it compares the end with
//! the beginning. What is written is the difference: a like that is made and taken back within
//! a batch leaves no trace, and the counts move by the number of rows that really changed.

use std::collections::{BTreeMap, HashMap, HashSet};

pub use super::footprint::{CommentTarget, Found};
use super::operation::{Answer, Liked, NewComment, Operation, Refusal};
use crate::store::counts::Delta;
use crate::store::idempotency::IdempotencyKey;
use crate::store::likes::{LikeKey, LikeKind};
use crate::store::notifications::Verb;
use crate::store::outbox::NewNotice;
use crate::time::Timestamp;

/// A comment to insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedComment {
    /// Which operation it is from; that has the rest.
    pub operation: usize,
    /// The tweet it stands under.
    pub tweet_id: i64,
    /// Unique and increasing per tweet.
    pub created_at: Timestamp,
}

/// The answer to one operation, as far as it is known before the rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Known.
    Answer(Answer),
    /// Refused.
    Refused(Refusal),
    /// The comment at this place of [`Plan::comments_added`], once it has its id.
    Comment(usize),
    /// The body of an earlier answer.
    Kept(String),
}

/// What is to be written, and what is to be answered.
#[derive(Debug, Default)]
pub struct Plan {
    /// One per operation.
    pub answers: Vec<Planned>,
    /// Likes to delete, with the time they were made; before the inserts.
    pub likes_removed: Vec<(LikeKey, Timestamp)>,
    /// Likes to insert.
    pub likes_added: Vec<(LikeKey, Timestamp)>,
    /// Comments to insert.
    pub comments_added: Vec<PlannedComment>,
    /// Comments to delete, with all their likes.
    pub comments_removed: Vec<i64>,
    /// By how much the counts of tweets change: sorted, each tweet once, no zeros.
    pub tweet_deltas: Vec<Delta>,
    /// The same for comments.
    pub comment_deltas: Vec<Delta>,
    /// Notifications for new likes and comments, never to oneself.
    pub notices: Vec<NewNotice>,
}

impl Plan {
    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.likes_removed.is_empty()
            && self.likes_added.is_empty()
            && self.comments_added.is_empty()
            && self.comments_removed.is_empty()
    }
}

/// Resolves `operations` in their order against what was found. `now` gives increasing times.
pub fn plan(operations: &[Operation], found: &Found, now: &mut dyn FnMut() -> Timestamp) -> Plan {
    let mut walk = Walk {
        found,
        now,
        likes: BTreeMap::new(),
        removed: HashSet::new(),
        newest: HashMap::new(),
        keys: HashMap::new(),
        plan: Plan::default(),
    };
    for (at, operation) in operations.iter().enumerate() {
        let answer = walk.step(at, operation).unwrap_or_else(Planned::Refused);
        walk.plan.answers.push(answer);
    }
    walk.finish(operations)
}

/// The state after the operations so far, where it differs from what was found.
struct Walk<'a> {
    found: &'a Found,
    now: &'a mut dyn FnMut() -> Timestamp,
    likes: BTreeMap<LikeKey, Option<Timestamp>>,
    removed: HashSet<i64>,
    newest: HashMap<i64, Timestamp>,
    /// Keys used in this batch, with the place of their comment in the plan.
    keys: HashMap<(i64, &'a str), (&'a IdempotencyKey, usize)>,
    plan: Plan,
}

impl<'a> Walk<'a> {
    fn step(&mut self, at: usize, operation: &'a Operation) -> Result<Planned, Refusal> {
        match operation {
            Operation::Like(key) => self.like(*key),
            Operation::Unlike(key) => self.unlike(*key),
            Operation::AddComment(new) => self.add_comment(at, new),
            Operation::DeleteComment { user_id, comment_id } => {
                self.delete_comment(*user_id, *comment_id)
            }
        }
    }

    fn like(&mut self, key: LikeKey) -> Result<Planned, Refusal> {
        self.owner(key)?;
        let liked = match self.liked(key) {
            Some(created_at) => Liked { created_at, created: false },
            None => Liked { created_at: (self.now)(), created: true },
        };
        self.likes.insert(key, Some(liked.created_at));
        Ok(Planned::Answer(Answer::Liked(liked)))
    }

    fn unlike(&mut self, key: LikeKey) -> Result<Planned, Refusal> {
        self.owner(key)?;
        let was_there = self.liked(key).is_some();
        self.likes.insert(key, None);
        Ok(Planned::Answer(Answer::Unliked(was_there)))
    }

    fn add_comment(&mut self, at: usize, new: &'a NewComment) -> Result<Planned, Refusal> {
        let key = new.idempotency.as_ref().map(|idempotent| &idempotent.key);
        if let Some(earlier) = key.and_then(|key| self.earlier(new.user_id, key)) {
            return earlier;
        }
        if !self.found.tweets.contains_key(&new.tweet_id) {
            return Err(Refusal::Missing);
        }
        let newest =
            self.newest.get(&new.tweet_id).or(self.found.newest_comment.get(&new.tweet_id));
        let after_newest = newest.map_or(Timestamp::MIN, |newest| Timestamp(newest.0 + 1));
        let created_at = (self.now)().max(after_newest);
        self.newest.insert(new.tweet_id, created_at);
        let place = self.plan.comments_added.len();
        let tweet_id = new.tweet_id;
        self.plan.comments_added.push(PlannedComment { operation: at, tweet_id, created_at });
        if let Some(key) = key {
            self.keys.insert((new.user_id, &key.key), (key, place));
        }
        Ok(Planned::Comment(place))
    }

    /// What a request with this key has got before, in this batch or an earlier one.
    fn earlier(&self, user_id: i64, key: &IdempotencyKey) -> Option<Result<Planned, Refusal>> {
        let (fingerprint, answer) = match self.keys.get(&(user_id, key.key.as_str())) {
            Some((first, place)) => (first.fingerprint, Planned::Comment(*place)),
            None => {
                let kept = self.found.kept.get(&(user_id, key.key.clone()))?;
                (kept.fingerprint, Planned::Kept(kept.response.clone()))
            }
        };
        let same = fingerprint == key.fingerprint;
        Some(if same { Ok(answer) } else { Err(Refusal::KeyReused) })
    }

    fn delete_comment(&mut self, user_id: i64, comment_id: i64) -> Result<Planned, Refusal> {
        let target = self.comment(comment_id)?;
        if target.user_id != user_id {
            return Err(Refusal::Forbidden);
        }
        self.removed.insert(comment_id);
        self.plan.comments_removed.push(comment_id);
        Ok(Planned::Answer(Answer::CommentDeleted))
    }

    fn liked(&self, key: LikeKey) -> Option<Timestamp> {
        match self.likes.get(&key) {
            Some(changed) => *changed,
            None => self.found.likes.get(&key).copied(),
        }
    }

    fn comment(&self, id: i64) -> Result<CommentTarget, Refusal> {
        if self.removed.contains(&id) {
            return Err(Refusal::Missing);
        }
        self.found.comments.get(&id).copied().ok_or(Refusal::Missing)
    }

    /// Whose the object is, if it exists.
    fn owner(&self, key: LikeKey) -> Result<i64, Refusal> {
        match key.kind {
            LikeKind::Tweet => {
                self.found.tweets.get(&key.object_id).copied().ok_or(Refusal::Missing)
            }
            LikeKind::Comment => self.comment(key.object_id).map(|target| target.user_id),
        }
    }

    /// Compares the end with the beginning.
    fn finish(mut self, operations: &[Operation]) -> Plan {
        let mut tweets = Deltas::default();
        let mut comments = Deltas::default();
        for (key, after) in std::mem::take(&mut self.likes) {
            // The likes of a comment that goes are gone with it, whatever happened to them.
            let Ok(owner) = self.owner(key) else { continue };
            let before = self.found.likes.get(&key).copied();
            let change = i64::from(after.is_some()) - i64::from(before.is_some());
            match key.kind {
                LikeKind::Tweet => tweets.at(key.object_id).likes += change,
                LikeKind::Comment => comments.at(key.object_id).likes += change,
            }
            if before == after {
                continue;
            }
            self.plan.likes_removed.extend(before.map(|at| (key, at)));
            if let Some(at) = after {
                self.plan.likes_added.push((key, at));
                self.notify(owner, key.user_id, verb_of(key.kind), key.object_id, at);
            }
        }
        for added in self.plan.comments_added.clone() {
            tweets.at(added.tweet_id).comments += 1;
            if let Operation::AddComment(new) = &operations[added.operation]
                && let Some(owner) = self.found.tweets.get(&added.tweet_id)
            {
                let (tweet, at) = (added.tweet_id, added.created_at);
                self.notify(*owner, new.user_id, Verb::CommentedTweet, tweet, at);
            }
        }
        for id in &self.plan.comments_removed {
            if let Some(target) = self.found.comments.get(id) {
                tweets.at(target.tweet_id).comments -= 1;
            }
        }
        self.plan.tweet_deltas = tweets.non_zero();
        self.plan.comment_deltas = comments.non_zero();
        self.plan
    }

    fn notify(&mut self, owner: i64, actor: i64, verb: Verb, target_id: i64, at: Timestamp) {
        if owner != actor {
            let notice =
                NewNotice { recipient_id: owner, actor_id: actor, verb, target_id, created_at: at };
            self.plan.notices.push(notice);
        }
    }
}

fn verb_of(kind: LikeKind) -> Verb {
    match kind {
        LikeKind::Tweet => Verb::LikedTweet,
        LikeKind::Comment => Verb::LikedComment,
    }
}

/// Changes summed up per object.
#[derive(Default)]
struct Deltas(BTreeMap<i64, Delta>);

impl Deltas {
    fn at(&mut self, id: i64) -> &mut Delta {
        self.0.entry(id).or_insert(Delta { id, likes: 0, comments: 0 })
    }

    fn non_zero(self) -> Vec<Delta> {
        self.0.into_values().filter(|delta| delta.likes != 0 || delta.comments != 0).collect()
    }
}
