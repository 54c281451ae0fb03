//! Operations that wait to be carried out, and whose turn it is to do so.

use std::collections::VecDeque;
use std::mem::replace;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::operation::{Answer, CounterError, Operation};
use crate::origin::Origin;

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Answer, CounterError>>;

/// An operation, who waits for it, and its place in the bounded queue.
pub(super) struct Submit {
    pub(super) operation: Operation,
    pub(super) reply: Reply,
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) origin: Origin,
}

/// See the module. Its slots bound it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Submit>>,
    /// Somebody has the turn. Changed under the lock of `waiting`.
    is_worked: watch::Sender<bool>,
}

/// The turn to carry out what waits; there is one at a time. Lost with its holder, it takes those
/// who wait with it: they are told that they have no answer.
pub(super) struct Turn {
    queue: Arc<Queue>,
    is_over: bool,
}

impl Queue {
    /// Puts an operation at the end. If nobody has the turn, the caller gets it.
    pub(super) fn put(self: &Arc<Queue>, submit: Submit) -> Option<Turn> {
        let mut waiting = self.waiting.lock();
        waiting.push_back(submit);
        let is_free = self.is_worked.send_if_modified(|is_worked| !replace(is_worked, true));
        is_free.then(|| Turn { queue: self.clone(), is_over: false })
    }

    /// Waits until nothing waits.
    pub(super) async fn rested(&self) {
        // The sender is in `self`.
        let _ = self.is_worked.subscribe().wait_for(|is_worked| !is_worked).await;
    }
}

impl Turn {
    /// The next operations, at most so many; `None` when none wait, which ends the turn.
    pub(super) fn next(&mut self, most: usize) -> Option<Vec<Submit>> {
        let mut waiting = self.queue.waiting.lock();
        if waiting.is_empty() {
            self.is_over = true;
            self.queue.is_worked.send_replace(false);
            return None;
        }
        let size = waiting.len().min(most);
        let batch = waiting.drain(..size).collect();
        metrics::gauge!("roost_counter_queue").set(waiting.len() as f64);
        Some(batch)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            let mut waiting = self.queue.waiting.lock();
            waiting.clear();
            self.queue.is_worked.send_replace(false);
        }
    }
}
