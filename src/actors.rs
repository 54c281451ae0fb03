//! What all actors of Roost have in common: how they are started.

use actix::dev::channel;
use actix::{Actor, Addr, ArbiterHandle, Context};

/// Starts an actor on `arbiter` with a mailbox of `capacity` messages. The mailbox has its room
/// from the first moment: actix's own way gives sixteen places until the actor has started,
/// which a burst on a new actor overflows.
pub fn start<A>(
    arbiter: &ArbiterHandle,
    capacity: usize,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel::channel(capacity);
    // A thread that has ended drops the mailbox, and the address says that it is closed.
    arbiter.spawn_fn(move || {
        actix::spawn(Context::with_receiver(receiver).into_future(make()));
    });
    Addr::new(sender)
}
