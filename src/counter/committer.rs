//! Carries out a batch whatever happens: finds the poisoned operation, settles what is in
//! doubt, tells this process before anybody is answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::operation::{Answer, CounterError, Operation};
use super::sink::{CacheGuard, CachePermit, Changes, CountSink};
use super::store::{AfterCommit, BatchStore, CommitError, Committed, Doubt, Fate, Part};

/// Transactions of one batch that may be refused before the rest is given up. A batch with one
/// poisoned operation takes about twenty.
const MOST_REFUSALS: usize = 64;

/// How often a part is run again that turned out not to have happened.
const MOST_REPEATS: usize = 2;

/// How long the fate of a transaction is asked for. The server ends one that hangs in half of
/// this. No other batch begins meanwhile.
const DOUBT_LIMIT: Duration = Duration::from_secs(30);

/// Pause between two questions.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// Called once for each operation of a batch with its place and its answer, on any thread.
pub(super) type Answers = Arc<dyn Fn(usize, Result<Answer, CounterError>) + Send + Sync>;

/// What is still to be told outside this process.
pub(super) struct Publication {
    pub(super) changes: Changes,
    /// `None`: in doubt, which the guard learns from the permit's drop.
    pub(super) permit: Option<Box<dyn CachePermit>>,
}

/// See the module.
pub(super) struct Committer {
    pub(super) store: Arc<dyn BatchStore>,
    pub(super) sinks: Arc<[Arc<dyn CountSink>]>,
    pub(super) guard: Arc<dyn CacheGuard>,
}

/// How the transaction of a part ended.
enum Ended {
    Committed(Box<Committed>, Box<dyn CachePermit>),
    Failed(CounterError),
    InDoubt,
}

impl Committer {
    /// Carries out `operations` and answers each. Returns what is to be published then.
    pub(super) async fn commit(
        &self,
        operations: Vec<Operation>,
        answer: Answers,
    ) -> Vec<Publication> {
        let mut publications = Vec::new();
        let mut refusals = 0;
        let mut parts = vec![Part::all(operations)];
        while let Some(part) = parts.pop() {
            match self.carry_out(&part, &answer).await {
                Ended::Committed(done, permit) => {
                    let publication = Publication { changes: done.changes, permit: Some(permit) };
                    publications.push(publication);
                }
                Ended::Failed(CounterError::Failed)
                    if part.places().len() > 1 && refusals < MOST_REFUSALS =>
                {
                    refusals += 1;
                    let (first, second) = part.split();
                    parts.extend([second, first]);
                }
                Ended::Failed(error) => {
                    part.places().for_each(|place| answer(place, Err(error)));
                    if error == CounterError::Unavailable {
                        // The rest would wait for the same database in vain.
                        let rest = parts.drain(..).flat_map(|part| part.places());
                        rest.for_each(|place| answer(place, Err(error)));
                    }
                }
                Ended::InDoubt => {
                    let changes = Changes::in_doubt(part.operations());
                    tell(&self.sinks, &changes);
                    part.places().for_each(|place| answer(place, Err(CounterError::Unavailable)));
                    publications.push(Publication { changes, permit: None });
                }
            }
        }
        publications
    }

    /// Runs the transaction of a part, again if it turns out not to have happened.
    async fn carry_out(&self, part: &Part, answer: &Answers) -> Ended {
        for _ in 0..=MOST_REPEATS {
            let permit = self.guard.begin().await;
            let after = self.after_commit(part, answer);
            let commit = self.store.commit(part.clone(), permit.hook(), after);
            let doubt = match AssertUnwindSafe(commit).catch_unwind().await {
                Ok(Ok(done)) => {
                    permit.committed();
                    return Ended::Committed(Box::new(done), permit);
                }
                Ok(Err(CommitError::Not(error))) => {
                    permit.aborted();
                    tracing::warn!(operations = part.places().len(), %error, "a batch failed");
                    return Ended::Failed(CounterError::from(&error));
                }
                Ok(Err(CommitError::Unknown(doubt))) => doubt,
                Err(_) => {
                    tracing::error!("the store of the counter panicked");
                    return Ended::InDoubt;
                }
            };
            match settle(doubt).await {
                Fate::Committed(done) => {
                    permit.committed();
                    return Ended::Committed(Box::new(done), permit);
                }
                Fate::NotCommitted => permit.aborted(),
                Fate::Open | Fate::Unknowable => return Ended::InDoubt,
            }
        }
        Ended::Failed(CounterError::Unavailable)
    }

    /// This process first, then whoever waits. A cache that panics leaves the rest without an
    /// answer, but does not undo the commit.
    fn after_commit(&self, part: &Part, answer: &Answers) -> AfterCommit {
        let (sinks, answer, places) = (self.sinks.clone(), answer.clone(), part.places());
        Box::new(move |done| {
            let told = catch_unwind(AssertUnwindSafe(|| {
                tell(&sinks, &done.changes);
                for (place, result) in places.zip(done.answers.drain(..)) {
                    answer(place, result.map_err(CounterError::Refused));
                }
            }));
            if told.is_err() {
                tracing::error!("a cache panicked when it was told of a batch");
            }
        })
    }
}

fn tell(sinks: &[Arc<dyn CountSink>], changes: &Changes) {
    if !changes.is_empty() {
        sinks.iter().for_each(|sink| sink.apply(changes));
    }
}

/// Asks until the answer is known or the limit is reached.
async fn settle(mut doubt: Box<dyn Doubt>) -> Fate {
    let deadline = Instant::now() + DOUBT_LIMIT;
    loop {
        match doubt.settle().await {
            Ok(Fate::Open) => {}
            Ok(fate) => return fate,
            Err(error) => tracing::warn!(%error, "cannot find out what became of a batch"),
        }
        if Instant::now() >= deadline {
            tracing::error!("what became of a batch could not be found out");
            return Fate::Open;
        }
        tokio::time::sleep(DOUBT_PAUSE).await;
    }
}
