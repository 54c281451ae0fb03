//! How deeds change the world: begun, answered, or in doubt until somebody looks.

use std::collections::BTreeSet;

use super::{Comment, Deed, Doubt, End, Fate, Follow, Tick, Tweet, World};
use crate::harness::Value;
use crate::model::micros;

impl World {
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
