//! Timelines over a source whose every step waits for the test: no sleeps, no luck.
//!
//! A test is named after the failure mode that it rules out, as numbered here: 1 double load,
//! 2 push to a list that goes, 3 stale load over a newer push, 4 short list taken for the whole,
//! 5 list without a time to live, 6 commits out of the order of their times, 7 equal times,
//! 8 page across the end of the cache, 9 more newer entries than are cached, 10 removal during
//! a delivery or load, 17 herd of readers, 19 dead, full or evicted actor, 21 follow and
//! unfollow, 22 idle timelines. Modes 6 and 7 are kept by the database: see the tests of
//! `store::clock` and `store::newsfeeds`; 21 by the writer: see `fanout::tests`.

mod amendments;
mod deliveries;
mod direct;
mod fills;
mod lifecycle;
mod loads;
mod memory;
mod naive;
mod pages;
mod streams;
mod tiers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    Entry, Loaded, LoadedFrom, Range, TimelineKey, TimelineSource, Timelines, TimelinesConfig,
};
use crate::store::StoreError;
use crate::time::Timestamp;

const ME: TimelineKey = TimelineKey::Home(1);
const LIMIT: usize = 20;

/// Moments at which a source can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// A load has been asked for; nothing has been read.
    LoadStarted,
    /// The rows of a load have been read; nobody has them yet.
    RowsRead,
    /// A page below the window has been asked for.
    PageStarted,
    /// The database's newest entry is about to be compared with a Redis list that has just
    /// been read or written.
    Comparing,
}

/// What a step is to end with, instead of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Fail,
    Panic,
}

/// One gate: who has come to it, and who may pass.
type Gate = Arc<(Semaphore, Semaphore)>;

/// A database of one timeline, with breakpoints and planned failures.
#[derive(Default)]
struct Stage {
    rows: Mutex<Vec<Entry>>,
    plans: Mutex<BTreeMap<Point, VecDeque<Plan>>>,
    gates: Mutex<BTreeMap<Point, Gate>>,
    loads: AtomicUsize,
    pages: AtomicUsize,
}

fn entry(at: i64) -> Entry {
    Entry { created_at: Timestamp(at), tweet_id: at * 10 }
}

fn entries(times: impl IntoIterator<Item = i64>) -> Vec<Entry> {
    times.into_iter().map(entry).collect()
}

impl Stage {
    fn with(moments: std::ops::RangeInclusive<i64>) -> Arc<Stage> {
        let stage = Stage::default();
        *stage.rows.lock() = moments.map(entry).collect();
        Arc::new(stage)
    }

    /// Everybody stops at `point` until it is opened.
    fn hold(&self, point: Point) {
        self.gates.lock().insert(point, Arc::new((Semaphore::new(0), Semaphore::new(0))));
    }

    fn gate(&self, point: Point) -> Option<Gate> {
        self.gates.lock().get(&point).cloned()
    }

    /// Waits until somebody stands at `point`.
    async fn reached(&self, point: Point) {
        self.gate(point).expect("held").0.acquire().await.unwrap().forget();
    }

    /// Lets everybody pass `point` from now on.
    fn open(&self, point: Point) {
        let gate = self.gates.lock().remove(&point).expect("held");
        gate.1.add_permits(1_000);
    }

    /// The next one to pass `point` meets with this.
    fn plan(&self, point: Point, plan: Plan) {
        self.plans.lock().entry(point).or_default().push_back(plan);
    }

    async fn pass(&self, point: Point) -> Result<(), StoreError> {
        if let Some(gate) = self.gate(point) {
            gate.0.add_permits(1);
            gate.1.acquire().await.unwrap().forget();
        }
        let plan = self.plans.lock().get_mut(&point).and_then(VecDeque::pop_front);
        match plan {
            Some(Plan::Fail) => Err(StoreError::Unavailable("planned by a test".into())),
            Some(Plan::Panic) => panic!("planned by a test"),
            None => Ok(()),
        }
    }

    /// A commit: the entry is in the database.
    fn add(&self, at: i64) {
        self.rows.lock().push(entry(at));
    }

    /// A commit: the entry is gone.
    fn drop_row(&self, at: i64) {
        self.rows.lock().retain(|row| row.created_at != Timestamp(at));
    }

    fn range(&self, range: Range, want: usize) -> Vec<Entry> {
        let mut rows: Vec<Entry> = self.rows.lock().clone();
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        rows.retain(|row| row.created_at < range.older_than && row.created_at > range.newer_than);
        rows.truncate(want);
        rows
    }

    fn all(&self) -> Vec<Entry> {
        self.range(Range::ALL, usize::MAX)
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
    }
}

/// The stage as a source.
struct Staged(Arc<Stage>);

impl TimelineSource for Staged {
    fn load(&self, _: TimelineKey, limit: usize) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let stage = self.0.clone();
        Box::pin(async move {
            stage.loads.fetch_add(1, Ordering::SeqCst);
            stage.pass(Point::LoadStarted).await?;
            let mut entries = stage.range(Range::ALL, limit + 1);
            let complete = entries.len() <= limit;
            entries.truncate(limit);
            stage.pass(Point::RowsRead).await?;
            Ok(Loaded { entries, complete, from: LoadedFrom::Database })
        })
    }

    fn page(
        &self,
        _: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        let stage = self.0.clone();
        Box::pin(async move {
            stage.pages.fetch_add(1, Ordering::SeqCst);
            stage.pass(Point::PageStarted).await?;
            Ok(stage.range(range, want))
        })
    }
}

fn config() -> TimelinesConfig {
    TimelinesConfig {
        list_limit: LIMIT,
        resident_entries: 1_000_000,
        idle: Duration::from_secs(3_600),
    }
}

fn timelines(stage: &Arc<Stage>) -> Timelines {
    timelines_with(stage, config())
}

fn timelines_with(stage: &Arc<Stage>, config: TimelinesConfig) -> Timelines {
    Timelines::new(config, Arc::new(Staged(stage.clone())))
}

async fn all(timelines: &Timelines) -> Vec<Entry> {
    timelines.page(ME, Range::ALL, 10_000).await.expect("a page").entries
}

/// The first `want` entries.
async fn first(timelines: &Timelines, want: usize) -> Vec<Entry> {
    timelines.page(ME, Range::ALL, want).await.expect("a page").entries
}

/// A read under way.
fn reading(timelines: &Timelines) -> actix_rt::task::JoinHandle<Vec<Entry>> {
    let timelines = timelines.clone();
    actix_rt::spawn(async move { all(&timelines).await })
}

/// Pages down to the end with one cursor.
async fn walk(timelines: &Timelines, size: usize) -> Vec<Entry> {
    let mut seen: Vec<Entry> = Vec::new();
    loop {
        let range = match seen.last() {
            Some(last) => Range::ALL.below(last.created_at),
            None => Range::ALL,
        };
        let page = timelines.page(ME, range, size).await.expect("a page").entries;
        let is_last = page.len() < size;
        seen.extend(page);
        if is_last {
            return seen;
        }
    }
}
