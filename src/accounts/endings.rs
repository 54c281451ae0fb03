//! Who wants to hear at once that a session has ended: open streams do, since they ask for no
//! permission between two events.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::sessions::TokenHash;

/// The watches of this process; clones share them.
#[derive(Clone, Default)]
pub struct Endings {
    watched: Arc<Mutex<HashMap<TokenHash, Vec<Arc<Notify>>>>>,
}

/// Hears of one session until it is dropped.
pub struct Watch {
    session: TokenHash,
    bell: Arc<Notify>,
    endings: Endings,
}

impl Endings {
    /// Begins to watch a session. To be called before the session is looked at, so that no end
    /// falls in between.
    pub fn watch(&self, session: TokenHash) -> Watch {
        let bell = Arc::new(Notify::new());
        self.watched.lock().entry(session).or_default().push(bell.clone());
        Watch { session, bell, endings: self.clone() }
    }

    /// Tells those who watch these sessions to look again.
    pub fn tell(&self, sessions: &[TokenHash]) {
        let watched = self.watched.lock();
        for bell in sessions.iter().filter_map(|session| watched.get(session)).flatten() {
            // One that nobody waits for yet is kept for whoever waits next.
            bell.notify_one();
        }
    }
}

impl Endings {
    /// Tells everybody to look again.
    pub fn tell_all(&self) {
        self.watched.lock().values().flatten().for_each(|bell| bell.notify_one());
    }
}

impl Watch {
    /// Returns when the session may have ended since the last call.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.endings.watched.lock();
        if let Some(bells) = watched.get_mut(&self.session) {
            bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if bells.is_empty() {
                watched.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_end_is_heard_by_all_who_watch_it_and_no_others() {
        let endings = Endings::default();
        let (one, two, other) =
            (endings.watch([1; 32]), endings.watch([1; 32]), endings.watch([2; 32]));
        endings.tell(&[[1; 32], [9; 32]]);
        assert!(one.rung().now_or_never().is_some(), "told before it waited");
        assert!(one.rung().now_or_never().is_none(), "once");
        assert!(two.rung().now_or_never().is_some());
        assert!(other.rung().now_or_never().is_none());
        endings.tell_all();
        assert!(one.rung().now_or_never().is_some() && other.rung().now_or_never().is_some());
    }

    #[test]
    fn nothing_stays_of_those_who_left() {
        let endings = Endings::default();
        let (one, two) = (endings.watch([1; 32]), endings.watch([1; 32]));
        drop(one);
        assert_eq!(endings.watched.lock()[&[1; 32]].len(), 1);
        drop(two);
        assert!(endings.watched.lock().is_empty());
    }
}
