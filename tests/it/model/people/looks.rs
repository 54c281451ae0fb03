//! Looks: what a person reads and at once compares with all that they know.

use rand::RngExt;

use super::{Asked, Person, Stage, pick_recent};
use crate::harness::Value;
use crate::model::view::{Page, Shown};
use crate::model::world::{End, Fate, Kind, Tick, World};
use crate::model::{iso, micros};

impl Person {
    /// A page of the own feed, of any size, at any place, with any cursors.
    pub(super) fn page(&mut self, stage: &Stage) -> Asked<bool> {
        let times = self.view.times();
        let mut time = |chance| {
            let drawn = !times.is_empty() && self.dice.random_bool(chance);
            drawn.then(|| times[self.dice.random_range(0..times.len())])
        };
        let (older, newer) = (time(0.5), time(0.1));
        let newer = newer.filter(|_| older.is_some());
        let size = match self.dice.random_range(0..3) {
            0 => None,
            1 => Some(self.dice.random_range(1..=5)),
            _ => Some(self.dice.random_range(1..=100)),
        };
        self.read(stage, older, newer, size).map(|_| true)
    }

    /// One page of the feed, compared with all that was shown before.
    pub fn read(
        &mut self,
        stage: &Stage,
        older: Option<i64>,
        newer: Option<i64>,
        size: Option<usize>,
    ) -> Asked<(Page, Vec<Value>)> {
        let mut query: Vec<String> = Vec::new();
        query.extend(older.map(|at| format!("created_at__lt={}", iso(at))));
        query.extend(newer.map(|at| format!("created_at__gt={}", iso(at))));
        query.extend(size.map(|size| format!("page_size={size}")));
        let asked = stage.world().tick();
        let path = format!("/api/newsfeeds/?{}", query.join("&"));
        let reply = self.ask(stage, "GET", &path, None)?.expect(200);
        let is_poll = newer.is_some() && older.is_none();
        let size = if is_poll { stage.list_limit } else { size.unwrap_or(stage.page_size) };
        let items = reply["results"].as_array().expect("results").clone();
        let entries = items.iter().map(shown).collect();
        let has_next = reply["has_next_page"] == true;
        let page = Page { older, newer, size, entries, has_next };
        let world = stage.world();
        let judged = self.judge(&world, &page, &items, asked);
        drop(world);
        if let Err(reason) = judged {
            stage.fail(&format!("user {} at {asked}: {path}: {reason}\n{page:#?}", self.me()));
        }
        // A poll that is not complete is taken in when the rest has been read.
        if !(is_poll && has_next) {
            self.absorb(stage, &page, asked, &path);
        }
        Ok((page, items))
    }

    fn absorb(&mut self, stage: &Stage, page: &Page, asked: Tick, path: &str) {
        let taken = {
            let world = stage.world();
            self.view.take(page, |tweet| world.tweet_fate(tweet, asked))
        };
        if let Err(reason) = taken {
            stage.fail(&format!("user {} at {asked}: {path}: {reason}\n{page:#?}", self.me()));
        }
    }

    /// What must hold for a page in the midst of everything.
    fn judge(
        &self,
        world: &World,
        page: &Page,
        items: &[Value],
        asked: Tick,
    ) -> Result<(), String> {
        let me = self.me();
        page.check()?;
        if let Some(stranger) = page.entries.iter().find(|entry| !world.reads(me, entry.author)) {
            return Err(format!("a stranger: {stranger:?}"));
        }
        // Read your writes: the own tweets stand in the own feed at their own times.
        let own = world.tweets.iter().filter(|(_, tweet)| tweet.author == me);
        for (id, tweet) in own {
            let must = tweet.end == End::No && page.covers(tweet.created_at);
            if must && !page.entries.iter().any(|entry| entry.tweet == *id) {
                return Err(format!("the own tweet {id} is missing"));
            }
        }
        for item in items {
            let tweet = &item["tweet"];
            let id = tweet["id"].as_i64().expect("id");
            if world.tweet_fate(id, asked) == Fate::There
                && tweet["has_liked"] != world.likes(me, Kind::Tweet, id)
            {
                return Err(format!("has_liked is wrong: {item}"));
            }
        }
        Ok(())
    }

    /// Everything newer than what is known, also when it is more than one answer holds.
    pub(super) fn poll(&mut self, stage: &Stage) -> Asked<bool> {
        let Some(newest) = self.view.newest() else {
            return self.read(stage, None, None, None).map(|_| true);
        };
        let asked = stage.world().tick();
        let (mut all, _) = self.read(stage, None, Some(newest), None)?;
        if !all.has_next {
            return Ok(true);
        }
        while all.has_next {
            let last = all.entries.last().map(|entry| entry.at);
            let size = self.dice.random_range(1..=100);
            let (rest, _) = self.read_apart(stage, last, Some(newest), size)?;
            all.entries.extend(rest.entries);
            all.has_next = rest.has_next;
        }
        all.size = usize::MAX;
        self.absorb(stage, &all, asked, "a poll in parts");
        Ok(true)
    }

    /// A page that is judged by itself alone.
    fn read_apart(
        &mut self,
        stage: &Stage,
        older: Option<i64>,
        newer: Option<i64>,
        size: usize,
    ) -> Asked<(Page, Vec<Value>)> {
        let kept = std::mem::take(&mut self.view);
        let read = self.read(stage, older, newer, Some(size));
        self.view = kept;
        read
    }

    /// A page of what somebody posted.
    pub(super) fn list(&mut self, stage: &Stage) -> Asked<bool> {
        let users = stage.world().users.clone();
        let author = users[self.dice.random_range(0..users.len())];
        let size = self.dice.random_range(1..=100_usize);
        let asked = stage.world().tick();
        let path = format!("/api/tweets/?user_id={author}&page_size={size}");
        let reply = self.ask(stage, "GET", &path, None)?.expect(200);
        let items = reply["results"].as_array().expect("results");
        let ids: Vec<i64> = items.iter().map(|item| item["id"].as_i64().expect("id")).collect();
        let times: Vec<i64> = items.iter().map(time_of).collect();
        let world = stage.world();
        let ghost = ids.iter().find(|id| world.tweet_fate(**id, asked) == Fate::Gone);
        let oldest = times.last().copied().filter(|_| reply["has_next_page"] == true);
        let must = world.tweets.iter().filter(|(_, tweet)| {
            let known_before = author == self.me() && tweet.author == author;
            known_before && tweet.end == End::No && tweet.created_at >= oldest.unwrap_or(i64::MIN)
        });
        let missing = must.map(|(id, _)| *id).find(|id| !ids.contains(id));
        drop(world);
        let ordered = times.is_sorted_by(|newer, older| newer > older);
        if ghost.is_some() || missing.is_some() || !ordered {
            stage.fail(&format!("{path}: deleted {ghost:?}, missing {missing:?}, {times:?}"));
        }
        Ok(true)
    }

    /// A tweet's own page.
    pub(super) fn look(&mut self, stage: &Stage) -> Asked<bool> {
        let ids: Vec<i64> = stage.world().tweets.keys().copied().collect();
        let Some(tweet) = pick_recent(&mut self.dice, &ids) else { return Ok(false) };
        let asked = stage.world().tick();
        let reply = self.ask(stage, "GET", &format!("/api/tweets/{tweet}/"), None)?;
        let world = stage.world();
        let is_right = match (world.tweet_fate(tweet, asked), reply.status) {
            (Fate::There, 200) => {
                let page = reply.json();
                let shown = crate::harness::ids(&page["comments"], "id");
                let own = |id: &i64| world.comments[id].author == self.me();
                let comments = world.comments_of(tweet);
                page["has_liked"] == world.likes(self.me(), Kind::Tweet, tweet)
                    && (comments.len() > 90
                        || comments.iter().filter(|id| own(id)).all(|id| shown.contains(id)))
            }
            (Fate::Perhaps, 200 | 404) | (Fate::Gone, 404) => true,
            _ => false,
        };
        drop(world);
        if !is_right {
            stage.fail(&format!("user {} sees {}", self.me(), reply.describe()));
        }
        Ok(true)
    }
}

/// An entry as the checks want it.
pub fn shown(item: &Value) -> Shown {
    let at = item["id"].as_i64().expect("id");
    assert_eq!(time_of(item), at, "the id of an entry is its time: {item}");
    let tweet = &item["tweet"];
    let author = tweet["user"]["id"].as_i64().expect("the author's id");
    Shown { at, tweet: tweet["id"].as_i64().expect("id"), author }
}

fn time_of(item: &Value) -> i64 {
    micros(item["created_at"].as_str().expect("created_at"))
}
