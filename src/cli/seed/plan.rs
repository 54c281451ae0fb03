//! What a data set will contain, drawn from its seed before anything is written.
//!
//! Time runs in four windows of 30 days before the end: sign-ups; tweets from before the follow
//! graph (in their authors' feeds only); follows; tweets that are delivered to all followers.
//! So every friendship is older than every tweet that was delivered along it.
//!
//! In memory: 12 bytes per follow, 8 per like, comment and tweet, 12 per user.

use super::Sizes;
use super::draw::{Draw, Pair, unpair};
use super::relations::{self, purpose};
use super::texts;
use crate::store::bulk::{CommentRow, FriendshipRow, LikeRow, ProfileRow, TweetRow, UserRow};
use crate::time::Timestamp;

const SECOND: i64 = 1_000_000;
const WINDOW: i64 = 30 * 86_400 * SECOND;

const LIKED_TWEET: i16 = 1;
const LIKED_COMMENT: i16 = 2;

/// A drawn data set. Indices start at 0, ids at 1.
pub(super) struct Plan {
    seed: u64,
    end: i64,
    pub(super) users: u32,
    /// (follower, followee), in order.
    follows: Vec<Pair>,
    /// Author of each tweet, oldest first.
    authors: Vec<u32>,
    /// How many of the oldest tweets are from before the follow graph.
    early: usize,
    /// (tweet, author), in order of the tweets.
    comments: Vec<Pair>,
    /// (user, tweet), in order.
    tweet_likes: Vec<Pair>,
    /// (user, comment), in order.
    comment_likes: Vec<Pair>,
    followers: Vec<u32>,
    /// Entries of all feeds.
    pub(super) feed_entries: u64,
}

impl Plan {
    pub(super) fn draw(seed: u64, end: Timestamp, sizes: &Sizes) -> Plan {
        let users = sizes.users;
        let follows = relations::follows(seed, users, sizes.follows);
        let followers = tally(users as usize, follows.iter().map(|pair| unpair(*pair).1));
        let (authors, early) = relations::authors(seed, sizes, &followers);
        let delivered = authors.iter().skip(early);
        let feed_entries = authors.len() as u64
            + delivered.map(|author| u64::from(followers[*author as usize])).sum::<u64>();
        let tweets = authors.len() as u32;
        let comments = relations::comments(seed, users, tweets, sizes.comments(tweets));
        let (tweet_likes, comment_likes) = sizes.likes(tweets, comments.len() as u32);
        let likes =
            |purpose, objects, count| relations::likes(seed, purpose, users, objects, count);
        Plan {
            seed,
            end: end.micros(),
            users,
            tweet_likes: likes(purpose::TWEET_LIKES, tweets, tweet_likes),
            comment_likes: likes(purpose::COMMENT_LIKES, comments.len() as u32, comment_likes),
            follows,
            authors,
            early,
            comments,
            followers,
            feed_entries,
        }
    }

    pub(super) fn follows(&self) -> u64 {
        self.follows.len() as u64
    }

    pub(super) fn tweets(&self) -> u64 {
        self.authors.len() as u64
    }

    pub(super) fn comments(&self) -> u64 {
        self.comments.len() as u64
    }

    pub(super) fn likes(&self) -> u64 {
        (self.tweet_likes.len() + self.comment_likes.len()) as u64
    }

    pub(super) fn user_rows<'a>(
        &'a self,
        password_hash: &'a str,
    ) -> impl Iterator<Item = UserRow> + 'a {
        let start = self.end - 4 * WINDOW;
        (0..self.users).map(move |user| {
            let username = format!("user{:06}", user + 1);
            UserRow {
                id: id(user),
                email: format!("{username}@example.com"),
                username,
                password_hash: password_hash.to_owned(),
                created_at: spread(start, user as usize, self.users as usize),
            }
        })
    }

    pub(super) fn profile_rows(&self) -> impl Iterator<Item = ProfileRow> {
        let followings =
            tally(self.users as usize, self.follows.iter().map(|pair| unpair(*pair).0));
        let tweets = tally(self.users as usize, self.authors.iter().copied());
        let mut names = Draw::new(self.seed, purpose::NICKNAMES);
        (0..self.users).map(move |user| ProfileRow {
            user_id: id(user),
            nickname: Some(texts::nickname(&mut names)),
            followers_count: i64::from(self.followers[user as usize]),
            followings_count: i64::from(followings[user as usize]),
            tweets_count: i64::from(tweets[user as usize]),
        })
    }

    pub(super) fn friendship_rows(&self) -> impl Iterator<Item = FriendshipRow> {
        let start = self.end - 2 * WINDOW;
        let count = self.follows.len();
        let order = Draw::new(self.seed, purpose::FOLLOW_TIMES).permutation(count as u32);
        self.follows.iter().zip(order).map(move |(pair, place)| {
            let (from, to) = unpair(*pair);
            FriendshipRow {
                from_user_id: id(from),
                to_user_id: id(to),
                created_at: spread(start, place as usize, count),
            }
        })
    }

    pub(super) fn tweet_rows(&self) -> impl Iterator<Item = TweetRow> {
        let tweets = self.authors.len();
        let likes = tally(tweets, self.tweet_likes.iter().map(|pair| unpair(*pair).1));
        let comments = tally(tweets, self.comments.iter().map(|pair| unpair(*pair).0));
        let mut words = Draw::new(self.seed, purpose::TWEET_TEXTS);
        self.authors.iter().enumerate().map(move |(tweet, author)| {
            let created_at = self.tweeted_at(tweet);
            TweetRow {
                id: tweet as i64 + 1,
                user_id: id(*author),
                content: texts::tweet(&mut words),
                created_at,
                delivered_at: Some(after(created_at, 1)),
                likes_count: Some(i64::from(likes[tweet])),
                comments_count: Some(i64::from(comments[tweet])),
            }
        })
    }

    pub(super) fn comment_rows(&self) -> impl Iterator<Item = CommentRow> {
        let likes =
            tally(self.comments.len(), self.comment_likes.iter().map(|pair| unpair(*pair).1));
        let mut words = Draw::new(self.seed, purpose::COMMENT_TEXTS);
        self.comment_places().enumerate().map(move |(comment, (tweet, author, place))| CommentRow {
            id: comment as i64 + 1,
            tweet_id: id(tweet),
            user_id: id(author),
            content: texts::comment(&mut words),
            created_at: self.commented_at(tweet, place),
            likes_count: Some(i64::from(likes[comment])),
        })
    }

    pub(super) fn like_rows(&self) -> impl Iterator<Item = LikeRow> {
        let mut times = Draw::new(self.seed, purpose::LIKE_TIMES);
        let places: Vec<Timestamp> = self
            .comment_places()
            .map(|(tweet, _, place)| self.commented_at(tweet, place))
            .collect();
        let tweets = self.tweet_likes.iter().map(|pair| (LIKED_TWEET, *pair));
        let comments = self.comment_likes.iter().map(|pair| (LIKED_COMMENT, *pair));
        tweets.chain(comments).map(move |(kind, pair)| {
            let (user, object) = unpair(pair);
            let made_at = match kind {
                LIKED_TWEET => self.tweeted_at(object as usize),
                _ => places[object as usize],
            };
            LikeRow {
                user_id: id(user),
                kind,
                object_id: id(object),
                created_at: after(made_at, SECOND + times.below_u64(3_600_000_000) as i64),
            }
        })
    }

    /// (tweet, author, how many comments the tweet had before).
    fn comment_places(&self) -> impl Iterator<Item = (u32, u32, i64)> {
        let mut last = (u32::MAX, 0);
        self.comments.iter().map(move |pair| {
            let (tweet, author) = unpair(*pair);
            last = if last.0 == tweet { (tweet, last.1 + 1) } else { (tweet, 0) };
            (tweet, author, last.1)
        })
    }

    fn tweeted_at(&self, tweet: usize) -> Timestamp {
        if tweet < self.early {
            spread(self.end - 3 * WINDOW, tweet, self.early)
        } else {
            spread(self.end - WINDOW, tweet - self.early, self.authors.len() - self.early)
        }
    }

    fn commented_at(&self, tweet: u32, place: i64) -> Timestamp {
        after(self.tweeted_at(tweet as usize), (place + 1) * 60 * SECOND)
    }
}

fn tally(size: usize, indices: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut counts = vec![0; size];
    for index in indices {
        counts[index as usize] += 1;
    }
    counts
}

fn id(index: u32) -> i64 {
    i64::from(index) + 1
}

/// The moment of the `place`-th of `count` things in the window that begins at `start`. They
/// are more than two microseconds apart: see [`super::MOST`].
fn spread(start: i64, place: usize, count: usize) -> Timestamp {
    Timestamp(start + WINDOW / count.max(1) as i64 * place as i64)
}

fn after(moment: Timestamp, micros: i64) -> Timestamp {
    Timestamp(moment.micros() + micros)
}
