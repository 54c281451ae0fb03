//! Who follows whom, and who wrote, commented on and liked what.

use super::draw::{Draw, Pair, pair};
use super::{MOST, Sizes};

/// One stream of draws per purpose.
pub(super) mod purpose {
    pub const FOLLOWS: u64 = 1;
    pub const FOLLOW_TIMES: u64 = 2;
    pub const AUTHORS: u64 = 3;
    pub const COMMENTS: u64 = 4;
    pub const TWEET_LIKES: u64 = 5;
    pub const COMMENT_LIKES: u64 = 6;
    pub const NICKNAMES: u64 = 7;
    pub const TWEET_TEXTS: u64 = 8;
    pub const COMMENT_TEXTS: u64 = 9;
    pub const LIKE_TIMES: u64 = 10;
}

pub(super) fn follows(seed: u64, users: u32, count: usize) -> Vec<Pair> {
    let all = (0..users).flat_map(move |from| {
        (0..users).filter(move |to| *to != from).map(move |to| pair(from, to))
    });
    Draw::new(seed, purpose::FOLLOWS).distinct(
        count,
        |draw| {
            let (from, to) = (draw.below(users), draw.rank(users));
            (from != to).then_some(pair(from, to))
        },
        all,
    )
}

/// Authors of the tweets, oldest first, and how many of the oldest come before the graph: those
/// whose delivery would go beyond the wanted number of feed entries.
pub(super) fn authors(seed: u64, sizes: &Sizes, followers: &[u32]) -> (Vec<u32>, usize) {
    let mut draw = Draw::new(seed, purpose::AUTHORS);
    let mut newest_first = Vec::new();
    let mut left = sizes.feed_entries;
    let mut delivered = 0;
    let mut open = true;
    loop {
        let enough = match sizes.tweets {
            Some(tweets) => newest_first.len() >= tweets as usize,
            None => !open,
        };
        if enough || newest_first.len() >= MOST as usize {
            break;
        }
        let author = draw.below(sizes.users);
        // With a fixed number of tweets, each author's own entry is set aside beforehand.
        let own = u64::from(sizes.tweets.is_none());
        let cost = u64::from(followers[author as usize]) + own;
        open = open && left.is_none_or(|left| cost <= left);
        if open {
            left = left.map(|left| left - cost);
            delivered += 1;
        } else if sizes.tweets.is_none() {
            break;
        }
        newest_first.push(author);
    }
    newest_first.reverse();
    let early = newest_first.len() - delivered;
    (newest_first, early)
}

/// Later tweets draw more comments.
pub(super) fn comments(seed: u64, users: u32, tweets: u32, count: usize) -> Vec<Pair> {
    let mut draw = Draw::new(seed, purpose::COMMENTS);
    let mut comments: Vec<Pair> = (0..count)
        .map(|_| {
            let tweet = tweets - 1 - draw.rank(tweets);
            pair(tweet, draw.below(users))
        })
        .collect();
    comments.sort_unstable();
    comments
}

/// Later objects draw more likes.
pub(super) fn likes(seed: u64, purpose: u64, users: u32, objects: u32, count: usize) -> Vec<Pair> {
    let all = (0..users).flat_map(move |user| (0..objects).map(move |object| pair(user, object)));
    Draw::new(seed, purpose).distinct(
        count,
        |draw| Some(pair(draw.below(users), objects - 1 - draw.rank(objects))),
        all,
    )
}
