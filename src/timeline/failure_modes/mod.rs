//! A test for each failure mode of a cached timeline, over a source whose every step waits for
//! the test; and the same checks against a naive cache, which must fail them.

mod lifecycle;
mod loads;
mod naive;
mod pages;
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
    LoadStarted,
    RowsRead,
}

/// What a load is to end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Panic,
}

#[derive(Default)]
struct Gates(Mutex<BTreeMap<Point, Arc<(Semaphore, Semaphore)>>>);

/// A database of one timeline, with breakpoints and planned failures.
#[derive(Default)]
struct Stage {
    rows: Mutex<Vec<Entry>>,
    plans: Mutex<VecDeque<Plan>>,
    gates: Gates,
    loads: AtomicUsize,
    pages: AtomicUsize,
}

fn entry(at: i64) -> Entry {
    Entry { created_at: Timestamp(at), tweet_id: at * 10 }
}

impl Stage {
    fn with(moments: std::ops::RangeInclusive<i64>) -> Arc<Stage> {
        let stage = Stage::default();
        *stage.rows.lock() = moments.map(entry).collect();
        Arc::new(stage)
    }

    /// Every load stops at `point` until it is opened.
    fn hold(&self, point: Point) {
        self.gates.0.lock().insert(point, Arc::new((Semaphore::new(0), Semaphore::new(0))));
    }

    fn gate(&self, point: Point) -> Option<Arc<(Semaphore, Semaphore)>> {
        self.gates.0.lock().get(&point).cloned()
    }

    /// Waits until a load stands at `point`.
    async fn reached(&self, point: Point) {
        self.gate(point).expect("held").0.acquire().await.unwrap().forget();
    }

    /// Lets every load pass `point` from now on.
    fn open(&self, point: Point) {
        let gate = self.gates.0.lock().remove(&point).expect("held");
        gate.1.add_permits(1_000);
    }

    async fn pass(&self, point: Point) {
        if let Some(gate) = self.gate(point) {
            gate.0.add_permits(1);
            gate.1.acquire().await.unwrap().forget();
        }
    }

    fn add(&self, at: i64) {
        self.rows.lock().push(entry(at));
    }

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
}

/// The stage as a source.
struct Staged(Arc<Stage>);

impl TimelineSource for Staged {
    fn load(&self, _: TimelineKey, limit: usize) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let stage = self.0.clone();
        Box::pin(async move {
            stage.loads.fetch_add(1, Ordering::SeqCst);
            stage.pass(Point::LoadStarted).await;
            let mut entries = stage.range(Range::ALL, limit + 1);
            let complete = entries.len() <= limit;
            entries.truncate(limit);
            stage.pass(Point::RowsRead).await;
            let plan = stage.plans.lock().pop_front();
            match plan {
                Some(Plan::Panic) => panic!("planned by a test"),
                None => Ok(Loaded { entries, complete, from: LoadedFrom::Database }),
            }
        })
    }

    fn page(
        &self,
        _: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        self.0.pages.fetch_add(1, Ordering::SeqCst);
        let found = self.0.range(range, want);
        Box::pin(async move { Ok(found) })
    }
}

fn config() -> TimelinesConfig {
    TimelinesConfig { list_limit: LIMIT, resident_entries: 1_000, idle: Duration::from_secs(3_600) }
}

fn timelines(stage: &Arc<Stage>) -> Timelines {
    Timelines::new(config(), Arc::new(Staged(stage.clone())))
}

async fn all(timelines: &Timelines) -> Vec<Entry> {
    timelines.page(ME, Range::ALL, 10_000).await.expect("a page").entries
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
