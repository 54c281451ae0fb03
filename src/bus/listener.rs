//! The thread that listens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use diesel::PgConnection;

use super::codec::{Heard, decode, encode};
use super::news::{Call, News};
use super::{Hearer, Shared};
use crate::redis_tier::RedisTier;
use crate::store::{Conn, StoreError, clock, nodes};

/// How often the session is looked at: libpq tells of a notification only when asked.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// The same while somebody waits for the node's own word.
const LOOK_EAGERLY_EVERY: Duration = Duration::from_micros(150);

/// How often Postgres is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Pause before the first and the longest before any later attempt to listen again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Longest wait for the writes under way before a hello is answered; who asked asks again.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Listener {
    pub(super) shared: Arc<Shared>,
    pub(super) hearer: Arc<dyn Hearer>,
    pub(super) redis: RedisTier,
    pub(super) runtime: tokio::runtime::Handle,
}

impl Listener {
    /// Listens until the node leaves, in one session after another.
    pub(super) fn run(self) {
        let mut pause = PAUSES.0;
        while !self.is_closed() {
            let began = Instant::now();
            let Err(error) = self.session() else { return };
            self.redis.hold_for(nodes::NAMELESS);
            self.shared.deafen();
            metrics::counter!("roost_bus_losses_total").increment(1);
            tracing::warn!(error = %format_args!("{error:#}"), "the bus is lost: listening again");
            if began.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// One session, from the connection to its loss or the node's end.
    fn session(&self) -> anyhow::Result<()> {
        let mut conn = nodes::connect(&self.shared.url).context("connecting")?;
        self.join(&mut conn).context("joining")?;
        let mut asked = Instant::now();
        while !self.is_closed() {
            let heard = self.take_over(&mut conn)?;
            if asked.elapsed() >= PING_EVERY {
                nodes::ping(&mut conn)?;
                self.shared.heard();
                asked = Instant::now();
            } else if heard == 0 {
                let is_eager = self.shared.eager.load(Ordering::Acquire) > 0;
                std::thread::park_timeout(if is_eager { LOOK_EAGERLY_EVERY } else { LOOK_EVERY });
            }
        }
        Ok(())
    }

    /// From here on every commit is heard of, and nothing from before is believed.
    fn join(&self, conn: &mut PgConnection) -> anyhow::Result<()> {
        let me = self.shared.me;
        nodes::listen(conn)?;
        ensure!(nodes::hold_name(conn, me)?, "another session has the name of this node");
        nodes::enter(&mut Conn::Pg(conn), me)?;
        // Who has looked for company before this may be about to commit without a word.
        let mut at_work = nodes::writers_at_work(&mut Conn::Pg(conn))?;
        while !at_work.is_empty() {
            ensure!(!self.is_closed(), "the node leaves");
            std::thread::sleep(LOOK_EVERY);
            let still = nodes::writers_at_work(&mut Conn::Pg(conn))?;
            at_work.retain(|writer| still.contains(writer));
        }
        self.redis.told(clock::last(&mut Conn::Pg(conn))?);
        for other in nodes::others(&mut Conn::Pg(conn), me)? {
            self.redis.hold_for(other);
        }
        self.redis.meet(nodes::NAMELESS);
        self.hearer.distrust();
        self.shared.heard();
        self.shared.is_listening.store(true, Ordering::Release);
        metrics::gauge!("roost_bus_listening").set(1.0);
        let hello = self.shared.hello(&self.redis);
        nodes::send(&mut Conn::Pg(conn), &hello)?;
        if self.redis.strangers().is_empty() {
            self.shared.joined.send_replace(true);
        }
        tracing::info!(node = me, "listening to the other nodes");
        Ok(())
    }

    /// Takes over what has come; says how much.
    fn take_over(&self, conn: &mut PgConnection) -> anyhow::Result<usize> {
        let mut heard = 0;
        for notification in conn.notifications_iter() {
            let payload = notification?.payload;
            heard += 1;
            match decode(&payload) {
                Ok(part) => self.hear(&part),
                Err(error) => {
                    tracing::error!(%error, "a node speaks another language: nothing is believed");
                    self.hearer.distrust();
                }
            }
        }
        if heard > 0 {
            self.shared.heard();
            metrics::counter!("roost_bus_heard_total").increment(heard as u64);
        }
        Ok(heard)
    }

    fn hear(&self, part: &Heard) {
        let is_own = part.node == self.shared.me;
        match part.news.call {
            Some(call) if !is_own => self.called(part.node, call),
            Some(_) => {}
            None => self.hearer.hear(part.node, part.number, &part.news),
        }
        if is_own && part.is_last {
            self.shared.came_around(part.number);
        }
    }

    fn called(&self, node: i64, call: Call) {
        match call {
            Call::Hello { follows: true } => {
                let answer = answer(self.shared.clone(), self.redis.clone(), node);
                self.runtime.spawn(async move {
                    if let Err(error) = answer.await {
                        tracing::debug!(%error, node, "a hello is not answered now");
                    }
                });
            }
            // Its commits never reach Redis: for as long as it is there, Redis is of no use.
            Call::Hello { follows: false } => self.redis.hold_for(node),
            Call::Settled { node: to } if to == self.shared.me => {
                if self.redis.meet(node) {
                    self.shared.joined.send_replace(true);
                }
            }
            Call::Settled { .. } => {}
        }
    }
}

/// Answers a hello when Redis has followed what this node had committed. A node without Redis
/// never does.
async fn answer(shared: Arc<Shared>, redis: RedisTier, node: i64) -> Result<(), StoreError> {
    if !redis.is_configured() {
        return Ok(());
    }
    if tokio::time::timeout(ANSWER_LIMIT, redis.settled()).await.is_err() {
        return Err(StoreError::Unavailable("writes are still under way".into()));
    }
    let news = News::of_call(Call::Settled { node });
    let payloads = encode(shared.me, shared.number(), &news);
    shared.db.write("bus.answer", move |conn| Ok(nodes::send(conn, &payloads)?)).await
}

impl Shared {
    /// What a node says when it has begun to listen.
    pub(super) fn hello(&self, redis: &RedisTier) -> Vec<String> {
        let hello = Call::Hello { follows: redis.is_configured() };
        encode(self.me, self.number(), &News::of_call(hello))
    }
}
