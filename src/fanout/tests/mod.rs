//! The ordered writer without its actor: a test says what is committed when, round by round.

mod belongings;
mod crash;
mod fairness;
mod isolation;
mod model;
mod nodes;
mod order;
mod photos;
mod races;
mod retention;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::core::{Core, Worked};
use super::rounds::Pace;
use super::{Audience, Effects, Op, Outcome, Post, WriteError, WriterConfig};
use crate::redis_tier::RedisTier;
use crate::store::counts::tests::add_user;
use crate::store::schema::{fanout_tasks, profiles};
use crate::store::testing::TestDb;
use crate::store::{Conn, StoreError, newsfeeds, on, tweets};
use crate::time::Clock;
use crate::timeline::{Entry, Range, TimelineKey, Window};

/// Rounds after which a test says that the tasks never end.
const MOST_ROUNDS: usize = 500;

/// Entries that a cached window keeps here.
const WINDOW: usize = 4;

/// Small steps, so that a handful of rows makes several rounds.
const SMALL: Pace = pace(2, 2);

/// Rounds of a fixed size, and steps of removals of another.
pub(super) const fn pace(rows: usize, sweep_rows: usize) -> Pace {
    Pace { least_rows: rows, most_rows: rows, share_rows: rows, sweep_rows, backfill_rows: 2 }
}

/// Keeps every effect and cached windows, as the timelines of a node do.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) told: Mutex<Vec<Effects>>,
    windows: Mutex<HashMap<TimelineKey, Window>>,
    /// Photos that were to be deleted.
    pub(super) discarded: Mutex<Vec<String>>,
    /// Whether the photo store works.
    pub(super) discards_fail: AtomicBool,
}

impl Audience for Recorder {
    fn tell(&self, effects: &Effects) {
        let mut windows = self.windows.lock();
        let mut push = |key: TimelineKey, entry: Entry| {
            if let Some(window) = windows.get_mut(&key) {
                window.push(entry);
            }
        };
        for (key, entry) in &effects.pushes {
            push(*key, *entry);
        }
        for delivered in &effects.deliveries {
            for reader in &delivered.readers {
                push(TimelineKey::Home(*reader), delivered.entry);
            }
        }
        for removed in &effects.removals {
            for key in &removed.keys {
                if let Some(window) = windows.get_mut(key) {
                    window.remove(removed.tweet_id);
                }
            }
        }
        for (key, amendment) in &effects.amended {
            if let Some(window) = windows.get_mut(key) {
                window.amend(amendment);
            }
        }
        for key in &effects.changed {
            windows.remove(key);
        }
        self.told.lock().push(effects.clone());
    }

    fn tell_outside<'a>(&'a self, _: &'a Effects, _: Option<u64>) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn discard<'a>(&'a self, urls: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            if self.discards_fail.load(Ordering::Relaxed) {
                return Err("planned by a test".to_owned());
            }
            self.discarded.lock().extend_from_slice(urls);
            Ok(())
        })
    }

    fn distrust_everything(&self) {
        self.windows.lock().clear();
    }
}

/// A writer over a database with users 1 to 40, driven by hand.
pub(super) struct Desk<'a> {
    pub(super) test: &'a TestDb,
    pub(super) core: Core,
    pub(super) audience: Arc<Recorder>,
}

pub(super) const DEFAULTS: WriterConfig =
    WriterConfig { backfill: 20, remove_on_unfollow: true, retention: None };

impl<'a> Desk<'a> {
    pub(super) fn open(test: &'a TestDb) -> Self {
        Self::with(test, DEFAULTS, SMALL, Clock::system())
    }

    pub(super) fn with(test: &'a TestDb, config: WriterConfig, pace: Pace, clock: Clock) -> Self {
        let audience = Arc::new(Recorder::default());
        let redis = RedisTier::disabled();
        let mut core = Core::new(test.db.clone(), clock, config, redis, audience.clone());
        core.pace = pace;
        Desk { test, core, audience }
    }

    /// Commits `ops` as one group.
    pub(super) async fn group(&self, ops: Vec<Op>) -> Vec<Result<Outcome, WriteError>> {
        let mut answers = BTreeMap::new();
        self.core
            .commit_group(ops, |place, result| {
                assert!(answers.insert(place, result).is_none(), "answered twice");
            })
            .await;
        answers.into_values().collect()
    }

    pub(super) async fn one(&self, op: Op) -> Outcome {
        self.group(vec![op]).await.remove(0).expect("a success")
    }

    pub(super) async fn post(&self, user_id: i64) -> i64 {
        match self.one(post(user_id)).await {
            Outcome::Posted(posted) => posted.tweet_id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn follow(&self, from: i64, to: i64) -> bool {
        self.one(Op::Follow { from, to }).await == Outcome::Followed(true)
    }

    pub(super) async fn unfollow(&self, from: i64, to: i64) -> bool {
        self.one(Op::Unfollow { from, to }).await == Outcome::Unfollowed(true)
    }

    pub(super) async fn delete(&self, user_id: i64, tweet_id: i64) {
        assert_eq!(self.one(Op::Delete { user_id, tweet_id }).await, Outcome::Deleted);
    }

    /// One round; whether there was anything to do.
    pub(super) async fn round(&self) -> bool {
        let Worked { more, discards } = self.core.work_round().await.expect("a round");
        for discard in discards {
            self.core.discard(discard).await;
        }
        more
    }

    /// Rounds until nothing is open.
    pub(super) async fn settle(&self) -> usize {
        for rounds in 0..MOST_ROUNDS {
            if !self.round().await {
                assert_eq!(open_tasks(self.test), 0, "no work, but open tasks");
                return rounds;
            }
        }
        panic!("the tasks do not end");
    }

    /// Tweets of a reader's feed, newest first, as the database has them.
    pub(super) fn feed(&self, reader: i64) -> Vec<i64> {
        entries(self.test, TimelineKey::Home(reader)).iter().map(|entry| entry.tweet_id).collect()
    }

    pub(super) fn feed_set(&self, reader: i64) -> BTreeSet<i64> {
        let feed = self.feed(reader);
        let set: BTreeSet<i64> = feed.iter().copied().collect();
        assert_eq!(
            set.len(),
            feed.len(),
            "{}: {reader} has a tweet twice: {feed:?}",
            self.test.name
        );
        set
    }

    /// Loads a window where there is none and compares those that are there with the database.
    pub(super) fn check_windows(&self, readers: impl Iterator<Item = i64>) {
        let mut windows = self.audience.windows.lock();
        for key in readers.flat_map(|id| [TimelineKey::Home(id), TimelineKey::Author(id)]) {
            let all = entries(self.test, key);
            let window = windows.entry(key).or_insert_with(|| {
                let newest = all.iter().take(WINDOW).copied().collect();
                Window::new(newest, all.len() <= WINDOW, WINDOW)
            });
            let found = window.find(Range::ALL, usize::MAX);
            let mut answer = found.entries;
            if let Some(rest) = found.unknown {
                answer.extend(all.iter().filter(|entry| entry.created_at < rest.older_than));
            }
            assert_eq!(answer, all, "{}: {key:?}: memory and database differ", self.test.name);
        }
    }
}

pub(super) fn post(user_id: i64) -> Op {
    Op::Post(Post { user_id, content: "hello".into(), photo_urls: Vec::new(), idempotent: None })
}

pub(super) fn read<T>(
    test: &TestDb,
    body: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
) -> T {
    test.db.read_blocking(body).unwrap()
}

pub(super) fn entries(test: &TestDb, key: TimelineKey) -> Vec<Entry> {
    read(test, |conn| {
        Ok(match key {
            TimelineKey::Home(reader) => newsfeeds::page(conn, reader, Range::ALL, 100_000)?,
            TimelineKey::Author(author) => tweets::page(conn, author, Range::ALL, 100_000)?,
        })
    })
}

pub(super) fn open_tasks(test: &TestDb) -> i64 {
    read(test, |conn| {
        Ok(on!(conn, |c| fanout_tasks::table
            .filter(fanout_tasks::finished_at.is_null())
            .count()
            .get_result(c))?)
    })
}

/// Runs statements that the test wants to differ from what the store does.
pub(super) fn execute(test: &TestDb, statements: &str) {
    test.db.write_blocking(|conn| Ok(on!(conn, |c| c.batch_execute(statements))?)).unwrap();
}

/// Adds users 1 to `count`.
pub(super) fn add_users(test: &TestDb, count: i64) {
    test.db
        .write_blocking(|conn| {
            for id in 1..=count {
                add_user(conn, id)?;
                on!(conn, |c| diesel::insert_into(profiles::table)
                    .values(profiles::user_id.eq(id))
                    .execute(c))?;
            }
            Ok(())
        })
        .unwrap();
}

/// Runs `body` inside an actix system on each engine.
pub(super) fn on_both(body: impl AsyncFn(&TestDb)) {
    for test in crate::store::testing::databases() {
        add_users(&test, 40);
        actix_rt::System::new().block_on(body(&test));
    }
}
