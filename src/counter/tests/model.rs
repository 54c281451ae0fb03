//! The batch against running the operations one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::counter::batch::{Plan, Planned, plan};
use crate::counter::footprint::{CommentTarget, Found, Kept};
use crate::counter::operation::{Answer, Idempotent, Liked, NewComment, Operation, Refusal};
use crate::store::idempotency::IdempotencyKey;
use crate::store::likes::{LikeKey, LikeKind};
use crate::time::Timestamp;

/// A database that does one operation at a time, in the simplest way there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Naive {
    tweets: BTreeMap<i64, i64>,
    /// Id to (tweet, author, time).
    comments: BTreeMap<i64, (i64, i64, i64)>,
    /// The time of the newest comment that a tweet has ever had.
    newest: BTreeMap<i64, i64>,
    likes: BTreeMap<LikeKey, i64>,
    /// (user, key) to (fingerprint, answer).
    kept: BTreeMap<(i64, String), (u8, String)>,
}

/// Ids of comments written in a batch: the operation's place after this.
const NEW_COMMENTS: i64 = 1_000;

impl Naive {
    fn object(&self, key: LikeKey) -> Result<(), Refusal> {
        let there = match key.kind {
            LikeKind::Tweet => self.tweets.contains_key(&key.object_id),
            LikeKind::Comment => self.comments.contains_key(&key.object_id),
        };
        if there { Ok(()) } else { Err(Refusal::Missing) }
    }

    fn run(&mut self, place: usize, op: &Operation, now: &mut i64) -> Result<String, Refusal> {
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
    fn found(&self) -> Found {
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
    fn apply(&mut self, operations: &[Operation], plan: &Plan) {
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
    fn counts(&self) -> BTreeMap<(LikeKind, i64), (i64, i64)> {
        let mut counts = BTreeMap::new();
        for key in self.likes.keys() {
            counts.entry((key.kind, key.object_id)).or_insert((0, 0)).0 += 1;
        }
        for (tweet, ..) in self.comments.values() {
            counts.entry((LikeKind::Tweet, *tweet)).or_insert((0, 0)).1 += 1;
        }
        counts
    }

    fn owner(&self, kind: LikeKind, id: i64) -> Option<i64> {
        match kind {
            LikeKind::Tweet => self.tweets.get(&id).copied(),
            LikeKind::Comment => self.comments.get(&id).map(|(_, owner, _)| *owner),
        }
    }

    /// (recipient, actor, verb, target, time) of what is here and was not in `before`.
    fn news(&self, before: &Naive) -> BTreeSet<(i64, i64, i16, i64, i64)> {
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

fn show(planned: &Planned, plan: &Plan) -> Result<String, Refusal> {
    match planned {
        Planned::Answer(Answer::Liked(Liked { created_at, created })) => {
            let created = if *created { "created" } else { "not created" };
            Ok(format!("liked at {}, {created}", created_at.0))
        }
        Planned::Answer(Answer::Unliked(was_there)) => Ok(format!("unliked {was_there}")),
        Planned::Answer(Answer::CommentDeleted) => Ok("deleted".into()),
        Planned::Answer(Answer::Commented(_)) => panic!("no comment has its id yet"),
        Planned::Refused(refusal) => Err(*refusal),
        Planned::Comment(place) => {
            let id = NEW_COMMENTS + plan.comments_added[*place].operation as i64;
            Ok(format!("comment {id}"))
        }
        Planned::Kept(answer) => Ok(answer.clone()),
    }
}

fn keys() -> impl Strategy<Value = LikeKey> {
    (1..4_i64, prop::bool::ANY, 1..5_i64).prop_map(|(user_id, tweet, object_id)| {
        let kind = if tweet { LikeKind::Tweet } else { LikeKind::Comment };
        LikeKey { user_id, kind, object_id }
    })
}

fn new_comments() -> impl Strategy<Value = NewComment> {
    let keys = prop::option::of((0..3_u8, 0..2_u8));
    (1..4_i64, 1..5_i64, keys).prop_map(|(user_id, tweet_id, key)| NewComment {
        user_id,
        tweet_id,
        content: "hello".into(),
        idempotency: key.map(|(key, print)| Idempotent {
            key: IdempotencyKey { key: format!("key {key}"), fingerprint: [print; 32] },
            render: Box::new(|_| String::new()),
        }),
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        3 => keys().prop_map(Operation::Like),
        3 => keys().prop_map(Operation::Unlike),
        2 => new_comments().prop_map(Operation::AddComment),
        1 => (1..4_i64, 1..5_i64).prop_map(|(user_id, comment_id)| {
            Operation::DeleteComment { user_id, comment_id }
        }),
    ];
    prop::collection::vec(one, 0..40)
}

/// Tweet 4 and comment 4 do not exist.
fn databases() -> impl Strategy<Value = Naive> {
    let kept = prop::option::of((1..4_i64, 0..3_u8, 0..2_u8));
    (prop::collection::btree_set(keys(), 0..12), kept, 0..200_i64).prop_map(|(liked, kept, at)| {
        let mut naive = Naive {
            tweets: BTreeMap::from([(1, 1), (2, 2), (3, 3)]),
            comments: BTreeMap::from([(1, (1, 1, at)), (2, (1, 2, at + 1)), (3, (2, 1, 5))]),
            newest: BTreeMap::from([(1, at + 1), (2, 5)]),
            ..Naive::default()
        };
        for (place, key) in liked.into_iter().filter(|key| key.object_id < 4).enumerate() {
            naive.likes.insert(key, place as i64);
        }
        if let Some((user_id, key, print)) = kept {
            naive.kept.insert((user_id, format!("key {key}")), (print, "kept".into()));
        }
        naive
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_batch_is_the_same_as_one_operation_after_another(
        before in databases(),
        operations in operations(),
    ) {
        let (mut one_by_one, mut now) = (before.clone(), 100);
        let expected: Vec<_> = operations
            .iter()
            .enumerate()
            .map(|(place, operation)| one_by_one.run(place, operation, &mut now))
            .collect();

        let mut now = 100;
        let plan = plan(&operations, &before.found(), &mut || {
            now += 1;
            Timestamp(now)
        });
        let answers: Vec<_> = plan.answers.iter().map(|planned| show(planned, &plan)).collect();
        prop_assert_eq!(answers, expected);

        let mut batched = before.clone();
        batched.apply(&operations, &plan);
        prop_assert_eq!(&batched, &one_by_one);
        prop_assert_eq!(plan.is_empty(), before == batched);

        let mut counts = before.counts();
        for (kind, deltas) in
            [(LikeKind::Tweet, &plan.tweet_deltas), (LikeKind::Comment, &plan.comment_deltas)]
        {
            prop_assert!(deltas.is_sorted_by(|one, next| one.id < next.id), "sorted, each once");
            for delta in deltas {
                prop_assert!(delta.likes != 0 || delta.comments != 0);
                let count = counts.entry((kind, delta.id)).or_insert((0, 0));
                *count = (count.0 + delta.likes, count.1 + delta.comments);
            }
        }
        counts.retain(|(kind, id), count| {
            *count != (0, 0) && batched.owner(*kind, *id).is_some()
        });
        prop_assert_eq!(counts, batched.counts());

        let notices: BTreeSet<_> = plan.notices.iter().map(|notice| (
            notice.recipient_id,
            notice.actor_id,
            notice.verb.code(),
            notice.target_id,
            notice.created_at.0,
        )).collect();
        prop_assert_eq!(notices.len(), plan.notices.len());
        prop_assert_eq!(notices, batched.news(&before));
    }
}
