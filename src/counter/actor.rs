//! The actor: tells what is outside this process of what was committed, one batch of news at a
//! time.
//!
//! Work runs in tasks of their own; the actor only decides what is next. Should it die, whoever
//! waits for an answer has it already.

use std::sync::Arc;

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::committer::Publication;
use super::sink::{CachePermit, Changes, RemoteSink};
use crate::actors;

/// Changed values that may wait for publication. Beyond, they are dropped with their permits,
/// which tells the guard that what is cached outside is stale.
const MOST_UNPUBLISHED: usize = 100_000;

/// Batches that the actor may not have heard of yet; it does nothing but hear of them.
const MAILBOX: usize = 1_024;

/// The way to the actor.
pub(super) struct Outlet {
    remote: Arc<dyn RemoteSink>,
    arbiter: ArbiterHandle,
    addr: Mutex<Addr<CounterActor>>,
}

/// What was committed, in the order of the commits.
#[derive(Message)]
#[rtype(result = "()")]
struct Publish(Vec<Publication>);

/// Asks to be told when nothing is unpublished any more.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush(oneshot::Sender<()>);

/// See the module.
struct CounterActor {
    remote: Arc<dyn RemoteSink>,
    unpublished: Changes,
    permits: Vec<Box<dyn CachePermit>>,
    publishing: bool,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Outlet {
    /// Starts the actor on `arbiter`.
    pub(super) fn open(remote: Arc<dyn RemoteSink>, arbiter: ArbiterHandle) -> Outlet {
        let addr = Mutex::new(CounterActor::start_on(&arbiter, &remote));
        Outlet { remote, arbiter, addr }
    }

    /// Has it published, after everything before. If that cannot be, the permits are dropped, which
    /// tells the guard.
    pub(super) fn publish(&self, publications: Vec<Publication>) {
        if !self.remote.is_there() {
            let permits = publications.into_iter().filter_map(|publication| publication.permit);
            return permits.for_each(CachePermit::done);
        }
        if self.live().try_send(Publish(publications)).is_err() {
            tracing::error!("the counter does not hear of what was committed");
        }
    }

    /// Comes when everything is published; never, if the actor dies before.
    pub(super) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        // Refused, it drops the sender.
        let _ = self.live().try_send(Flush(done));
        flushed
    }

    /// The actor, or a new one in place of one that has died.
    fn live(&self) -> Addr<CounterActor> {
        let mut addr = self.addr.lock();
        if !addr.connected() {
            tracing::error!("the counter died and is replaced");
            *addr = CounterActor::start_on(&self.arbiter, &self.remote);
        }
        addr.clone()
    }
}

impl CounterActor {
    fn start_on(arbiter: &ArbiterHandle, remote: &Arc<dyn RemoteSink>) -> Addr<CounterActor> {
        let remote = remote.clone();
        actors::start(arbiter, MAILBOX, move || CounterActor {
            remote,
            unpublished: Changes::default(),
            permits: Vec::new(),
            publishing: false,
            flushes: Vec::new(),
        })
    }

    /// Begins whatever can be begun.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.publishing {
            return;
        }
        if !self.permits.is_empty() || !self.unpublished.is_empty() {
            return self.publish(ctx);
        }
        for done in self.flushes.drain(..) {
            let _ = done.send(());
        }
    }

    /// Puts what was committed to what is to be published.
    fn keep(&mut self, publication: Publication) {
        self.unpublished.extend(publication.changes);
        self.permits.extend(publication.permit);
        if self.unpublished.len() > MOST_UNPUBLISHED {
            self.unpublished.compact();
        }
        if self.unpublished.len() > MOST_UNPUBLISHED {
            tracing::error!("publication is too slow: what is cached outside is given up");
            self.unpublished = Changes::default();
            self.permits.clear();
        }
    }

    fn publish(&mut self, ctx: &mut Context<Self>) {
        let mut changes = std::mem::take(&mut self.unpublished);
        let permits = std::mem::take(&mut self.permits);
        changes.compact();
        self.publishing = true;
        let remote = self.remote.clone();
        let work = actix::spawn(async move {
            if !changes.is_empty() {
                remote.publish(changes).await;
            }
            permits.into_iter().for_each(CachePermit::done);
        });
        ctx.spawn(work.into_actor(self).map(|result, actor, ctx| {
            actor.publishing = false;
            if let Err(error) = result {
                tracing::error!(%error, "a publication was lost");
            }
            actor.go_on(ctx);
        }));
    }
}

impl Actor for CounterActor {
    type Context = Context<Self>;
}

impl Handler<Publish> for CounterActor {
    type Result = ();

    fn handle(&mut self, Publish(publications): Publish, ctx: &mut Self::Context) {
        publications.into_iter().for_each(|publication| self.keep(publication));
        self.go_on(ctx);
    }
}

impl Handler<Flush> for CounterActor {
    type Result = ();

    fn handle(&mut self, Flush(done): Flush, ctx: &mut Self::Context) {
        self.flushes.push(done);
        self.go_on(ctx);
    }
}
