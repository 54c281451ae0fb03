//! A store that delays, fails and panics when told to, and caches that remember what they hear.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::counter::{
    AfterCommit, Answer, BatchStore, CacheGuard, CachePermit, Changes, CommitError, Committed,
    CountSink, Doubt, Fate, LikeKey, LikeKind, Liked, Neighbours, NoRemote, Operation, Part,
    Refusal, RemoteSink, TransactionHook,
};
use crate::store::StoreError;
use crate::time::Timestamp;

/// The user whose likes break a constraint.
pub(super) const POISONED: i64 = 666;

/// A like of tweet 1.
pub(super) fn by(user_id: i64) -> LikeKey {
    LikeKey { user_id, kind: LikeKind::Tweet, object_id: 1 }
}

/// Lets everything run on this thread that can run without time passing.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A database without caches.
pub(super) fn alone(store: Arc<dyn BatchStore>) -> Neighbours {
    let (remote, guard) = (Arc::new(NoRemote), Arc::new(NoRemote));
    Neighbours { store, sinks: Vec::new(), remote, guard }
}

/// A database, and one who plays the caches in this process and outside.
pub(super) fn heard_by(sink: &Arc<Recorder>, store: Arc<dyn BatchStore>) -> Neighbours {
    Neighbours { sinks: vec![sink.clone()], remote: sink.clone(), ..alone(store) }
}

/// What the next transaction does instead of succeeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Fails and has not happened.
    Unavailable,
    /// Happens; the answer is lost. The number is how often its fate is still open.
    LostAnswer(usize),
    /// Does not happen; nor does an answer come.
    LostRequest,
    /// As [`Fault::LostRequest`], and nobody can tell.
    LostForGood,
    /// Panics.
    Panic,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) likes: HashSet<LikeKey>,
    pub(super) batches: Vec<usize>,
    pub(super) faults: VecDeque<Fault>,
}

/// Likes in memory. Each transaction waits for a turn.
pub(super) struct FakeStore {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) turns: Arc<Semaphore>,
}

impl FakeStore {
    /// A store whose transactions take no time.
    pub(super) fn fast() -> Arc<FakeStore> {
        Self::with_turns(Semaphore::MAX_PERMITS)
    }

    /// A store whose transactions wait until the test gives them a turn.
    pub(super) fn with_turns(turns: usize) -> Arc<FakeStore> {
        let turns = Arc::new(Semaphore::new(turns));
        Arc::new(FakeStore { state: Arc::default(), turns })
    }

    pub(super) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.extend(faults);
    }

    pub(super) fn batches(&self) -> Vec<usize> {
        self.state.lock().batches.clone()
    }
}

impl BatchStore for FakeStore {
    fn blocks(&self) -> bool {
        false
    }

    fn commit(
        &self,
        part: Part,
        _: TransactionHook,
        after: AfterCommit,
    ) -> BoxFuture<'static, Result<Committed, CommitError>> {
        let (state, turns) = (self.state.clone(), self.turns.clone());
        Box::pin(async move {
            turns.acquire().await.expect("never closed").forget();
            let fault = {
                let mut state = state.lock();
                state.batches.push(part.operations().len());
                state.faults.pop_front()
            };
            match fault {
                Some(Fault::Unavailable) => {
                    return Err(CommitError::Not(StoreError::Unavailable("down".into())));
                }
                Some(Fault::LostRequest) => {
                    return Err(CommitError::Unknown(Box::new(FakeDoubt { open: 0, fate: None })));
                }
                Some(Fault::LostForGood) => return Err(CommitError::Unknown(Box::new(Unknowable))),
                Some(Fault::Panic) => panic!("the store panics, as the test has asked"),
                Some(Fault::LostAnswer(_)) | None => {}
            }
            let carried_out = state.lock().carry_out(part.operations());
            let mut done = carried_out.map_err(CommitError::Not)?;
            match fault {
                Some(Fault::LostAnswer(open)) => {
                    let fate = Some((done, after));
                    Err(CommitError::Unknown(Box::new(FakeDoubt { open, fate })))
                }
                _ => {
                    after(&mut done);
                    Ok(done)
                }
            }
        })
    }
}

impl State {
    fn carry_out(&mut self, operations: &[Operation]) -> Result<Committed, StoreError> {
        let mut done = Committed { answers: Vec::new(), changes: Changes::default() };
        let mut likes = self.likes.clone();
        for operation in operations {
            done.answers.push(match operation {
                Operation::Like(key) if key.user_id == POISONED => {
                    return Err(StoreError::Query(diesel::result::Error::NotFound));
                }
                Operation::Like(key) => {
                    let created = likes.insert(*key);
                    done.changes.likes.push((*key, true));
                    Ok(Answer::Liked(Liked { created_at: Timestamp(1), created }))
                }
                Operation::Unlike(key) => {
                    done.changes.likes.push((*key, false));
                    Ok(Answer::Unliked(likes.remove(key)))
                }
                _ => Err(Refusal::Missing),
            });
        }
        self.likes = likes;
        Ok(done)
    }
}

struct FakeDoubt {
    open: usize,
    fate: Option<(Committed, AfterCommit)>,
}

impl Doubt for FakeDoubt {
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>> {
        let fate = if self.open > 0 {
            self.open -= 1;
            Fate::Open
        } else {
            self.fate.take().map_or(Fate::NotCommitted, |(mut done, after)| {
                after(&mut done);
                Fate::Committed(done)
            })
        };
        Box::pin(std::future::ready(Ok(fate)))
    }
}

struct Unknowable;

impl Doubt for Unknowable {
    fn settle(&mut self) -> BoxFuture<'_, Result<Fate, StoreError>> {
        Box::pin(std::future::ready(Ok(Fate::Unknowable)))
    }
}

/// Records what it is told; publishes only in turn.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) applied: Mutex<Vec<Changes>>,
    pub(super) published: Arc<Mutex<Vec<Changes>>>,
    pub(super) turns: Option<Arc<Semaphore>>,
}

impl CountSink for Recorder {
    fn apply(&self, changes: &Changes) {
        self.applied.lock().push(changes.clone());
    }
}

impl RemoteSink for Recorder {
    fn publish(&self, changes: Changes) -> BoxFuture<'static, ()> {
        let (published, turns) = (self.published.clone(), self.turns.clone());
        Box::pin(async move {
            if let Some(turns) = turns {
                turns.acquire().await.expect("never closed").forget();
            }
            published.lock().push(changes);
        })
    }
}

/// Counts permits.
#[derive(Default, Clone)]
pub(super) struct Guard {
    pub(super) held: Arc<AtomicUsize>,
    pub(super) done: Arc<AtomicUsize>,
}

impl CacheGuard for Guard {
    fn begin(&self) -> BoxFuture<'static, Box<dyn CachePermit>> {
        self.held.fetch_add(1, Ordering::SeqCst);
        let permit = self.clone();
        Box::pin(async move { Box::new(permit) as Box<dyn CachePermit> })
    }
}

impl CachePermit for Guard {
    fn hook(&self) -> TransactionHook {
        Box::new(|_| Ok(()))
    }

    fn committed(&self) {}

    fn aborted(self: Box<Self>) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    fn done(self: Box<Self>) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}
