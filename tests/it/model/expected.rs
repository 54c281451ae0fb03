//! What the world implies for feeds, lists and counts once everything has settled.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{End, Follow, Kind, Tweet, World};

/// The tweets of a feed: those that must be there, and those that may be.
#[derive(Debug, Default)]
pub struct Bounds {
    pub must: BTreeSet<i64>,
    pub may: BTreeSet<i64>,
}

impl World {
    /// The tweets of `reader`'s feed; `since` tells, by reader and author, when each follow
    /// became visible.
    pub fn feed(&self, reader: i64, since: &BTreeMap<(i64, i64), i64>, backfill: usize) -> Bounds {
        let mut bounds = Bounds::default();
        for author in &self.users {
            let mut tweets: Vec<(&i64, &Tweet)> =
                self.tweets.iter().filter(|(_, tweet)| tweet.author == *author).collect();
            tweets.sort_by_key(|(_, tweet)| std::cmp::Reverse(tweet.created_at));
            let living = |tweet: &Tweet| tweet.end == End::No;
            if *author == reader {
                let own = tweets.iter().filter(|(_, tweet)| living(tweet)).map(|(id, _)| **id);
                bounds.must.extend(own);
                continue;
            }
            if self.keeps(reader, *author) {
                let kept = tweets.iter().filter(|(_, tweet)| living(tweet)).map(|(id, _)| **id);
                let (held, other) = kept.partition(|id| self.held.contains(&(reader, *id)));
                bounds.must.extend::<BTreeSet<i64>>(held);
                bounds.may.extend::<BTreeSet<i64>>(other);
            }
            let pair = (reader, *author);
            let (Some(follow), Some(since)) = (self.follows.get(&pair), since.get(&pair)) else {
                continue;
            };
            let later = |tweet: &Tweet| tweet.created_at > *since;
            let delivered = tweets.iter().filter(|(_, tweet)| later(tweet) && living(tweet));
            bounds.must.extend(delivered.map(|(id, _)| **id));
            let older = tweets.iter().filter(|(_, tweet)| !later(tweet));
            bounds.add_backfill(older, *follow, backfill);
        }
        bounds
    }

    /// The author's tweets, newest first.
    pub fn list(&self, author: i64) -> Vec<i64> {
        let of_author = |(_, tweet): &(&i64, &Tweet)| tweet.author == author;
        let mut tweets: Vec<(i64, i64)> = self
            .tweets
            .iter()
            .filter(of_author)
            .filter(|(_, tweet)| tweet.end == End::No)
            .map(|(id, tweet)| (tweet.created_at, *id))
            .collect();
        tweets.sort_unstable();
        tweets.into_iter().rev().map(|(_, id)| id).collect()
    }

    /// Living comments of a tweet, oldest first.
    pub fn comments_of(&self, tweet: i64) -> Vec<i64> {
        let living = self
            .comments
            .iter()
            .filter(|(_, comment)| comment.tweet == tweet && comment.end == End::No);
        living.map(|(id, _)| *id).collect()
    }

    /// How many like a thing.
    pub fn likes_of(&self, kind: Kind, id: i64) -> usize {
        self.users.iter().filter(|user| self.likes(**user, kind, id)).count()
    }
}

impl Bounds {
    /// The `backfill` newest of `older` (newest first) that were there when the follow
    /// happened, of which is known only that it lies between its request and its answer.
    fn add_backfill<'a>(
        &mut self,
        older: impl Iterator<Item = &'a (&'a i64, &'a Tweet)>,
        follow: Follow,
        backfill: usize,
    ) {
        let (mut surely_there, mut perhaps_there) = (0, 0);
        for (id, tweet) in older {
            let (surely, perhaps) = match tweet.end {
                End::No => (true, true),
                End::Begun(begun) => (begun > follow.done, true),
                End::Done { begun, done } => (begun > follow.done, done > follow.begun),
            };
            if tweet.end == End::No {
                if perhaps_there < backfill {
                    self.must.insert(**id);
                } else if surely_there < backfill {
                    self.may.insert(**id);
                }
            }
            surely_there += usize::from(surely);
            perhaps_there += usize::from(perhaps);
        }
    }
}
