//! Likes through the counter, without HTTP.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use futures_util::future::{BoxFuture, try_join_all};
use hdrhistogram::Histogram;
use roost::counter::{
    AfterCommit, BatchStore, CommitError, Committed, Counter, DbStore, Limits, Neighbours,
    NoRemote, Part, TransactionHook,
};
use roost::store::Db;
use roost::time::Clock;
use std::sync::Mutex;

use super::{Likes, Seen};
use crate::load::nanoseconds;

/// The store of the counter, and how large its transactions were.
struct Watched {
    store: DbStore,
    sizes: Mutex<Histogram<u64>>,
}

impl BatchStore for Watched {
    fn blocks(&self) -> bool {
        self.store.blocks()
    }

    fn commit(
        &self,
        part: Part,
        hook: TransactionHook,
        after: AfterCommit,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        if let Ok(mut sizes) = self.sizes.lock() {
            sizes.saturating_record(part.operations().len() as u64);
        }
        self.store.commit(part, hook, after)
    }
}

/// Likes for `time`, after a fifth of it to warm up.
///
/// # Errors
/// When a like fails.
pub(super) fn run(db: &Db, likes: &Likes, clients: usize, time: Duration) -> anyhow::Result<Seen> {
    actix::System::new().block_on(async {
        let store = Arc::new(Watched {
            store: DbStore::new(db.clone(), Clock::system()),
            sizes: Mutex::new(Histogram::new(3).context("a histogram")?),
        });
        let neighbours = Neighbours {
            store: store.clone(),
            sinks: Vec::new(),
            remote: Arc::new(NoRemote),
            guard: Arc::new(NoRemote),
        };
        // As in the service: a thread that does nothing else.
        let arbiter = actix::Arbiter::new();
        let counter = Counter::start(neighbours, Limits::default(), arbiter.handle());
        let begin = Instant::now() + time / 5;
        let end = begin + time;
        // One for all clients: each with its own would mostly measure the memory of these.
        let latency = RefCell::new(nanoseconds());
        let loops = (0..clients).map(|_| one(counter.clone(), likes, (begin, end), &latency));
        let all = try_join_all(loops).await;
        counter.flush().await;
        arbiter.stop();
        all?;
        let latency = latency.into_inner();
        let batches = store.sizes.lock().map_err(|_| anyhow!("a thread panicked"))?.clone();
        ensure!(!latency.is_empty(), "no like in {time:?}");
        Ok(Seen { likes: latency.len(), took: time, latency, batches })
    })
}

async fn one(
    counter: Counter,
    likes: &Likes,
    (begin, end): (Instant, Instant),
    latency: &RefCell<Histogram<u64>>,
) -> anyhow::Result<()> {
    loop {
        let asked = Instant::now();
        let liked = counter.like(likes.next()).await?;
        ensure!(liked.created, "a like that was there already");
        let now = Instant::now();
        if now >= end {
            return Ok(());
        }
        if now >= begin {
            latency.borrow_mut().saturating_record((now - asked).as_nanos() as u64);
        }
    }
}
