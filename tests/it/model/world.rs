//! What must be true, as far as the answers so far tell.
//!
//! Time in here is a count of the test's own events. A deed begins before its request is sent
//! and is done after its answer has come; between the two it may or may not have happened. A
//! deed without an answer is a doubt, settled by what is in the database after the restart
//! ([`answers`]).

mod answers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A moment in the order of the test's events.
pub type Tick = u64;

/// Lines of the chronicle that a failed check shows.
const REMEMBERED: usize = 400;

/// What can be liked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tweet,
    Comment,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tweet => "tweet",
            Kind::Comment => "comment",
        }
    }
}

/// Something that changes the world.
#[derive(Clone, Debug)]
pub enum Deed {
    Post { content: String },
    Delete { tweet: i64 },
    Follow { to: i64 },
    Unfollow { to: i64 },
    Like { kind: Kind, id: i64 },
    Unlike { kind: Kind, id: i64 },
    Comment { tweet: i64, content: String },
    Erase { comment: i64 },
}

/// A deed without an answer.
#[derive(Clone, Debug)]
pub struct Doubt {
    pub user: i64,
    pub deed: Deed,
    pub begun: Tick,
}

/// Whether a thing has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    No,
    Begun(Tick),
    Done { begun: Tick, done: Tick },
}

/// What somebody who asks may find of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It must be there.
    There,
    /// It is being removed.
    Perhaps,
    /// It must not be there.
    Gone,
}

impl End {
    fn fate(self, asked: Tick) -> Fate {
        match self {
            End::No => Fate::There,
            End::Done { done, .. } if done < asked => Fate::Gone,
            End::Begun(_) | End::Done { .. } => Fate::Perhaps,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Tweet {
    pub author: i64,
    pub content: String,
    /// Microseconds.
    pub created_at: i64,
    pub end: End,
}

#[derive(Clone, Debug)]
pub struct Comment {
    pub author: i64,
    pub tweet: i64,
    pub end: End,
}

/// The follow that holds now.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    pub begun: Tick,
    pub done: Tick,
}

#[derive(Default)]
pub struct World {
    ticks: Tick,
    pub users: Vec<i64>,
    pub tweets: BTreeMap<i64, Tweet>,
    pub comments: BTreeMap<i64, Comment>,
    /// By reader and author.
    pub follows: BTreeMap<(i64, i64), Follow>,
    /// Whoever has followed whom at any time, by reader and author.
    pub ever_followed: BTreeSet<(i64, i64)>,
    /// Whether an unfollow takes the author's tweets out of the feed.
    pub unfollow_removes: bool,
    /// By reader and tweet: what feeds held at the last verdict.
    pub held: BTreeSet<(i64, i64)>,
    /// By user, kind and id.
    pub likes: BTreeSet<(i64, Kind, i64)>,
    doubts: Vec<Doubt>,
    chronicle: VecDeque<String>,
}

impl World {
    /// These users, who have done nothing yet.
    pub fn of(users: Vec<i64>, unfollow_removes: bool) -> World {
        World { users, unfollow_removes, ..World::default() }
    }

    pub fn tick(&mut self) -> Tick {
        self.ticks += 1;
        self.ticks
    }

    /// Writes down what happens, for the report of a failed check.
    pub fn note(&mut self, line: String) {
        if self.chronicle.len() == REMEMBERED {
            self.chronicle.pop_front();
        }
        self.chronicle.push_back(line);
    }

    /// The latest events.
    pub fn chronicle(&self) -> String {
        self.chronicle.iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn follows(&self, reader: i64, author: i64) -> bool {
        self.follows.contains_key(&(reader, author))
    }

    /// Whether `reader`'s feed may show tweets of `author`.
    pub fn reads(&self, reader: i64, author: i64) -> bool {
        reader == author || self.follows(reader, author) || self.keeps(reader, author)
    }

    /// Whether what a follow brought stays, though the follow itself may be gone.
    pub fn keeps(&self, reader: i64, author: i64) -> bool {
        !self.unfollow_removes && self.ever_followed.contains(&(reader, author))
    }

    pub fn likes(&self, user: i64, kind: Kind, id: i64) -> bool {
        self.likes.contains(&(user, kind, id))
    }

    /// What somebody who asked at `asked` may find of a tweet. One that is not known is being
    /// posted: nobody can delete it yet.
    pub fn tweet_fate(&self, id: i64, asked: Tick) -> Fate {
        self.tweets.get(&id).map_or(Fate::There, |tweet| tweet.end.fate(asked))
    }

    /// The same of a comment; with its tweet it goes at leisure.
    pub fn comment_fate(&self, id: i64, asked: Tick) -> Fate {
        let comment = &self.comments[&id];
        match (comment.end.fate(asked), self.tweet_fate(comment.tweet, asked)) {
            (Fate::There, Fate::There) => Fate::There,
            (Fate::Gone, _) => Fate::Gone,
            _ => Fate::Perhaps,
        }
    }

    fn fate(&self, kind: Kind, id: i64, asked: Tick) -> Fate {
        match kind {
            Kind::Tweet => self.tweet_fate(id, asked),
            Kind::Comment => self.comment_fate(id, asked),
        }
    }
}
