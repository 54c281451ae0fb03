//! Timeline actors with neighbours that a test holds in its hand: no sleeps, no luck.

mod cached;
mod races;
mod tiers;

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

/// The timeline of most tests.
const HOME: TimelineKey = TimelineKey::Home(1);

fn entry(at: i64) -> Entry {
    Entry { created_at: Timestamp(at), tweet_id: at * 10 }
}

fn entries(times: impl IntoIterator<Item = i64>) -> Vec<Entry> {
    times.into_iter().map(entry).collect()
}

/// What the next load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Succeed,
    Fail,
    Panic,
}

/// A database in a list. Loads pass two breakpoints: before the rows are read and between
/// reading and answering.
struct FakeSource {
    /// Newest first.
    rows: Mutex<Vec<Entry>>,
    loads: AtomicUsize,
    pages: AtomicUsize,
    plan: Mutex<Plan>,
    /// Loads that have begun.
    started: Semaphore,
    /// Loads that may read their rows.
    may_read: Semaphore,
    /// Loads that have read.
    read: Semaphore,
    /// Loads that may answer.
    may_answer: Semaphore,
}

impl FakeSource {
    /// All breakpoints open.
    fn new(times: impl IntoIterator<Item = i64>) -> Arc<FakeSource> {
        let source = FakeSource::stopped(times);
        source.may_read.add_permits(1_000);
        source.may_answer.add_permits(1_000);
        source
    }

    /// All breakpoints closed.
    fn stopped(times: impl IntoIterator<Item = i64>) -> Arc<FakeSource> {
        Arc::new(FakeSource {
            rows: Mutex::new(entries(times)),
            loads: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            plan: Mutex::new(Plan::Succeed),
            started: Semaphore::new(0),
            may_read: Semaphore::new(0),
            read: Semaphore::new(0),
            may_answer: Semaphore::new(0),
        })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// A commit: the entry is in the database, in its place.
    fn commit(&self, new: Entry) {
        let mut rows = self.rows.lock();
        rows.push(new);
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
    }

    /// A commit: the tweet's entries are gone.
    fn delete(&self, tweet_id: i64) {
        self.rows.lock().retain(|row| row.tweet_id != tweet_id);
    }

    fn range(&self, range: Range, want: usize) -> Vec<Entry> {
        let rows = self.rows.lock();
        let inside =
            |row: &&Entry| row.created_at < range.older_than && row.created_at > range.newer_than;
        rows.iter().filter(inside).take(want).copied().collect()
    }
}

/// Waits for a breakpoint and leaves it used up.
async fn pass(breakpoint: &Semaphore) {
    breakpoint.acquire().await.expect("never closed").forget();
}

/// The source as the actors get it.
struct Handle(Arc<FakeSource>);

impl TimelineSource for Handle {
    fn load(&self, _: TimelineKey, limit: usize) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let source = self.0.clone();
        Box::pin(async move {
            source.loads.fetch_add(1, Ordering::SeqCst);
            source.started.add_permits(1);
            pass(&source.may_read).await;
            let mut entries = source.range(Range::ALL, limit + 1);
            source.read.add_permits(1);
            pass(&source.may_answer).await;
            match *source.plan.lock() {
                Plan::Succeed => {}
                Plan::Fail => return Err(StoreError::Unavailable("planned".into())),
                Plan::Panic => panic!("planned"),
            }
            let complete = entries.len() <= limit;
            entries.truncate(limit);
            Ok(Loaded { entries, complete, from: LoadedFrom::Database })
        })
    }

    fn page(
        &self,
        _: TimelineKey,
        range: Range,
        want: usize,
    ) -> BoxFuture<'static, Result<Vec<Entry>, StoreError>> {
        self.0.pages.fetch_add(1, Ordering::SeqCst);
        let page = self.0.range(range, want);
        Box::pin(async move { Ok(page) })
    }
}

fn timelines(source: &Arc<FakeSource>, limit: usize) -> Timelines {
    let config = TimelinesConfig {
        list_limit: limit,
        resident_entries: 1_000_000,
        idle: Duration::from_secs(3600),
    };
    Timelines::new(config, Arc::new(Handle(source.clone())))
}

/// The first `want` entries.
async fn first(timelines: &Timelines, want: usize) -> Vec<Entry> {
    timelines.page(HOME, Range::ALL, want).await.expect("a page").entries
}

/// Everything, page by page.
async fn walk(timelines: &Timelines, size: usize) -> Vec<Entry> {
    let mut range = Range::ALL;
    let mut all = Vec::new();
    loop {
        let page = timelines.page(HOME, range, size).await.expect("a page").entries;
        let Some(last) = page.last() else { return all };
        range = range.below(last.created_at);
        all.extend(page);
    }
}
