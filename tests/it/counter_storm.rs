//! Kill -9 in the middle of a storm of likes, cancels, comments and deletions: nothing that was
//! acknowledged is lost, nothing is made up, and every count equals its rows.
//!
//! Each member of the storm keeps in mind what the server has acknowledged to them, and what
//! may or may not have happened because no answer came. After each restart the database is
//! compared with that, and all counts with their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{App, Client, Setup, Value, effort, id, json, on_every_setup};

on_every_setup! {
    mode_13_a_kill_in_the_storm_loses_nothing_acknowledged,
}

/// Changes that are acknowledged before the kill.
const WARM: usize = 60;

/// A tweet or comment, by the content type that the API calls it.
type Object = (&'static str, i64);

/// What is there to be liked and talked about.
#[derive(Default)]
struct World {
    objects: Mutex<Vec<Object>>,
    /// Under which tweet a comment stands.
    tweet_of: Mutex<BTreeMap<i64, i64>>,
    /// Those whose deletion has been asked for.
    doomed: Mutex<BTreeSet<Object>>,
    /// Those whose deletion has been acknowledged.
    dead: Mutex<BTreeSet<Object>>,
    acknowledged: AtomicUsize,
    over: AtomicBool,
}

impl World {
    fn any(&self, dice: &mut StdRng, kind: Option<&str>) -> Option<Object> {
        let objects = self.objects.lock().unwrap();
        let fitting: Vec<Object> = objects
            .iter()
            .filter(|object| kind.is_none_or(|kind| object.0 == kind))
            .copied()
            .collect();
        (!fitting.is_empty()).then(|| fitting[dice.random_range(0..fitting.len())])
    }

    fn add(&self, object: Object, tweet: i64) {
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

    fn is_dead(&self, object: Object) -> bool {
        self.falls_under(&self.dead, object)
    }

    fn is_doomed(&self, object: Object) -> bool {
        self.falls_under(&self.doomed, object)
    }

    fn doom(&self, object: Object) {
        self.objects.lock().unwrap().retain(|other| *other != object);
        self.doomed.lock().unwrap().insert(object);
    }
}

/// Somebody in the storm. `None`: no answer came, so it may or may not be so.
struct Member {
    client: Client,
    dice: StdRng,
    likes: BTreeMap<Object, Option<bool>>,
    /// Own tweets and comments: whether they exist; a comment with its tweet.
    own: BTreeMap<Object, (Option<bool>, i64)>,
}

impl Member {
    /// Goes on until the server is gone.
    fn rage(&mut self, world: &World) {
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

fn mode_13_a_kill_in_the_storm_loses_nothing_acknowledged(mut app: App) {
    let mut dice = StdRng::seed_from_u64(effort::seed("the storm"));
    let mut members: Vec<Member> = (0..8)
        .map(|number| Member {
            client: app.sign_up(&format!("member{number}")),
            dice: StdRng::seed_from_u64(dice.random()),
            likes: BTreeMap::new(),
            own: BTreeMap::new(),
        })
        .collect();
    let world = World::default();
    let keeper = app.sign_up("keeper");
    for tweet in keeper.tweets(3) {
        let comment = id(&keeper.comment(tweet, "like me"));
        world.add(("tweet", tweet), 0);
        world.add(("comment", comment), tweet);
    }
    for _ in 0..effort::rounds(2) {
        world.acknowledged.store(0, Ordering::Relaxed);
        world.over.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for member in &mut members {
                scope.spawn(|| member.rage(&world));
            }
            let begun = Instant::now();
            while world.acknowledged.load(Ordering::Relaxed) < WARM {
                assert!(begun.elapsed() < Duration::from_secs(30), "hardly a change goes through");
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(dice.random_range(0..80_000)));
            app.kill9();
            world.over.store(true, Ordering::Relaxed);
        });
        wait_until_disconnected(&app);
        app.start_again();
        app.quiesce();
        compare(&app, &world, &mut members);
        app.assert_counts_match_rows();
        app.assert_check_passes();
    }
}

/// Until PostgreSQL has seen that a killed server is gone, a commit that it had asked for may
/// still go through.
fn wait_until_disconnected(app: &App) {
    if app.setup == Setup::Sqlite {
        return;
    }
    let asked = Instant::now();
    let others = "SELECT count(*) AS n FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while app.sql(others) > 0 {
        assert!(asked.elapsed() < Duration::from_secs(10), "still connected");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The database against what everybody has been told. What was unknown is known then.
fn compare(app: &App, world: &World, members: &mut [Member]) {
    let set = |query: &str| -> BTreeSet<i64> { app.sql_list(query).into_iter().collect() };
    let tweets = set("SELECT id AS n FROM tweets WHERE deleted_at IS NULL");
    let comments = set("SELECT id AS n FROM comments");
    let there = |object: Object| match object.0 {
        "tweet" => tweets.contains(&object.1),
        _ => comments.contains(&object.1),
    };
    for Member { client, likes, own, .. } in members {
        for (object, (known, tweet)) in own.iter_mut() {
            let (stored, name) = (there(*object), &client.username);
            match known {
                Some(true) if !stored => {
                    let with_its_tweet = object.0 == "comment" && !tweets.contains(tweet);
                    assert!(with_its_tweet, "{object:?} of {name} was acknowledged and lost");
                }
                Some(false) => assert!(!stored, "{object:?} of {name} has come back"),
                _ => {}
            }
            *known = Some(stored);
        }
        for (kind, code) in [("tweet", 1), ("comment", 2)] {
            let rows = set(&format!(
                "SELECT object_id AS n FROM likes WHERE user_id = {} AND kind = {code}",
                client.id
            ));
            let of_kind = |(object, _): &(&Object, &mut Option<bool>)| object.0 == kind;
            for (object, known) in likes.iter_mut().filter(of_kind) {
                let (stored, name) = (rows.contains(&object.1), &client.username);
                match known {
                    Some(true) => {
                        assert!(stored || !there(*object), "{name}'s like of {object:?} was lost");
                    }
                    Some(false) => assert!(!stored, "{name}'s like of {object:?} has come back"),
                    None => {}
                }
                assert!(!stored || there(*object), "{name} likes {object:?}, which is gone");
                *known = Some(stored);
            }
            for object in rows {
                assert!(likes.contains_key(&(kind, object)), "nobody has asked for this like");
            }
        }
    }
    let mut objects = world.objects.lock().unwrap();
    for object in objects.iter().filter(|object| object.0 == "tweet") {
        assert!(there(*object), "{object:?} is gone, and nobody has deleted it");
    }
    objects.retain(|object| there(*object));
    for tweet in objects.iter().filter(|object| object.0 == "tweet").take(5) {
        let page = app.anonymous().tweet_page(tweet.1);
        let rows = |from: &str| app.sql(&format!("SELECT count(*) AS n FROM {from} = {}", tweet.1));
        assert_eq!(page["likes_count"], rows("likes WHERE kind = 1 AND object_id"), "{tweet:?}");
        assert_eq!(page["comments_count"], rows("comments WHERE tweet_id"), "{tweet:?}");
    }
}
