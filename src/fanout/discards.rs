//! Photos of deleted tweets, which are deleted beside the rounds.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::core::Core;
use super::effects::Orphans;
use crate::store::{purge, tasks};

/// Deleted tweets whose photos are being deleted at a time.
const AT_ONCE: usize = 4;

/// Who may delete photos.
pub(super) struct Discards(Arc<Semaphore>);

/// Photos to be deleted, and the right to do so.
pub(super) struct Discard {
    orphans: Orphans,
    slot: OwnedSemaphorePermit,
}

impl Default for Discards {
    fn default() -> Self {
        Discards(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Discards {
    /// Tweets whose photos may be taken on now.
    pub(super) fn free(&self) -> usize {
        self.0.available_permits()
    }

    /// `None`: not now. The task asks again.
    pub(super) fn take_on(&self, orphans: &Orphans) -> Option<Discard> {
        let slot = self.0.clone().try_acquire_owned().ok()?;
        Some(Discard { orphans: orphans.clone(), slot })
    }
}

impl Core {
    /// Deletes the photos of a deleted tweet, and then the rows that name them. What fails is
    /// tried again like any other step of a task.
    pub(super) async fn discard(&self, job: Discard) {
        let Discard { orphans: Orphans { task, urls }, slot } = job;
        let gone = self.audience.discard(&urls).await;
        let now = self.clock.now();
        let failed = gone.as_ref().err().cloned();
        let recorded = self
            .db
            .write("writer.photos", move |conn| match &gone {
                Ok(()) => Ok(purge::photos_are_gone(conn, task.id, task.tweet_id)?),
                Err(error) => Ok(tasks::set_back(conn, task.id, task.attempts + 1, error, now)?),
            })
            .await;
        if let Some(error) = failed {
            tracing::warn!(task_id = task.id, error, "photos of a deleted tweet are left");
        }
        if let Err(error) = recorded {
            // The task is still there: it asks again when its time has come.
            tracing::warn!(task_id = task.id, %error, "deleted photos could not be noted");
        }
        drop(slot);
    }
}
