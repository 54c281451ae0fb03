//! The actor that is the one ordered writer of this node: it collects while it commits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::core::{Core, Worked};
use super::discards::Discard;
use super::ops::{Op, Outcome, WriteError};
use crate::origin::Origin;

/// Operations that may wait; more are refused at once.
pub(super) const QUEUE: usize = 8_192;

/// Operations of one transaction.
const GROUP: usize = 256;

/// How often open tasks are looked for although none is known: those of a node that has died,
/// and those whose last round failed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where an outcome goes.
pub(super) type Reply = oneshot::Sender<Result<Outcome, WriteError>>;

pub(super) struct WriterActor {
    core: Arc<Core>,
    waiting: VecDeque<Submit>,
    busy: bool,
    tasks: Tasks,
    stopping: Option<oneshot::Sender<()>>,
}

/// What is known of open tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tasks {
    /// None, as far as this node knows.
    None,
    /// It is time to ask the database.
    Look,
    /// There may be some.
    Some,
}

/// Asks for a write.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Submit {
    pub(super) op: Op,
    pub(super) reply: Reply,
    pub(super) origin: Origin,
}

/// Commits what waits, ends the current round and takes nothing more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Finish {
    pub(super) done: oneshot::Sender<()>,
}

impl WriterActor {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let waiting = VecDeque::new();
        WriterActor { core, waiting, busy: false, tasks: Tasks::Look, stopping: None }
    }

    /// Starts the next cycle unless one is running or nothing is to be done.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let tasks = if self.stopping.is_some() { Tasks::None } else { self.tasks };
        if self.waiting.is_empty() && tasks == Tasks::None {
            if let Some(done) = self.stopping.take() {
                self.busy = true;
                let core = self.core.clone();
                let told = async move { core.outside_done().await };
                ctx.spawn(told.into_actor(self).map(|(), _, ctx| {
                    let _ = done.send(());
                    ctx.stop();
                }));
            }
            return;
        }
        self.busy = true;
        let size = self.waiting.len().min(GROUP);
        let group: Vec<Submit> = self.waiting.drain(..size).collect();
        self.count_waiting();
        metrics::gauge!("roost_writer_queue").set(self.waiting.len() as f64);
        let cycle = cycle(self.core.clone(), group, tasks);
        ctx.spawn(cycle.into_actor(self).map(|(tasks, discards), actor, ctx| {
            actor.busy = false;
            actor.tasks = tasks;
            discards.into_iter().for_each(|discard| actor.discard(discard, ctx));
            actor.go_on(ctx);
        }));
    }

    /// Lets a round that is under way know that somebody waits for its end.
    fn count_waiting(&self) {
        self.core.awaited.set_writes(self.waiting.len());
    }

    /// Deletes photos beside the cycles, and looks at the task that waited for it.
    fn discard(&mut self, discard: Discard, ctx: &mut Context<Self>) {
        let core = self.core.clone();
        let work = async move { core.discard(discard).await };
        ctx.spawn(work.into_actor(self).map(|(), actor, ctx| {
            if actor.tasks == Tasks::None {
                actor.tasks = Tasks::Look;
            }
            actor.go_on(ctx);
        }));
    }

    /// Looks for tasks that nobody has told of. While there is work, only at its age.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if !self.busy && self.tasks == Tasks::None {
            self.tasks = Tasks::Look;
            self.go_on(ctx);
            return;
        }
        let core = self.core.clone();
        let work = async move {
            if let Err(error) = core.refresh_ages().await {
                tracing::warn!(%error, "the age of the backlog is not known");
            }
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// One group, then one round of the tasks: a post waits for one round at most.
async fn cycle(core: Arc<Core>, group: Vec<Submit>, tasks: Tasks) -> (Tasks, Vec<Discard>) {
    let had_ops = !group.is_empty();
    if had_ops {
        let origin = Origin::of_group(group.iter().map(|submit| &submit.origin));
        origin.scope(commit(&core, group)).await;
    }
    let result = match tasks {
        Tasks::Look if !had_ops && !core.in_doubt() => {
            core.look_at_backlog().await.map(|more| Worked { more, ..Worked::default() })
        }
        // Only deliveries wait for Redis. Behind a write there may be one that is waited for.
        _ if !had_ops && !core.has_room().await => Ok(Worked { more: true, ..Worked::default() }),
        _ => core.work_round().await,
    };
    match result {
        Ok(Worked { more, discards }) => (if more { Tasks::Some } else { Tasks::None }, discards),
        Err(error) => {
            // Tried again at the next look; the tasks are where they were.
            tracing::warn!(%error, "a round of the fan-out failed");
            (Tasks::None, Vec::new())
        }
    }
}

async fn commit(core: &Core, group: Vec<Submit>) {
    let (ops, replies): (Vec<Op>, Vec<Reply>) =
        group.into_iter().map(|submit| (submit.op, submit.reply)).unzip();
    let mut replies: Vec<Option<Reply>> = replies.into_iter().map(Some).collect();
    core.commit_group(ops, |place, result| {
        if let Some(reply) = replies.get_mut(place).and_then(Option::take) {
            // A caller that has gone away does not undo what was committed.
            let _ = reply.send(result);
        }
    })
    .await;
}

impl Actor for WriterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, |actor, ctx| actor.look(ctx));
        self.go_on(ctx);
    }
}

impl Handler<Submit> for WriterActor {
    type Result = ();

    fn handle(&mut self, message: Submit, ctx: &mut Self::Context) {
        if self.waiting.len() >= QUEUE || self.stopping.is_some() {
            let _ = message.reply.send(Err(WriteError::Overloaded));
            return;
        }
        self.waiting.push_back(message);
        self.count_waiting();
        self.go_on(ctx);
    }
}

impl Handler<Finish> for WriterActor {
    type Result = ();

    fn handle(&mut self, message: Finish, ctx: &mut Self::Context) {
        self.stopping = Some(message.done);
        self.go_on(ctx);
    }
}
