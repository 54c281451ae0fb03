//! What is outside this process follows the transactions: in their order and one at a time, in
//! the background, and not far behind.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Timelines that the outside has yet to be told of, at most, before deliveries wait for it.
/// Their ids are held in memory.
const MOST_TIMELINES: usize = 120_000;

/// Transactions that it has yet to follow, at most, before everything waits for it.
const MOST_TRANSACTIONS: usize = 64;

/// The work that is left to be done outside.
#[derive(Default)]
pub(super) struct Outside {
    /// The newest piece, which waits for the one before it.
    newest: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    left: Arc<Left>,
}

#[derive(Default)]
struct Left {
    amount: Mutex<Amount>,
    /// A piece has been done.
    done: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Amount {
    transactions: usize,
    timelines: usize,
}

impl Outside {
    /// Lets the outside follow one more transaction, which concerns so many timelines.
    pub(super) async fn follow(
        &self,
        timelines: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.left.until(|amount| amount.transactions < MOST_TRANSACTIONS).await;
        let place = self.left.take(timelines);
        let mut newest = self.newest.lock().await;
        let before = newest.take();
        *newest = Some(tokio::spawn(async move {
            let _place = place;
            let mut before = before;
            end(&mut before).await;
            work.await;
        }));
    }

    /// Whether it is so far behind that the next transaction waits for it, or the one after a few.
    pub(super) fn is_behind(&self) -> bool {
        self.left.amount.lock().transactions >= MOST_TRANSACTIONS / 2
    }

    /// Timelines that can be told of now.
    pub(super) fn room(&self) -> usize {
        MOST_TIMELINES.saturating_sub(self.left.amount.lock().timelines)
    }

    /// Returns once `timelines` more can be told of.
    pub(super) async fn has_room_for(&self, timelines: usize) {
        let timelines = timelines.min(MOST_TIMELINES);
        self.left.until(|amount| amount.timelines + timelines <= MOST_TIMELINES).await;
    }

    /// Waits until everybody has been told of everything. Whoever stops waiting changes nothing.
    pub(super) async fn settled(&self) {
        end(&mut *self.newest.lock().await).await;
    }
}

impl Left {
    async fn until(&self, is_so: impl Fn(Amount) -> bool) {
        loop {
            // First: what is done meanwhile is not missed.
            let done = self.done.notified();
            if is_so(*self.amount.lock()) {
                return;
            }
            done.await;
        }
    }

    fn take(self: &Arc<Self>, timelines: usize) -> Place {
        let mut amount = self.amount.lock();
        amount.transactions += 1;
        amount.timelines += timelines;
        Place { left: self.clone(), timelines }
    }
}

/// The part of one transaction in what is left. Given back also by work that panics.
struct Place {
    left: Arc<Left>,
    timelines: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut amount = self.left.amount.lock();
        amount.transactions -= 1;
        amount.timelines -= self.timelines;
        drop(amount);
        self.left.done.notify_waiters();
    }
}

/// Waits for the end of a piece.
async fn end(work: &mut Option<JoinHandle<()>>) {
    if let Some(handle) = work
        && let Err(error) = handle.await
    {
        // Its permit was dropped, which counts as a loss: Redis is not believed before it has
        // begun anew.
        tracing::error!(%error, "telling what is outside has failed");
    }
    *work = None;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    /// Work that waits for leave and then says its number.
    struct Stage {
        outside: Outside,
        leave: Arc<Semaphore>,
        said: mpsc::UnboundedSender<usize>,
        heard: mpsc::UnboundedReceiver<usize>,
    }

    impl Stage {
        fn new() -> Stage {
            let (said, heard) = mpsc::unbounded_channel();
            let (outside, leave) = (Outside::default(), Arc::new(Semaphore::new(0)));
            Stage { outside, leave, said, heard }
        }

        fn work(&self, number: usize) -> impl Future<Output = ()> + Send + 'static {
            let (leave, said) = (self.leave.clone(), self.said.clone());
            async move {
                leave.acquire().await.expect("never closed").forget();
                said.send(number).expect("somebody listens");
            }
        }
    }

    #[tokio::test]
    async fn pieces_are_done_in_order_also_behind_one_that_panics() {
        let mut stage = Stage::new();
        stage.outside.follow(1, stage.work(0)).await;
        stage.outside.follow(1, async { panic!("planned by a test") }).await;
        for number in 1..5 {
            stage.outside.follow(1, stage.work(number)).await;
        }
        stage.leave.add_permits(5);
        stage.outside.settled().await;
        for number in 0..5 {
            assert_eq!(stage.heard.try_recv(), Ok(number));
        }
        let Amount { transactions, timelines } = *stage.outside.left.amount.lock();
        assert_eq!((transactions, timelines), (0, 0));
    }

    #[tokio::test]
    async fn deliveries_wait_for_room_and_writes_only_for_many_transactions() {
        let stage = Stage::new();
        let has_room = |timelines| stage.outside.has_room_for(timelines).now_or_never().is_some();
        assert!(has_room(MOST_TIMELINES) && has_room(2 * MOST_TIMELINES), "nothing is left");
        stage.outside.follow(MOST_TIMELINES - 10, stage.work(0)).await;
        assert!(has_room(10) && !has_room(11));
        for number in 1..MOST_TRANSACTIONS {
            let followed = stage.outside.follow(100, stage.work(number)).now_or_never();
            assert!(followed.is_some(), "{number}: a write that waits");
        }
        assert!(stage.outside.follow(0, stage.work(99)).now_or_never().is_none(), "too many");
        stage.leave.add_permits(1);
        stage.outside.follow(0, stage.work(MOST_TRANSACTIONS)).await;
        stage.leave.add_permits(MOST_TRANSACTIONS);
        stage.outside.settled().await;
        assert!(has_room(MOST_TIMELINES));
    }
}
