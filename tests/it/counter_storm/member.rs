//! Those in the storm, and what they know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::harness::{Client, Value, id, json};

/// A tweet or comment, by the content type that the API calls it.
pub type Object = (&'static str, i64);

/// What is there to be liked and talked about.
#[derive(Default)]
pub struct World {
    pub objects: Mutex<Vec<Object>>,
    /// Under which tweet a comment stands.
    tweet_of: Mutex<BTreeMap<i64, i64>>,
    /// Those whose deletion has been asked for.
    doomed: Mutex<BTreeSet<Object>>,
    /// Those whose deletion has been acknowledged.
    dead: Mutex<BTreeSet<Object>>,
    pub acknowledged: AtomicUsize,
    pub over: AtomicBool,
}

impl World {
    pub fn any(&self, dice: &mut StdRng, kind: Option<&str>) -> Option<Object> {
        let objects = self.objects.lock().unwrap();
        let fitting: Vec<Object> = objects
            .iter()
            .filter(|object| kind.is_none_or(|kind| object.0 == kind))
            .copied()
            .collect();
        (!fitting.is_empty()).then(|| fitting[dice.random_range(0..fitting.len())])
    }

    pub fn add(&self, object: Object, tweet: i64) {
        if object.0 == "comment" {
            self.tweet_of.lock().unwrap().insert(object.1, tweet);
        }
        self.objects.lock().unwrap().push(object);
    }

    /// Whether it, or the tweet that it stands under, is in the set.
    fn falls_under(&self, set: &Mutex<BTreeSet<Object>>, object: Object) -> bool {
        let set = set.lock().unwrap();
        let tweet = || self.tweet_of.lock().unwrap().get(&object.1).copied();
        set.contains(&object)
            || (object.0 == "comment"
                && tweet().is_some_and(|tweet| set.contains(&("tweet", tweet))))
    }

    pub fn is_dead(&self, object: Object) -> bool {
        self.falls_under(&self.dead, object)
    }

    pub fn is_doomed(&self, object: Object) -> bool {
        self.falls_under(&self.doomed, object)
    }

    fn doom(&self, object: Object) {
        self.objects.lock().unwrap().retain(|other| *other != object);
        self.doomed.lock().unwrap().insert(object);
    }
}

/// Somebody in the storm. `None`: no answer came, so it may or may not be so.
pub struct Member {
    pub client: Client,
    pub dice: StdRng,
    pub likes: BTreeMap<Object, Option<bool>>,
    /// Own tweets and comments: whether they exist; a comment with its tweet.
    pub own: BTreeMap<Object, (Option<bool>, i64)>,
}

impl Member {
    /// Goes on until the server is gone.
    pub fn rage(&mut self, world: &World) {
        while !world.over.load(Ordering::Relaxed) {
            let answered = match self.dice.random_range(0..20) {
                0..8 => self.like(world),
                8..14 => self.unlike(world),
                14..17 => self.comment(world),
                17..19 => self.delete(world, "comment"),
                _ if self.dice.random_bool(0.5) => self.tweet(world),
                _ => self.delete(world, "tweet"),
            };
            if answered.is_none() {
                return;
            }
            world.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `None`: the server ended before a whole answer came.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let answer = self.client.request(method, path).json(body).open().ok()?;
        let status = answer.status().as_u16();
        let body = serde_json::from_slice(&answer.bytes().ok()?).ok()?;
        Some((status, body))
    }

    fn like(&mut self, world: &World) -> Option<()> {
        let Some(object) = world.any(&mut self.dice, None) else { return Some(()) };
        let was_dead = world.is_dead(object);
        self.likes.insert(object, None);
        let body = json!({"content_type": object.0, "object_id": object.1});
        let (status, body) = self.ask("POST", "/api/likes/", &body)?;
        match status {
            201 => assert!(!was_dead, "{object:?} was deleted and could be liked: {body}"),
            400 => assert!(world.is_doomed(object), "{object:?} is not there: {body}"),
            _ => panic!("like of {object:?}: {status} {body}"),
        }
        self.likes.insert(object, Some(status == 201));
        Some(())
    }

    fn unlike(&mut self, world: &World) -> Option<()> {
        let Some(object) = world.any(&mut self.dice, None) else { return Some(()) };
        let before = self.likes.insert(object, None).unwrap_or(Some(false));
        let body = json!({"content_type": object.0, "object_id": object.1});
        let (status, body) = self.ask("POST", "/api/likes/cancel/", &body)?;
        match (status, before) {
            (200, Some(was_there)) => {
                assert_eq!(body["deleted"], i64::from(was_there), "{object:?}")
            }
            (200, None) => {}
            (400, _) => assert!(world.is_doomed(object), "{object:?} is not there: {body}"),
            _ => panic!("cancel of {object:?}: {status} {body}"),
        }
        self.likes.insert(object, Some(false));
        Some(())
    }

    fn comment(&mut self, world: &World) -> Option<()> {
        let Some(tweet) = world.any(&mut self.dice, Some("tweet")) else { return Some(()) };
        let body = json!({"tweet_id": tweet.1, "content": "in the storm"});
        let (status, body) = self.ask("POST", "/api/comments/", &body)?;
        match status {
            201 => self.made(world, ("comment", id(&body)), tweet.1),
            400 => assert!(world.is_doomed(tweet), "{tweet:?} is not there: {body}"),
            _ => panic!("comment on {tweet:?}: {status} {body}"),
        }
        Some(())
    }

    fn tweet(&mut self, world: &World) -> Option<()> {
        let (status, body) =
            self.ask("POST", "/api/tweets/", &json!({"content": "in the storm"}))?;
        assert_eq!(status, 201, "{body}");
        self.made(world, ("tweet", id(&body)), 0);
        Some(())
    }

    fn made(&mut self, world: &World, object: Object, tweet: i64) {
        self.own.insert(object, (Some(true), tweet));
        world.add(object, tweet);
    }

    fn delete(&mut self, world: &World, kind: &str) -> Option<()> {
        let is_there = |(object, (there, _)): (&Object, &(Option<bool>, i64))| {
            (object.0 == kind && *there == Some(true)).then_some(*object)
        };
        let there: Vec<Object> = self.own.iter().filter_map(is_there).collect();
        if there.is_empty() {
            return Some(());
        }
        let object = there[self.dice.random_range(0..there.len())];
        let tweet = self.own[&object].1;
        world.doom(object);
        self.own.insert(object, (None, tweet));
        let path = format!("/api/{}s/{}/", object.0, object.1);
        let (status, body) = self.ask("DELETE", &path, &json!({}))?;
        match status {
            200 => drop(world.dead.lock().unwrap().insert(object)),
            404 => assert!(world.is_doomed(("tweet", tweet)), "{object:?} is not there: {body}"),
            _ => panic!("deletion of {object:?}: {status} {body}"),
        }
        self.own.insert(object, (Some(false), tweet));
        Some(())
    }
}
