//! A look at what is in memory, for operators: it loads nothing and wakes nobody.

use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::actor::TimelineActor;
use super::{Range, TimelineKey, Timelines};

/// Longest wait for an actor that loads.
const LIMIT: Duration = Duration::from_secs(1);

/// What memory holds of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Entries, the newest ones.
    pub entries: usize,
    /// Whether the timeline has no others.
    pub complete: bool,
    /// When the oldest of them became visible, in microseconds; 0 without entries.
    pub oldest: i64,
    /// Whether the tweet is among them.
    pub holds: bool,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peeked {
    /// The timeline is not in memory, or what is there will be loaded again.
    Cold,
    /// Its actor has too much to do to answer.
    Busy,
    /// It is in memory.
    Held(Held),
}

/// Asks an actor what it holds.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Peek {
    tweet_id: i64,
    reply: oneshot::Sender<Option<Held>>,
}

impl Timelines {
    /// What memory holds of a timeline, and whether the tweet is in it.
    pub async fn peek(&self, key: TimelineKey, tweet_id: i64) -> Peeked {
        let Some(addr) = self.address(key) else { return Peeked::Cold };
        let (reply, answer) = oneshot::channel();
        if addr.try_send(Peek { tweet_id, reply }).is_err() {
            return Peeked::Busy;
        }
        match tokio::time::timeout(LIMIT, answer).await {
            Ok(Ok(Some(held))) => Peeked::Held(held),
            Ok(Ok(None) | Err(_)) => Peeked::Cold,
            Err(_) => Peeked::Busy,
        }
    }
}

impl Handler<Peek> for TimelineActor {
    type Result = ();

    fn handle(&mut self, peek: Peek, _: &mut Self::Context) {
        let held = self.show(|window| {
            let entries = window.find(Range::ALL, usize::MAX).entries;
            Held {
                entries: entries.len(),
                complete: window.is_complete(),
                oldest: entries.last().map_or(0, |entry| entry.created_at.micros()),
                holds: entries.iter().any(|entry| entry.tweet_id == peek.tweet_id),
            }
        });
        // Whoever asked may have gone away.
        let _ = peek.reply.send(held);
    }
}
