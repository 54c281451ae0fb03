//! What a node's writers, its listener and its watch have in common: its name, the numbers of what
//! it announces, who waits for its own word to come around, and whether it is deaf.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch as value};

use super::{ALONE, News, encode};
use crate::store::nodes::{self, Standing};
use crate::store::{Conn, Db, DbConfig, StoreError};

/// A node that has heard nothing from Postgres for so long takes itself for deaf. It asks every
/// second.
const DEAF_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Shared {
    pub(super) me: i64,
    pub(super) db: Db,
    pub(super) url: String,
    born: Instant,
    /// Whether what is cached may be believed.
    pub(super) is_listening: AtomicBool,
    /// When Postgres was last heard of, in milliseconds after `born`.
    heard_at: AtomicU64,
    /// Transactions announced.
    announced: AtomicU64,
    /// Who waits for the node's own word to come around.
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    /// How many wait: the listener then looks more often.
    pub(super) eager: AtomicUsize,
    pub(super) thread: Mutex<Option<Thread>>,
    pub(super) is_closed: AtomicBool,
    /// Set when this node is believed and believes.
    pub(super) joined: value::Sender<bool>,
}

impl Shared {
    /// Those of a node that listens to nobody yet.
    pub(super) fn new(config: &DbConfig, db: &Db) -> anyhow::Result<Shared> {
        Ok(Shared {
            me: draw_name()?,
            db: db.clone(),
            url: config.url.clone(),
            born: Instant::now(),
            is_listening: AtomicBool::new(false),
            heard_at: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            waiting: Mutex::default(),
            eager: AtomicUsize::new(0),
            thread: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            joined: value::Sender::new(false),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.announced.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn announce(
        &self,
        conn: &mut Conn<'_>,
        number: u64,
        news: &News,
    ) -> Result<Standing, StoreError> {
        if news.is_empty() {
            return Ok(ALONE);
        }
        Ok(nodes::announce(conn, self.me, &encode(self.me, number, news))?)
    }

    pub(super) fn wait_for(&self, number: u64) -> oneshot::Receiver<()> {
        let (sender, echo) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        // Those of transactions that were rolled back.
        waiting.retain(|_, waiter| !waiter.is_closed());
        waiting.insert(number, sender);
        echo
    }

    /// The node's own word has come around.
    pub(super) fn came_around(&self, number: u64) {
        if let Some(waiter) = self.waiting.lock().remove(&number) {
            let _ = waiter.send(());
        }
    }

    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Postgres has answered.
    pub(super) fn heard(&self) {
        self.heard_at.store(self.now(), Ordering::Release);
    }

    /// The session is lost: nobody waits for it in vain.
    pub(super) fn deafen(&self) {
        self.is_listening.store(false, Ordering::Release);
        self.waiting.lock().clear();
        metrics::gauge!("roost_bus_listening").set(0.0);
    }

    pub(super) fn is_deaf(&self) -> bool {
        let silent_ms = self.now().saturating_sub(self.heard_at.load(Ordering::Acquire));
        !self.is_listening.load(Ordering::Acquire) || silent_ms > DEAF_AFTER.as_millis() as u64
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }
}

/// Makes the listener look often for as long as this lives.
pub(super) struct Eager<'a>(&'a Shared);

impl<'a> Eager<'a> {
    pub(super) fn begin(shared: &'a Shared) -> Self {
        shared.eager.fetch_add(1, Ordering::AcqRel);
        shared.wake();
        Eager(shared)
    }
}

impl Drop for Eager<'_> {
    fn drop(&mut self) {
        self.0.eager.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The name of a new node: a random positive number of 31 bits, which is what an advisory lock
/// takes.
fn draw_name() -> anyhow::Result<i64> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)?;
    Ok(i64::from(u32::from_le_bytes(bytes) >> 1).max(1))
}
