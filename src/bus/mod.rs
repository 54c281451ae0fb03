//! How the nodes over one Postgres hear of each other's commits.
//!
//! A transaction that changes what nodes cache says so in its last statement, with NOTIFY: the
//! word cannot be lost between the commit and the telling, and Postgres delivers all of it to
//! all nodes in the order of the commits. On SQLite there is one process, and no bus.
//!
//! - **Order.** In company a node takes its own commits of the ordered writer from the bus too,
//!   and answers when they have come around. So the caches of every node go through the same
//!   states in the same order, and a client that polls on any of them misses nothing.
//!   Everything else is told as "read it again" or with a version, which needs no order.
//! - **Company.** A node that is alone sends nothing. Each node has a row in `nodes`; the
//!   statement that announces looks whether there are others. A node that joins listens first,
//!   then adds its row, then waits until no transaction is at work that may have looked before,
//!   and only then believes what it caches.
//! - **Deafness.** A node that has lost the bus, or has not heard of it for a while, forgets
//!   everything it caches, every half second, for as long as the database answers at all. While
//!   the database is away, nothing changes, and what is warm is served.
//! - **Death.** The session that listens holds a lock in its node's name. A row whose lock is
//!   free is that of a dead node: another one removes it, taking over the debt that it may have
//!   left in Redis ([`watch`]). A node that was only deaf finds its row gone when it next
//!   commits, and adds it again in that transaction.
//! - **Redis.** The sender does the work there, after its commit. Until it is done, the others
//!   do not read the lists concerned ([`crate::redis_tier`], "Lag"); a node that has joined
//!   reads none before every other node has answered its hello.

mod codec;
mod listener;
mod news;
mod shared;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use codec::{Garbled, Heard, decode, encode};
pub use news::{Call, News};
use shared::{Eager, Shared};

use crate::fanout::Announcement;
use crate::redis_tier::RedisTier;
use crate::store::nodes::{self, Standing};
use crate::store::{Conn, Db, DbConfig, Engine, StoreError};

/// Longest wait for a node's own word to come around.
const ECHO_LIMIT: Duration = Duration::from_secs(2);

/// How the one process on a database stands.
const ALONE: Standing = Standing { is_member: true, has_company: false };

/// Who in this process is to hear of commits. Called on the listener's thread: must not block.
pub trait Hearer: Send + Sync + 'static {
    /// Takes over what transaction `number` of `node` has changed. Several parts of one are
    /// taken over one by one.
    fn hear(&self, node: i64, number: u64, news: &News);

    /// Forgets everything that is cached.
    fn distrust(&self);
}

/// Whether a commit may be told to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has company to nobody: tell it now.
    Alone,
    /// The bus has told it already.
    Told,
    /// The bus cannot be heard: forget everything instead.
    Deaf,
}

/// A node's end of the bus; clones share it.
#[derive(Clone)]
pub struct Bus {
    /// `None`: one process on its database, nobody to tell.
    shared: Option<Arc<Shared>>,
}

impl Bus {
    /// The bus of one process on its database: it has nobody to tell.
    pub fn alone() -> Bus {
        Bus { shared: None }
    }

    /// The bus of a new node. It is not heard before [`Bus::listen`].
    ///
    /// # Errors
    /// When the URL is of no known form, or the operating system gives no randomness.
    pub fn new(config: &DbConfig, db: &Db) -> anyhow::Result<Bus> {
        if config.engine()? == Engine::Sqlite {
            return Ok(Bus::alone());
        }
        Ok(Bus { shared: Some(Arc::new(Shared::new(config, db)?)) })
    }

    /// Whether there may be other nodes: not on SQLite.
    pub fn is_wired(&self) -> bool {
        self.shared.is_some()
    }

    /// The name of this node.
    pub fn node(&self) -> i64 {
        self.shared.as_ref().map_or(nodes::NAMELESS, |shared| shared.me)
    }

    /// Begins to listen, on a thread of its own. Must be called inside a tokio runtime, on which
    /// the bus is then watched over until [`Bus::leave`].
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn listen(&self, hearer: Arc<dyn Hearer>, redis: RedisTier) -> anyhow::Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        metrics::gauge!("roost_bus_listening").set(0.0);
        // Until the first session has begun, Redis is not read.
        redis.hold_for(nodes::NAMELESS);
        redis.begin_to_be_told();
        let listener = listener::Listener {
            shared: shared.clone(),
            hearer: hearer.clone(),
            redis: redis.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let thread =
            std::thread::Builder::new().name("roost-bus".into()).spawn(move || listener.run())?;
        *shared.thread.lock() = Some(thread.thread().clone());
        tokio::spawn(watch::run(Arc::downgrade(shared), hearer, redis));
        Ok(())
    }

    /// Waits until this node hears all others and may read from Redis, at most `limit`, and says
    /// whether it does. A node that does not is right all the same, but slow.
    pub async fn wait_until_joined(&self, limit: Duration) -> bool {
        let Some(shared) = &self.shared else { return true };
        let mut joined = shared.joined.subscribe();
        matches!(tokio::time::timeout(limit, joined.wait_for(|joined| *joined)).await, Ok(Ok(_)))
    }

    /// Tells the other nodes when the transaction commits. Must be its last statement, and the
    /// transaction must have written what it tells of. News without order: see [`Bus`].
    ///
    /// # Errors
    /// Those of the statement.
    pub fn announce(&self, conn: &mut Conn<'_>, news: &News) -> Result<Standing, StoreError> {
        match &self.shared {
            Some(shared) => Ok(shared.announce(conn, shared.number(), news)?),
            None => Ok(ALONE),
        }
    }

    /// The same for news that have an order: the outcome is to be given to [`Bus::turn`] after
    /// the commit.
    ///
    /// # Errors
    /// Those of the statement.
    pub fn announce_in_order(
        &self,
        conn: &mut Conn<'_>,
        news: &News,
    ) -> Result<(Standing, Announcement), StoreError> {
        let Some(shared) = &self.shared else { return Ok((ALONE, Announcement::default())) };
        let number = shared.number();
        // Before the statement: the echo may be here before it is looked for.
        let echo = shared.wait_for(number);
        let standing = shared.announce(conn, number, news)?;
        let announcement = match standing.has_company {
            true => Announcement { number: Some(number), echo: Some(echo) },
            false => Announcement::default(),
        };
        Ok((standing, announcement))
    }

    /// Waits, after a commit, until all earlier commits and this one have been told to this
    /// process.
    pub async fn turn(&self, announcement: &mut Announcement) -> Turn {
        let Some(shared) = &self.shared else { return Turn::Alone };
        let Some(echo) = announcement.echo.take() else {
            // The transaction itself has found nobody else. A node that has lost its session may
            // believe that: while the database goes away, what it holds is all that readers have.
            return if *shared.joined.borrow() { Turn::Alone } else { Turn::Deaf };
        };
        if shared.is_deaf() {
            return Turn::Deaf;
        }
        let started = Instant::now();
        let _eager = Eager::begin(shared);
        match tokio::time::timeout(ECHO_LIMIT, echo).await {
            Ok(Ok(())) => {
                metrics::histogram!("roost_bus_echo_seconds")
                    .record(started.elapsed().as_secs_f64());
                Turn::Told
            }
            Ok(Err(_)) | Err(_) => Turn::Deaf,
        }
    }

    /// Ends the membership. Call it last: after the last write, when Redis has followed.
    pub async fn leave(&self) {
        let Some(shared) = &self.shared else { return };
        shared.is_closed.store(true, Ordering::Release);
        shared.wake();
        let me = shared.me;
        let left = shared.db.write("bus.leave", move |conn| Ok(nodes::leave(conn, me)?)).await;
        if let Err(error) = left {
            tracing::debug!(%error, "another node will notice that this one has left");
        }
    }
}
