//! What one person does: draws a deed or a look, asks the server, compares the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::trouble;
use super::view::{Page, Shown, View};
use super::world::{Deed, End, Fate, Kind, Tick, World};
use super::{iso, micros};
use crate::harness::{Client, Reply, Value, json};

/// What everybody shares.
pub struct Stage {
    pub world: Mutex<World>,
    /// The server is being ended: an answer may fail to come.
    pub ending: AtomicBool,
    /// The server's default page size and list limit.
    pub page_size: usize,
    pub list_limit: usize,
}

impl Stage {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Fails the test and says what happened before.
    pub fn fail(&self, reason: &str) -> ! {
        let chronicle = self.world.lock().map(|world| world.chronicle()).unwrap_or_default();
        panic!("{reason}\n--- what happened before ---\n{chronicle}");
    }
}

/// No answer came, as may be while the server is being ended.
pub struct NoAnswer;

type Asked<T> = Result<T, NoAnswer>;

pub struct Person {
    pub client: Client,
    pub dice: StdRng,
    pub view: View,
    /// For trouble with the Redis tier.
    pub redis: Option<redis::Connection>,
}

impl Person {
    fn me(&self) -> i64 {
        self.client.id
    }

    /// One operation. What is drawn may not be possible; then another one is.
    pub fn act(&mut self, stage: &Stage) -> Asked<()> {
        while !self.try_one(stage)? {}
        Ok(())
    }

    fn try_one(&mut self, stage: &Stage) -> Asked<bool> {
        match self.dice.random_range(0..100) {
            0..24 => {
                let content = format!("{} says {}", self.me(), self.dice.next_u64());
                self.perform(stage, Deed::Post { content })
            }
            24..32 => self.delete(stage),
            32..44 => self.befriend(stage),
            44..60 => self.like(stage),
            60..66 => self.comment(stage),
            66..69 => self.erase(stage),
            69..83 => self.page(stage),
            83..90 => self.poll(stage),
            90..93 => self.list(stage),
            93..97 => self.look(stage),
            _ => {
                let Some(redis) = &mut self.redis else { return Ok(false) };
                trouble::with_redis(redis, &mut self.dice, &stage.world);
                Ok(true)
            }
        }
    }

    /// Asks for a deed and believes the answer, if it can be true.
    fn perform(&mut self, stage: &Stage, deed: Deed) -> Asked<bool> {
        let me = self.me();
        let begun = stage.world().begin(me, &deed);
        let (method, path, body) = request(&deed);
        let reply = match self.ask(stage, method, &path, body) {
            Ok(reply) => reply,
            Err(NoAnswer) => {
                stage.world().doubt(me, deed, begun);
                return Err(NoAnswer);
            }
        };
        let answer = stage.world().answered(me, &deed, begun, reply.status, &reply.json());
        if let Err(reason) = answer {
            stage.fail(&reason);
        }
        match deed {
            Deed::Follow { .. } => self.view.clear(),
            Deed::Unfollow { to } if stage.world().unfollow_removes => self.view.forget(to),
            _ => {}
        }
        Ok(true)
    }

    /// Asks anything. A server that ends may also say that it does.
    fn ask(&self, stage: &Stage, method: &str, path: &str, body: Option<Value>) -> Asked<Reply> {
        let mut request = self.client.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.try_send().filter(|reply| reply.status != 503);
        match reply {
            Some(reply) => Ok(reply),
            None if stage.ending.load(Ordering::SeqCst) => Err(NoAnswer),
            None => stage.fail(&format!("no answer to {method} {path}")),
        }
    }

    fn delete(&mut self, stage: &Stage) -> Asked<bool> {
        let me = self.me();
        let own: Vec<i64> = {
            let world = stage.world();
            let living = world.tweets.iter().filter(|(_, tweet)| tweet.end == End::No);
            living.filter(|(_, tweet)| tweet.author == me).map(|(id, _)| *id).collect()
        };
        match pick_recent(&mut self.dice, &own) {
            Some(tweet) => self.perform(stage, Deed::Delete { tweet }),
            None => Ok(false),
        }
    }

    fn befriend(&mut self, stage: &Stage) -> Asked<bool> {
        let others: Vec<i64> = {
            let world = stage.world();
            world.users.iter().copied().filter(|user| *user != self.me()).collect()
        };
        let to = others[self.dice.random_range(0..others.len())];
        let is_followed = stage.world().follows(self.me(), to);
        // Mostly what changes something.
        let follow = is_followed == self.dice.random_bool(0.1);
        self.perform(stage, if follow { Deed::Follow { to } } else { Deed::Unfollow { to } })
    }

    fn like(&mut self, stage: &Stage) -> Asked<bool> {
        let kind = if self.dice.random_bool(0.7) { Kind::Tweet } else { Kind::Comment };
        let ids: Vec<i64> = match kind {
            Kind::Tweet => stage.world().tweets.keys().copied().collect(),
            Kind::Comment => stage.world().comments.keys().copied().collect(),
        };
        let Some(id) = pick_recent(&mut self.dice, &ids) else { return Ok(false) };
        let is_liked = stage.world().likes(self.me(), kind, id);
        let like = is_liked == self.dice.random_bool(0.2);
        self.perform(stage, if like { Deed::Like { kind, id } } else { Deed::Unlike { kind, id } })
    }

    fn comment(&mut self, stage: &Stage) -> Asked<bool> {
        let ids: Vec<i64> = stage.world().tweets.keys().copied().collect();
        let Some(tweet) = pick_recent(&mut self.dice, &ids) else { return Ok(false) };
        let content = format!("{} answers {}", self.me(), self.dice.next_u64());
        self.perform(stage, Deed::Comment { tweet, content })
    }

    fn erase(&mut self, stage: &Stage) -> Asked<bool> {
        let me = self.me();
        let own: Vec<i64> = {
            let world = stage.world();
            let living = world.comments.iter().filter(|(_, comment)| comment.end == End::No);
            living.filter(|(_, comment)| comment.author == me).map(|(id, _)| *id).collect()
        };
        match pick_recent(&mut self.dice, &own) {
            Some(comment) => self.perform(stage, Deed::Erase { comment }),
            None => Ok(false),
        }
    }

    /// A page of the own feed, of any size, at any place, with any cursors.
    fn page(&mut self, stage: &Stage) -> Asked<bool> {
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
    fn poll(&mut self, stage: &Stage) -> Asked<bool> {
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
    fn list(&mut self, stage: &Stage) -> Asked<bool> {
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
    fn look(&mut self, stage: &Stage) -> Asked<bool> {
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

fn request(deed: &Deed) -> (&'static str, String, Option<Value>) {
    let like = |kind: Kind, id: i64| json!({"content_type": kind.name(), "object_id": id});
    match deed {
        Deed::Post { content } => {
            ("POST", "/api/tweets/".into(), Some(json!({"content": content})))
        }
        Deed::Delete { tweet } => ("DELETE", format!("/api/tweets/{tweet}/"), None),
        Deed::Follow { to } => ("POST", format!("/api/friendships/{to}/follow/"), Some(json!({}))),
        Deed::Unfollow { to } => {
            ("POST", format!("/api/friendships/{to}/unfollow/"), Some(json!({})))
        }
        Deed::Like { kind, id } => ("POST", "/api/likes/".into(), Some(like(*kind, *id))),
        Deed::Unlike { kind, id } => ("POST", "/api/likes/cancel/".into(), Some(like(*kind, *id))),
        Deed::Comment { tweet, content } => {
            let body = json!({"tweet_id": tweet, "content": content});
            ("POST", "/api/comments/".into(), Some(body))
        }
        Deed::Erase { comment } => ("DELETE", format!("/api/comments/{comment}/"), None),
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

/// Mostly one of the latest, of which more may be under way.
fn pick_recent(dice: &mut StdRng, ids: &[i64]) -> Option<i64> {
    let last = ids.len().checked_sub(1)?;
    let back = match dice.random_range(0..10) {
        0..4 => 0,
        4..7 => dice.random_range(0..=last.min(5)),
        _ => dice.random_range(0..=last),
    };
    Some(ids[last - back])
}
