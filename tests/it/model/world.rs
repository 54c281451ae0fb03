//! What must be true, as far as the answers so far tell.
//!
//! Time in here is a count of the test's own events. A deed begins before its request is sent
//! and is done after its answer has come; between the two it may or may not have happened. A
//! deed without an answer is a doubt, settled by what is in the database after the restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::micros;

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

    /// A deed is about to be asked for.
    pub fn begin(&mut self, user: i64, deed: &Deed) -> Tick {
        let begun = self.tick();
        self.note(format!("{begun} user {user} asks: {deed:?}"));
        match deed {
            Deed::Delete { tweet } => self.end_tweet(*tweet, End::Begun(begun)),
            Deed::Erase { comment } => self.end_comment(*comment, End::Begun(begun)),
            _ => {}
        }
        begun
    }

    /// A deed has been answered. An answer that cannot be true is the error.
    pub fn answered(
        &mut self,
        user: i64,
        deed: &Deed,
        begun: Tick,
        status: u16,
        body: &Value,
    ) -> Result<(), String> {
        let done = self.tick();
        self.note(format!("{done} user {user} is told {status} for what began at {begun}"));
        let wrong = || Err(format!("user {user} got {status} {body} for {deed:?}"));
        match deed {
            Deed::Post { .. } | Deed::Follow { .. } if status != 201 => return wrong(),
            Deed::Delete { .. } | Deed::Unfollow { .. } if status != 200 => return wrong(),
            Deed::Follow { to } => {
                let is_new = body.get("duplicate").is_none();
                if is_new == self.follows.contains_key(&(user, *to)) {
                    return wrong();
                }
            }
            Deed::Unfollow { to } => {
                let was_there = self.follows.contains_key(&(user, *to));
                if body["deleted"] != i64::from(was_there) {
                    return wrong();
                }
            }
            Deed::Like { kind, id } => match (self.fate(*kind, *id, begun), status) {
                (Fate::There | Fate::Perhaps, 201) => {}
                (Fate::Gone | Fate::Perhaps, 400) => return Ok(()),
                _ => return wrong(),
            },
            Deed::Unlike { kind, id } => {
                let liked = i64::from(self.likes(user, *kind, *id));
                match (self.fate(*kind, *id, begun), status) {
                    (Fate::There, 200) if body["deleted"] == liked => {}
                    (Fate::Perhaps, 200) => {}
                    (Fate::Gone | Fate::Perhaps, 400) => return Ok(()),
                    _ => return wrong(),
                }
            }
            Deed::Comment { tweet, .. } => match (self.tweet_fate(*tweet, begun), status) {
                (Fate::There | Fate::Perhaps, 201) => {}
                (Fate::Gone | Fate::Perhaps, 400) => return Ok(()),
                _ => return wrong(),
            },
            Deed::Erase { comment } => {
                let tweet = self.comments[comment].tweet;
                match (self.tweet_fate(tweet, begun), status) {
                    (_, 200) | (Fate::Gone | Fate::Perhaps, 404) => {}
                    _ => return wrong(),
                }
            }
            _ => {}
        }
        let created_at = body.get("created_at").and_then(Value::as_str).map_or(0, micros);
        self.apply(user, deed, begun, (body["id"].as_i64().unwrap_or(0), created_at));
        Ok(())
    }

    /// Nobody knows whether the deed was done.
    pub fn doubt(&mut self, user: i64, deed: Deed, begun: Tick) {
        let now = self.tick();
        self.note(format!("{now} user {user} hears nothing of what began at {begun}"));
        self.doubts.push(Doubt { user, deed, begun });
    }

    /// Settles every doubt by what `look` finds: id and time of what was done, `None` if it
    /// was not. Returns who was in doubt.
    pub fn settle(&mut self, look: impl Fn(&World, &Doubt) -> Option<(i64, i64)>) -> BTreeSet<i64> {
        let mut users = BTreeSet::new();
        for doubt in std::mem::take(&mut self.doubts) {
            let found = look(self, &doubt);
            self.note(format!("settled: user {} {:?}: {found:?}", doubt.user, doubt.deed));
            users.insert(doubt.user);
            match (found, &doubt.deed) {
                (Some(new), deed) => self.apply(doubt.user, deed, doubt.begun, new),
                (None, Deed::Delete { tweet }) => self.end_tweet(*tweet, End::No),
                (None, Deed::Erase { comment }) => self.end_comment(*comment, End::No),
                (None, _) => {}
            }
        }
        users
    }

    /// A deed was done; `new`: id and time of what it has made.
    fn apply(&mut self, user: i64, deed: &Deed, begun: Tick, new: (i64, i64)) {
        let done = self.tick();
        match deed {
            Deed::Post { content } => {
                let (content, created_at) = (content.clone(), new.1);
                let tweet = Tweet { author: user, content, created_at, end: End::No };
                self.tweets.insert(new.0, tweet);
            }
            Deed::Delete { tweet } => self.end_tweet(*tweet, End::Done { begun, done }),
            Deed::Follow { to } => {
                self.follows.entry((user, *to)).or_insert(Follow { begun, done });
                self.ever_followed.insert((user, *to));
            }
            Deed::Unfollow { to } => {
                self.follows.remove(&(user, *to));
            }
            Deed::Like { kind, id } => {
                self.likes.insert((user, *kind, *id));
            }
            Deed::Unlike { kind, id } => {
                self.likes.remove(&(user, *kind, *id));
            }
            Deed::Comment { tweet, .. } => {
                let comment = Comment { author: user, tweet: *tweet, end: End::No };
                self.comments.insert(new.0, comment);
            }
            Deed::Erase { comment } => self.end_comment(*comment, End::Done { begun, done }),
        }
    }

    fn end_tweet(&mut self, id: i64, end: End) {
        if let Some(tweet) = self.tweets.get_mut(&id) {
            tweet.end = end;
        }
    }

    fn end_comment(&mut self, id: i64, end: End) {
        if let Some(comment) = self.comments.get_mut(&id) {
            comment.end = end;
        }
    }
}
