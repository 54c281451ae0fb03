//! Deeds: what a person draws to change the world, and how it is asked for.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::{Asked, Person, Stage, pick_recent};
use crate::harness::{Value, json};
use crate::model::world::{Comment, Deed, End, Kind, Tweet};

impl Person {
    pub(super) fn delete(&mut self, stage: &Stage) -> Asked<bool> {
        let me = self.me();
        let is_own = |tweet: &Tweet| tweet.author == me && tweet.end == End::No;
        let own = ids_where(&stage.world().tweets, is_own);
        match pick_recent(&mut self.dice, &own) {
            Some(tweet) => self.perform(stage, Deed::Delete { tweet }),
            None => Ok(false),
        }
    }

    pub(super) fn befriend(&mut self, stage: &Stage) -> Asked<bool> {
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

    pub(super) fn like(&mut self, stage: &Stage) -> Asked<bool> {
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

    pub(super) fn comment(&mut self, stage: &Stage) -> Asked<bool> {
        let ids: Vec<i64> = stage.world().tweets.keys().copied().collect();
        let Some(tweet) = pick_recent(&mut self.dice, &ids) else { return Ok(false) };
        let content = format!("{} answers {}", self.me(), self.dice.next_u64());
        self.perform(stage, Deed::Comment { tweet, content })
    }

    pub(super) fn erase(&mut self, stage: &Stage) -> Asked<bool> {
        let me = self.me();
        let is_own = |comment: &Comment| comment.author == me && comment.end == End::No;
        let own = ids_where(&stage.world().comments, is_own);
        match pick_recent(&mut self.dice, &own) {
            Some(comment) => self.perform(stage, Deed::Erase { comment }),
            None => Ok(false),
        }
    }
}

fn ids_where<T>(things: &BTreeMap<i64, T>, is_meant: impl Fn(&T) -> bool) -> Vec<i64> {
    things.iter().filter(|(_, thing)| is_meant(thing)).map(|(id, _)| *id).collect()
}

/// How a deed is asked for: method, path and body.
pub(super) fn request(deed: &Deed) -> (&'static str, String, Option<Value>) {
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
