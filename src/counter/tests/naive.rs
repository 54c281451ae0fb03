//! What a batch is compared with: a database that does one operation at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::counter::batch::Plan;
use crate::counter::footprint::{CommentTarget, Found, Kept};
use crate::counter::operation::{NewComment, Operation, Refusal};
use crate::store::likes::{LikeKey, LikeKind};
use crate::time::Timestamp;

/// A database that does one operation at a time, in the simplest way there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Naive {
    pub(super) tweets: BTreeMap<i64, i64>,
    /// Id to (tweet, author, time).
    pub(super) comments: BTreeMap<i64, (i64, i64, i64)>,
    /// The time of the newest comment that a tweet has ever had.
    pub(super) newest: BTreeMap<i64, i64>,
    pub(super) likes: BTreeMap<LikeKey, i64>,
    /// (user, key) to (fingerprint, answer).
    pub(super) kept: BTreeMap<(i64, String), (u8, String)>,
}

/// Ids of comments written in a batch: the operation's place after this.
pub(super) const NEW_COMMENTS: i64 = 1_000;

impl Naive {
    fn object(&self, key: LikeKey) -> Result<(), Refusal> {
        let there = match key.kind {
            LikeKind::Tweet => self.tweets.contains_key(&key.object_id),
            LikeKind::Comment => self.comments.contains_key(&key.object_id),
        };
        if there { Ok(()) } else { Err(Refusal::Missing) }
    }

    pub(super) fn run(
        &mut self,
        place: usize,
        op: &Operation,
        now: &mut i64,
    ) -> Result<String, Refusal> {
        match op {
            Operation::Like(key) => {
                self.object(*key)?;
                if let Some(at) = self.likes.get(key) {
                    return Ok(format!("liked at {at}, not created"));
                }
                *now += 1;
                self.likes.insert(*key, *now);
                Ok(format!("liked at {now}, created"))
            }
            Operation::Unlike(key) => {
                self.object(*key)?;
                Ok(format!("unliked {}", self.likes.remove(key).is_some()))
            }
            Operation::AddComment(new) => self.add_comment(place, new, now),
            Operation::DeleteComment { user_id, comment_id } => {
                let (_, owner, _) = self.comments.get(comment_id).ok_or(Refusal::Missing)?;
                if owner != user_id {
                    return Err(Refusal::Forbidden);
                }
                self.comments.remove(comment_id);
                self.likes
                    .retain(|key, _| key.kind != LikeKind::Comment || key.object_id != *comment_id);
                Ok("deleted".into())
            }
        }
    }

    fn add_comment(
        &mut self,
        place: usize,
        new: &NewComment,
        now: &mut i64,
    ) -> Result<String, Refusal> {
        let key = new.idempotency.as_ref().map(|idempotent| &idempotent.key);
        if let Some(key) = key
            && let Some((print, answer)) = self.kept.get(&(new.user_id, key.key.clone()))
        {
            let same = *print == key.fingerprint[0];
            return if same { Ok(answer.clone()) } else { Err(Refusal::KeyReused) };
        }
        if !self.tweets.contains_key(&new.tweet_id) {
            return Err(Refusal::Missing);
        }
        *now += 1;
        let newest = self.newest.entry(new.tweet_id).or_insert(0);
        *newest = (*now).max(*newest + 1);
        let at = *newest;
        let id = NEW_COMMENTS + place as i64;
        self.comments.insert(id, (new.tweet_id, new.user_id, at));
        let answer = format!("comment {id}");
        if let Some(key) = key {
            let name = (new.user_id, key.key.clone());
            self.kept.insert(name, (key.fingerprint[0], answer.clone()));
        }
        Ok(answer)
    }

    /// What a batch is told of it.
    pub(super) fn found(&self) -> Found {
        let comments = self.comments.iter().map(|(id, (tweet_id, user_id, _))| {
            (*id, CommentTarget { tweet_id: *tweet_id, user_id: *user_id })
        });
        let newest = self.newest.iter().map(|(tweet, at)| (*tweet, Timestamp(*at)));
        let kept = self.kept.iter().map(|(name, (print, answer))| {
            (name.clone(), Kept { fingerprint: [*print; 32], response: answer.clone() })
        });
        Found {
            tweets: self.tweets.iter().map(|(id, owner)| (*id, *owner)).collect(),
            comments: comments.collect(),
            likes: self.likes.iter().map(|(key, at)| (*key, Timestamp(*at))).collect(),
            newest_comment: newest.collect(),
            kept: kept.collect(),
        }
    }

    /// Writes what a batch has planned, as the transaction does.
    pub(super) fn apply(&mut self, operations: &[Operation], plan: &Plan) {
        for (key, at) in &plan.likes_removed {
            assert_eq!(self.likes.remove(key), Some(at.0), "only likes that are there go");
        }
        for (key, at) in &plan.likes_added {
            assert_eq!(self.likes.insert(*key, at.0), None, "only likes that are not come");
        }
        for added in &plan.comments_added {
            let Operation::AddComment(new) = &operations[added.operation] else {
                panic!("a comment from another operation");
            };
            let id = NEW_COMMENTS + added.operation as i64;
            let row = (new.tweet_id, new.user_id, added.created_at.0);
            assert_eq!(self.comments.insert(id, row), None);
            self.newest.insert(new.tweet_id, added.created_at.0);
            if let Some(idempotent) = &new.idempotency {
                let name = (new.user_id, idempotent.key.key.clone());
                let print = idempotent.key.fingerprint[0];
                assert_eq!(self.kept.insert(name, (print, format!("comment {id}"))), None);
            }
        }
        for id in &plan.comments_removed {
            assert!(self.comments.remove(id).is_some(), "a comment goes once");
            self.likes.retain(|key, _| key.kind != LikeKind::Comment || key.object_id != *id);
        }
    }

    /// (likes, comments) of each object: (kind, id).
    pub(super) fn counts(&self) -> BTreeMap<(LikeKind, i64), (i64, i64)> {
        let mut counts = BTreeMap::new();
        for key in self.likes.keys() {
            counts.entry((key.kind, key.object_id)).or_insert((0, 0)).0 += 1;
        }
        for (tweet, ..) in self.comments.values() {
            counts.entry((LikeKind::Tweet, *tweet)).or_insert((0, 0)).1 += 1;
        }
        counts
    }

    pub(super) fn owner(&self, kind: LikeKind, id: i64) -> Option<i64> {
        match kind {
            LikeKind::Tweet => self.tweets.get(&id).copied(),
            LikeKind::Comment => self.comments.get(&id).map(|(_, owner, _)| *owner),
        }
    }

    /// (recipient, actor, verb, target, time) of what is here and was not in `before`.
    pub(super) fn news(&self, before: &Naive) -> BTreeSet<(i64, i64, i16, i64, i64)> {
        let mut news = BTreeSet::new();
        for (key, at) in &self.likes {
            if before.likes.get(key) != Some(at)
                && let Some(owner) = self.owner(key.kind, key.object_id)
                && owner != key.user_id
            {
                news.insert((owner, key.user_id, key.kind.code(), key.object_id, *at));
            }
        }
        for (id, (tweet, author, at)) in &self.comments {
            if !before.comments.contains_key(id)
                && let Some(owner) = self.tweets.get(tweet)
                && owner != author
            {
                news.insert((*owner, *author, 3, *tweet, *at));
            }
        }
        news
    }
}
