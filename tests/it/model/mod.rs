//! Random people against a small model of what must be true: posts, deletes, follows, unfollows,
//! likes, comments, pages and polls of several at once, while the Redis tier loses what it
//! holds, timelines leave memory, and the server restarts or is killed.
//!
//! Every answer is compared with what the reader has seen before ([`view`]) and with what was
//! acknowledged ([`world`]). From time to time everything settles, and then the database and
//! all that is served must be what the model implies ([`expected`]), four ways: warm, with the
//! lists deleted, with Redis emptied, after a restart ([`verdict`]).
//!
//! A run is made of episodes, each with a fresh server and settings of its own, among them
//! whether an unfollow takes out what the follow brought. The seed fixes
//! what everybody draws; with one thread it fixes the run. A failed check names the episode's
//! own seed: `ROOST_TEST_SEED` plays that episode first. `ROOST_TEST_ROUNDS` asks for more
//! rounds of [`ROUND_OPERATIONS`] operations: 250 of them are 200,000. An optimised server
//! (`ROOST_TEST_BINARY`) makes a long run quicker.

mod expected;
mod people;
mod trouble;
mod verdict;
mod view;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use self::people::{Person, Stage};
use self::trouble::Settings;
use self::view::View;
use self::world::{Deed, Doubt, Kind, World};
use crate::harness::{App, Setup, effort, on_every_setup};

on_every_setup! {
    whatever_happens_timelines_do_not_lie,
}

/// Operations between two verdicts, at least.
const ROUND_OPERATIONS: usize = 800;

/// Operations after which the server may be ended.
const BURST_OPERATIONS: usize = 100;

/// Rounds of one server's life. Feeds stay short enough to be paged to their end.
const EPISODE_ROUNDS: usize = 3;

/// How a burst ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Quiet,
    Restart,
    Kill,
}

#[derive(Debug, Default)]
struct Figures {
    operations: usize,
    verdicts: usize,
    restarts: usize,
    kills: usize,
}

fn whatever_happens_timelines_do_not_lie(setup: Setup) {
    let rounds = effort::rounds(1);
    let seed = effort::seed("whatever happens, timelines do not lie");
    let mut figures = Figures::default();
    let mut done = 0;
    for episode in 0.. {
        let rest = rounds - done;
        if rest == 0 {
            break;
        }
        done += play(setup, seed.wrapping_add(episode), rest.min(EPISODE_ROUNDS), &mut figures);
        println!("{setup:?}: {figures:?}");
    }
}

/// One server, from its start to its end; the rounds played.
fn play(setup: Setup, seed: u64, rounds: usize, figures: &mut Figures) -> usize {
    let mut dice = StdRng::seed_from_u64(seed);
    let settings = Settings::draw(&mut dice);
    println!("{setup:?}: an episode with ROOST_TEST_SEED={seed} and {settings:?}");
    let mut app = settings.start(setup);
    let mut people: Vec<Person> = (0..settings.people)
        .map(|number| Person {
            client: app.sign_up(&format!("user{number}")),
            dice: StdRng::seed_from_u64(dice.next_u64()),
            view: View::default(),
            redis: app.redis(),
        })
        .collect();
    let users = people.iter().map(|person| person.client.id).collect();
    let stage = Stage {
        world: Mutex::new(World::of(users, settings.unfollow_removes)),
        ending: AtomicBool::new(false),
        page_size: settings.page_size,
        list_limit: settings.list_limit,
    };
    for _ in 0..rounds {
        let enough = figures.operations + ROUND_OPERATIONS;
        while figures.operations < enough {
            let ending = match dice.random_range(0..10) {
                0..2 => Ending::Kill,
                2 => Ending::Restart,
                _ => Ending::Quiet,
            };
            burst(&mut app, &stage, &mut people, settings.threads, ending, &mut dice, figures);
        }
        verdict::reach(&mut app, &stage, &mut people, settings, &mut dice);
        figures.verdicts += 1;
    }
    rounds
}

/// Some operations of everybody, in the midst of which the server may be ended.
fn burst(
    app: &mut App,
    stage: &Stage,
    people: &mut [Person],
    threads: usize,
    ending: Ending,
    dice: &mut StdRng,
    figures: &mut Figures,
) {
    let (begun, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fatal = dice.random_range(0..BURST_OPERATIONS);
    let (reached, fatal_reached) = mpsc::channel();
    let per_thread = people.len().div_ceil(threads);
    thread::scope(|scope| {
        for group in people.chunks_mut(per_thread) {
            let (reached, begun, answered) = (reached.clone(), &begun, &answered);
            let mut dice = StdRng::seed_from_u64(dice.next_u64());
            scope.spawn(move || {
                loop {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    if number >= BURST_OPERATIONS {
                        return;
                    }
                    if number == fatal {
                        // Nobody waits for it when the burst is to end quietly.
                        let _ = reached.send(());
                    }
                    let person = dice.random_range(0..group.len());
                    if group[person].act(stage).is_err() {
                        return;
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        drop(reached);
        if ending != Ending::Quiet && fatal_reached.recv().is_ok() {
            stage.ending.store(true, Ordering::SeqCst);
            stage.world().note(format!("{ending:?}"));
            match ending {
                Ending::Kill => app.kill9(),
                _ => assert_eq!(app.sigterm(), Some(0), "exit code after SIGTERM"),
            }
        }
    });
    figures.operations += answered.into_inner();
    figures.kills += usize::from(ending == Ending::Kill);
    figures.restarts += usize::from(ending == Ending::Restart);
    if stage.ending.swap(false, Ordering::SeqCst) {
        app.wait_until_disconnected();
        app.start_again();
        let strayed = stage.world().settle(|world, doubt| look(app, world, doubt));
        for person in people.iter_mut().filter(|person| strayed.contains(&person.client.id)) {
            person.view.clear();
        }
    }
}

/// Whether a deed without an answer was done: id and time of what it has made.
fn look(app: &App, _: &World, Doubt { user, deed, .. }: &Doubt) -> Option<(i64, i64)> {
    let made = |query: String| {
        let rows = app.sql_texts(&query);
        let (id, at) = rows.first()?.split_once(' ').expect("two numbers");
        Some((id.parse().expect("an id"), at.parse().expect("a time")))
    };
    let is_there = |query: String| app.sql(&format!("SELECT count(*) AS n FROM {query}")) > 0;
    let done = |is_done: bool| is_done.then_some((0, 0));
    let friendship =
        |to: &i64| format!("friendships WHERE from_user_id = {user} AND to_user_id = {to}");
    let like = |kind: &Kind, id: &i64| {
        let kind = if *kind == Kind::Tweet { 1 } else { 2 };
        format!("likes WHERE user_id = {user} AND kind = {kind} AND object_id = {id}")
    };
    match deed {
        Deed::Post { content } => made(format!(
            "SELECT id || ' ' || created_at AS t FROM tweets WHERE content = '{content}'"
        )),
        Deed::Comment { content, .. } => made(format!(
            "SELECT id || ' ' || created_at AS t FROM comments WHERE content = '{content}'"
        )),
        Deed::Delete { tweet } => {
            done(!is_there(format!("tweets WHERE id = {tweet} AND deleted_at IS NULL")))
        }
        Deed::Erase { comment } => done(!is_there(format!("comments WHERE id = {comment}"))),
        Deed::Follow { to } => done(is_there(friendship(to))),
        Deed::Unfollow { to } => done(!is_there(friendship(to))),
        Deed::Like { kind, id } => done(is_there(like(kind, id))),
        Deed::Unlike { kind, id } => done(!is_there(like(kind, id))),
    }
}

/// A time of the API in microseconds.
fn micros(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros()
}

/// The same for a cursor.
fn iso(micros: i64) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros).expect("a time");
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
