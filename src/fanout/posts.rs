//! The posts of a group: tweets, photos, own feed entries and fan-out tasks, in bulk.

use std::collections::{BTreeMap, HashMap};

use diesel::QueryResult;

use super::effects::Effects;
use super::ops::{Op, Outcome, Post, Posted};
use crate::store::idempotency::{self, KeptResponse};
use crate::store::tasks::{self, NewTask, TaskKind};
use crate::store::tweets::NewTweet;
use crate::store::{Conn, StoreError, tweets};
use crate::time::Timestamp;
use crate::timeline::{Entry, TimelineKey};

/// The posts of one group, written; their outcomes are taken in the order of the group.
pub(super) struct PostGroup {
    new: Vec<NewTweet>,
    ids: Vec<i64>,
    outcomes: std::vec::IntoIter<Outcome>,
}

impl PostGroup {
    /// Writes those of `ops` that are posts and have not been carried out before.
    pub(super) fn write(
        conn: &mut Conn<'_>,
        now: Timestamp,
        ops: &[(&Op, Timestamp)],
        effects: &mut Effects,
    ) -> Result<PostGroup, StoreError> {
        let posts: Vec<(&Post, Timestamp)> = ops
            .iter()
            .filter_map(|(op, at)| match op {
                Op::Post(post) => Some((post, *at)),
                _ => None,
            })
            .collect();
        let mut answered = Answered::look_up(conn, now, &posts)?;
        // The first of several posts with one key is written, the others get its answer.
        let fresh: Vec<(&Post, Timestamp)> =
            posts.iter().copied().filter(|(post, _)| answered.claim(post)).collect();
        let new: Vec<NewTweet> = fresh.iter().map(|(post, at)| new_tweet(post, *at)).collect();
        let ids = tweets::insert(conn, &new)?;
        count_by_author(conn, &new)?;
        let mut written: HashMap<Timestamp, Posted> = HashMap::with_capacity(new.len());
        for ((post, created_at), tweet_id) in fresh.iter().zip(&ids) {
            let posted = Posted { tweet_id: *tweet_id, created_at: *created_at };
            answered.keep(post, &posted);
            show(post.user_id, &posted, effects);
            written.insert(*created_at, posted);
        }
        idempotency::insert(conn, &answered.new, now)?;
        let outcomes: Vec<Outcome> = posts
            .iter()
            .map(|(post, at)| match written.remove(at) {
                Some(posted) => Outcome::Posted(posted),
                None => answered.outcome(post),
            })
            .collect();
        Ok(PostGroup { new, ids, outcomes: outcomes.into_iter() })
    }

    /// The outcome of the next post of the group.
    pub(super) fn next_outcome(&mut self) -> QueryResult<Outcome> {
        self.outcomes.next().ok_or(diesel::result::Error::NotFound)
    }

    /// Whether this tweet is written already, but is posted later in the group than `at`.
    pub(super) fn is_to_come(&self, tweet_id: i64, at: Timestamp) -> bool {
        self.new.iter().zip(&self.ids).any(|(new, id)| *id == tweet_id && new.created_at > at)
    }

    /// Adds a fan-out task for each tweet that still stands and whose author has followers; the
    /// others are delivered.
    pub(super) fn add_deliveries(
        &self,
        conn: &mut Conn<'_>,
        effects: &mut Effects,
    ) -> QueryResult<()> {
        let Some(last) = self.new.last() else { return Ok(()) };
        let authors: Vec<i64> = self.new.iter().map(|tweet| tweet.user_id).collect();
        let followed = tweets::followed_authors(conn, &authors)?;
        let (with, without): (Vec<_>, Vec<_>) =
            self.new.iter().zip(&self.ids).partition(|(new, id)| {
                followed.contains(&new.user_id) && !effects.dead_tweets.contains(id)
            });
        let deliveries: Vec<NewTask> = with
            .into_iter()
            .map(|(tweet, id)| NewTask {
                tweet_id: *id,
                author_id: tweet.user_id,
                until_key: tweet.created_at.micros(),
                ..NewTask::default()
            })
            .collect();
        tasks::add(conn, TaskKind::Deliver, &deliveries, last.created_at)?;
        effects.tasks_added += deliveries.len();
        let done: Vec<i64> = without.into_iter().map(|(_, id)| *id).collect();
        tweets::set_delivered(conn, &done, last.created_at)
    }
}

fn new_tweet(post: &Post, created_at: Timestamp) -> NewTweet {
    NewTweet {
        user_id: post.user_id,
        content: post.content.clone(),
        created_at,
        photo_urls: post.photo_urls.clone(),
    }
}

fn show(author: i64, posted: &Posted, effects: &mut Effects) {
    let entry = Entry { created_at: posted.created_at, tweet_id: posted.tweet_id };
    effects.pushes.push((TimelineKey::Author(author), entry));
    effects.pushes.push((TimelineKey::Home(author), entry));
}

fn count_by_author(conn: &mut Conn<'_>, new: &[NewTweet]) -> QueryResult<()> {
    let mut counts = BTreeMap::new();
    for tweet in new {
        *counts.entry(tweet.user_id).or_insert(0) += 1;
    }
    // In id order, so that two nodes cannot deadlock.
    tweets::count_tweets(conn, &counts.into_iter().collect::<Vec<_>>())
}

/// Answers to requests with an Idempotency-Key: earlier ones, and those of this group.
struct Answered {
    /// By user and key. An empty response is one that this group is about to write.
    by_key: HashMap<(i64, String), KeptResponse>,
    new: Vec<KeptResponse>,
}

impl Answered {
    fn look_up(
        conn: &mut Conn<'_>,
        now: Timestamp,
        posts: &[(&Post, Timestamp)],
    ) -> QueryResult<Answered> {
        let keys: Vec<(i64, &str)> = posts
            .iter()
            .filter_map(|(post, _)| {
                post.idempotent.as_ref().map(|wish| (post.user_id, wish.key.key.as_str()))
            })
            .collect();
        let kept = idempotency::find(conn, &keys, now)?;
        let by_key =
            kept.into_iter().map(|kept| ((kept.user_id, kept.key.key.clone()), kept)).collect();
        Ok(Answered { by_key, new: Vec::new() })
    }

    /// Whether this post is to be written: it has no key, or is the first with its key.
    fn claim(&mut self, post: &Post) -> bool {
        let Some(wish) = &post.idempotent else { return true };
        let place = (post.user_id, wish.key.key.clone());
        if self.by_key.contains_key(&place) {
            return false;
        }
        let claimed =
            KeptResponse { user_id: post.user_id, key: wish.key.clone(), response: String::new() };
        self.by_key.insert(place, claimed);
        true
    }

    /// Keeps the answer to a post that has been written.
    fn keep(&mut self, post: &Post, posted: &Posted) {
        let Some(wish) = &post.idempotent else { return };
        if let Some(kept) = self.by_key.get_mut(&(post.user_id, wish.key.key.clone())) {
            kept.response = (wish.render)(posted);
            self.new.push(kept.clone());
        }
    }

    fn outcome(&self, post: &Post) -> Outcome {
        let kept = post.idempotent.as_ref().and_then(|wish| {
            let kept = self.by_key.get(&(post.user_id, wish.key.key.clone()))?;
            (kept.key.fingerprint == wish.key.fingerprint).then(|| kept.response.clone())
        });
        kept.map_or(Outcome::KeyConflict, Outcome::Replayed)
    }
}
