//! The actor around a [`Window`]: it serialises loads and pushes of one timeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::gauge::{Current, Gauge, Revision, Total};
use super::source::{Loaded, LoadedFrom, TimelineSource};
use super::window::{Found, Window};
use super::{Amendment, Entry, Range, TimelineError, TimelineKey};
use crate::origin::Origin;
use crate::store::StoreError;

/// Messages that may wait for one timeline. A thousand first readers of a cold timeline wait
/// for one load, so it must be more than that.
pub(super) const MAILBOX: usize = 4096;

/// A load that takes longer is given up; its readers get an error and the next one tries again.
const LOAD_LIMIT: Duration = Duration::from_secs(12);

/// After a failed load the readers that had queued up behind it get the same error instead of
/// each waiting for a load of its own.
const FAILURE_LASTS: Duration = Duration::from_millis(100);

pub(super) struct TimelineActor {
    key: TimelineKey,
    limit: usize,
    source: Arc<dyn TimelineSource>,
    failed: Option<(Instant, TimelineError)>,
    gauge: Arc<Gauge>,
    total: Total,
    /// Open streams of this timeline.
    followers: Vec<mpsc::Sender<Entry>>,
}

/// Asks for part of the timeline. Readers that have gone away are not served.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Read {
    pub(super) range: Range,
    pub(super) want: usize,
    pub(super) reply: oneshot::Sender<Result<(Found, LoadedFrom), TimelineError>>,
    /// Where entries go that become visible after this answer.
    pub(super) follow: Option<mpsc::Sender<Entry>>,
    /// For whom a load is made, if one is needed.
    pub(super) origin: Origin,
}

/// A change that has been committed.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub(super) enum Change {
    /// An entry has become visible.
    Push(Entry),
    /// A tweet is gone.
    Remove(i64),
    /// Entries were added or removed below the head. Open streams, which tell of what is new,
    /// say nothing of it.
    Amend(Arc<Amendment>),
    /// Something changed that a push cannot express, or memory is short: load again before the
    /// next answer. Open streams go on.
    Forget,
}

impl TimelineActor {
    pub(super) fn new(
        key: TimelineKey,
        limit: usize,
        source: Arc<dyn TimelineSource>,
        gauge: Arc<Gauge>,
        total: Total,
    ) -> Self {
        let (failed, followers) = (None, Vec::new());
        TimelineActor { key, limit, source, failed, gauge, total, followers }
    }

    /// Drops what must not be served any more. Streams that may have missed an entry end: their
    /// clients come back and say what they have seen.
    fn drop_stale(&mut self) {
        if self.gauge.stale.swap(false, Ordering::AcqRel) {
            self.set(None);
            self.keep_followers(|_| false);
        }
        // The streams have had every entry from its writer, and go on.
        let epoch = self.source.epoch();
        let is_void = |held: &Current| !held.holds_at(epoch);
        if self.gauge.held.read().as_ref().is_some_and(is_void) {
            self.set(None);
        }
    }

    /// Shows what is held, unless it must not be served any more.
    pub(super) fn show<T>(&self, look: impl FnOnce(&Window) -> T) -> Option<T> {
        let is_stale = self.gauge.stale.load(Ordering::Acquire);
        let held = self.gauge.held.read();
        held.as_ref().filter(|_| !is_stale).map(|held| look(&held.window))
    }

    fn answer(&mut self, read: Read, found: Found, from: LoadedFrom) {
        let is_told = read.reply.send(Ok((found, from))).is_ok();
        if let Some(follower) = read.follow.filter(|_| is_told) {
            self.followers.push(follower);
            // A client that comes and goes must not leave a trail until the next push.
            self.keep_followers(|follower| !follower.is_closed());
        }
    }

    fn keep_followers(&mut self, keep: impl FnMut(&mpsc::Sender<Entry>) -> bool) {
        self.followers.retain(keep);
        self.gauge.followers.store(self.followers.len(), Ordering::Relaxed);
    }

    /// Passes an entry on to the open streams. One that does not keep up ends, as does one
    /// whose client has gone.
    fn tell_followers(&mut self, entry: Entry) {
        if !self.followers.is_empty() {
            self.keep_followers(|follower| follower.try_send(entry).is_ok());
        }
    }

    fn apply(&mut self, change: Change) {
        self.drop_stale();
        match &change {
            Change::Push(entry) => self.tell_followers(*entry),
            Change::Forget => self.keep_followers(|follower| !follower.is_closed()),
            Change::Remove(_) | Change::Amend(_) => {}
        }
        let mut held = self.gauge.held.write();
        let Some(Current { window, revision, .. }) = held.as_mut() else {
            // Cold stays cold: the next read loads what has been committed.
            return;
        };
        *revision = Revision::next();
        let is_forgotten = match change {
            Change::Push(entry) => {
                window.push(entry);
                false
            }
            Change::Remove(tweet_id) => {
                window.remove(tweet_id);
                window.is_worn()
            }
            Change::Amend(amendment) => {
                window.amend(&amendment);
                window.is_worn()
            }
            Change::Forget => true,
        };
        if is_forgotten {
            *held = None;
        }
        drop(held);
        self.account();
    }

    fn set(&mut self, held: Option<Current>) {
        *self.gauge.held.write() = held;
        self.account();
    }

    /// Brings the gauge and the sum up to date.
    fn account(&self) {
        let now = self.gauge.held.read().as_ref().map_or(0, |held| held.window.len());
        let before = self.gauge.entries.swap(now, Ordering::Relaxed);
        if now >= before {
            self.total.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.total.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    fn load(
        &self,
        origin: Origin,
    ) -> impl ActorFuture<Self, Output = Result<Loaded, StoreError>> + use<> {
        let loading = origin.scope(self.source.load(self.key, self.limit));
        async move {
            match tokio::time::timeout(LOAD_LIMIT, loading).await {
                Ok(result) => result,
                Err(_) => Err(StoreError::Unavailable("loading a timeline took too long".into())),
            }
        }
        .into_actor(self)
    }

    /// `epoch`: the source's before the load.
    fn loaded(&mut self, result: Result<Loaded, StoreError>, epoch: i64, read: Read) {
        match result {
            Ok(loaded) => {
                metrics::counter!("roost_timeline_loads_total", "source" => loaded.from.label())
                    .increment(1);
                let window = Window::new(loaded.entries, loaded.complete, self.limit);
                let found = window.find(read.range, read.want);
                self.failed = None;
                let epoch = (loaded.from == LoadedFrom::Redis).then_some(epoch);
                self.set(Some(Current { window, revision: Revision::next(), epoch }));
                self.answer(read, found, loaded.from);
            }
            Err(error) => {
                let error = TimelineError::from(error);
                self.failed = Some((Instant::now(), error.clone()));
                let _ = read.reply.send(Err(error));
            }
        }
    }

    fn recent_failure(&self) -> Option<TimelineError> {
        let (at, error) = self.failed.as_ref()?;
        (at.elapsed() < FAILURE_LASTS).then(|| error.clone())
    }
}

impl Actor for TimelineActor {
    type Context = Context<Self>;
}

impl Drop for TimelineActor {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl Handler<Read> for TimelineActor {
    type Result = ();

    fn handle(&mut self, read: Read, ctx: &mut Self::Context) {
        if read.reply.is_closed() {
            return;
        }
        self.drop_stale();
        let held = self.gauge.held.read();
        let found = held.as_ref().map(|held| held.window.find(read.range, read.want));
        drop(held);
        if let Some(found) = found {
            self.answer(read, found, LoadedFrom::Memory);
            return;
        }
        if let Some(error) = self.recent_failure() {
            let _ = read.reply.send(Err(error));
            return;
        }
        // `wait` holds back every later message until the load is done: single flight, and no
        // push can be overtaken by an older load.
        let epoch = self.source.epoch();
        let loading = self.load(read.origin.clone());
        ctx.wait(loading.map(move |result, actor, _| actor.loaded(result, epoch, read)));
    }
}

impl Handler<Change> for TimelineActor {
    type Result = ();

    fn handle(&mut self, change: Change, _: &mut Self::Context) {
        self.apply(change);
        self.gauge.under_way.fetch_sub(1, Ordering::Release);
    }
}

/// Makes the actor panic, as a bug would.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

#[cfg(test)]
impl Handler<Panic> for TimelineActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("planned by a test");
    }
}
