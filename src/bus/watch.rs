//! What is done about a bus that cannot be heard, and about nodes that have died.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Hearer, Shared};
use crate::redis_tier::RedisTier;
use crate::store::{StoreError, health, nodes};

/// How often a deaf node forgets what it caches: nothing older is served then.
const FORGET_EVERY: Duration = Duration::from_millis(500);

/// The same while the database does not answer either.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How often the other nodes are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How often this is done while a node waits to be let in.
const JOIN_EVERY: Duration = Duration::from_millis(50);

/// A node counts as dead when it was so each of so many times: one that is connecting anew
/// need not be buried.
const LOOKS: u32 = 3;

/// How long a node that is gone is waited for in Redis. Whoever has buried it has made every
/// list void by then.
const MOURNED_FOR: Duration = Duration::from_secs(60);

/// How often the writers under way are looked for in vain. None lives longer than that without
/// the database.
const MOST_TRIES: u32 = 60;

/// Pause between two looks at writers that must come to an end.
const PAUSE: Duration = Duration::from_millis(20);

struct Watch {
    shared: Arc<Shared>,
    hearer: Arc<dyn Hearer>,
    redis: RedisTier,
}

/// What is remembered of the others.
#[derive(Default)]
struct Memory {
    /// How often in a row a node has been found dead.
    dead: HashMap<i64, u32>,
    /// Since when a node is gone whose work in Redis is waited for.
    gone: HashMap<i64, Instant>,
}

/// Runs until the node leaves.
pub(super) async fn run(shared: Weak<Shared>, hearer: Arc<dyn Hearer>, redis: RedisTier) {
    let mut memory = Memory::default();
    let (mut forget_at, mut count_at, mut greet_at) =
        (Instant::now(), Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(JOIN_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.is_closed.load(std::sync::atomic::Ordering::Acquire) {
            return;
        }
        let watch = Watch { shared, hearer: hearer.clone(), redis: redis.clone() };
        if watch.shared.is_deaf() {
            if Instant::now() >= forget_at {
                let pause = if watch.forget().await { FORGET_EVERY } else { PROBE_EVERY };
                forget_at = Instant::now() + pause;
            }
            continue;
        }
        let joins = !redis.strangers().is_empty();
        if Instant::now() >= count_at {
            if let Err(error) = watch.count(&mut memory, joins).await {
                tracing::debug!(%error, "the other nodes cannot be counted now");
            }
            count_at = Instant::now() + if joins { JOIN_EVERY } else { COUNT_EVERY };
        }
        if joins && Instant::now() >= greet_at {
            watch.greet().await;
            greet_at = Instant::now() + COUNT_EVERY;
        }
    }
}

impl Watch {
    /// Forgets everything, unless the database does not answer: then nothing has changed that
    /// this node could find out about, and what is warm is better than nothing. Says which.
    async fn forget(&self) -> bool {
        let answers = self.shared.db.read("bus.probe", |conn| Ok(health::answers(conn)?)).await;
        if answers.is_ok() {
            self.hearer.distrust();
        }
        answers.is_ok()
    }

    /// Says hello again: a node may have been deaf itself.
    async fn greet(&self) {
        let hello = self.shared.hello(&self.redis);
        let said = self.shared.db.write("bus.hello", move |conn| Ok(nodes::send(conn, &hello)?));
        if let Err(error) = said.await {
            tracing::debug!(%error, "cannot say hello now");
        }
    }

    /// Looks who is there. `joins`: this node waits for them to answer.
    async fn count(&self, memory: &mut Memory, joins: bool) -> Result<(), StoreError> {
        let me = self.shared.me;
        let (others, dead) = self
            .shared
            .db
            .read("bus.count", move |conn| Ok((nodes::others(conn, me)?, nodes::dead(conn, me)?)))
            .await?;
        metrics::gauge!("roost_nodes").set(1.0 + (others.len() - dead.len()) as f64);
        memory.dead.retain(|node, _| dead.contains(node));
        for node in &dead {
            *memory.dead.entry(*node).or_default() += 1;
        }
        // Who starts need not wait: to bury a node that lives is safe, only not for free.
        let needed = if joins { 1 } else { LOOKS };
        let buried: Vec<i64> = memory
            .dead
            .iter()
            .filter(|(_, seen)| **seen >= needed)
            .map(|(node, _)| *node)
            .collect();
        if !buried.is_empty() {
            self.bury(&buried).await?;
        }
        let is_there = |node: &i64| others.contains(node) && !buried.contains(node);
        for node in self.redis.strangers() {
            if !is_there(&node) && self.redis.meet(node) {
                self.shared.joined.send_replace(true);
            }
        }
        memory.gone.retain(|node, _| !is_there(node));
        for node in self.redis.waited_for() {
            let gone = !is_there(&node) && node != me;
            if gone && memory.gone.entry(node).or_insert_with(Instant::now).elapsed() > MOURNED_FOR
            {
                self.redis.part_from(node);
            }
        }
        Ok(())
    }

    /// Removes the rows of dead nodes. If one was dirty, commits of its may have missed Redis:
    /// that becomes this node's debt in the same transaction, and is settled by advancing the
    /// epoch when the last transaction of the dead has ended.
    async fn bury(&self, dead: &[i64]) -> Result<(), StoreError> {
        let permit = self.redis.begin_write().await;
        let (inside, ids) = (permit.clone(), dead.to_vec());
        let buried = self
            .shared
            .db
            .write("bus.bury", move |conn| {
                inside.mark_dirty(conn)?;
                Ok(nodes::bury(conn, &ids)?)
            })
            .await;
        permit.resolve(&buried);
        let dirty = buried?;
        if dirty {
            tracing::warn!(nodes = ?dead, "nodes have died in the middle of their work");
        } else {
            tracing::info!(nodes = ?dead, "nodes are gone");
        }
        metrics::counter!("roost_nodes_buried_total").increment(dead.len() as u64);
        if dirty {
            let mut tries = 0;
            while let Err(error) = self.wait_for_writers().await
                && tries < MOST_TRIES
            {
                tracing::debug!(%error, "cannot see the writers under way");
                tokio::time::sleep(FORGET_EVERY).await;
                tries += 1;
            }
            // Without `done`: a loss.
            drop(permit);
        } else {
            permit.done();
        }
        Ok(())
    }

    /// Waits for the transactions that are at work now. They end by their limits.
    async fn wait_for_writers(&self) -> Result<(), StoreError> {
        let at_work =
            || self.shared.db.read("bus.writers", |conn| Ok(nodes::writers_at_work(conn)?));
        let mut before = at_work().await?;
        while !before.is_empty() {
            tokio::time::sleep(PAUSE).await;
            let still = at_work().await?;
            before.retain(|writer| still.contains(writer));
        }
        Ok(())
    }
}
