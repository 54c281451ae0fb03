//! Kill -9 in the middle of a storm of likes, cancels, comments and deletions: nothing that was
//! acknowledged is lost, nothing is made up, and every count equals its rows.
//!
//! Each member of the storm keeps in mind what the server has acknowledged to them, and what
//! may or may not have happened because no answer came. After each restart the database is
//! compared with that, and all counts with their rows.

mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{App, Setup, effort, id, on_every_setup};
use member::{Member, Object, World};

on_every_setup! {
    mode_13_a_kill_in_the_storm_loses_nothing_acknowledged,
}

/// Changes that are acknowledged before the kill.
const WARM: usize = 60;

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
    let (kills, mut promises) = (effort::rounds(2), 0);
    for _ in 0..kills {
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
        promises += world.acknowledged.load(Ordering::Relaxed);
    }
    println!("{:?}: {kills} kills, {promises} acknowledged writes", app.setup);
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
