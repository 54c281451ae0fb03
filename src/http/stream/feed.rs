//! One client's stream: entries become events, silence becomes a comment.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::web;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::Place;
use super::permit::Permit;
use crate::hydration::pages::Hydrator;
use crate::time::Timestamp;
use crate::timeline::{Entry, Subscription};

/// A quiet stream says that it is alive this often; proxies cut silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Entries that are put together in one go.
const BATCH: usize = 32;

/// A client that was cut off comes back after so long, in milliseconds, spread over as much
/// again: after a restart not all are to come at once.
const RETRY_MS: i64 = 1_000;

/// A stream under way.
pub(super) struct Feed {
    user_id: i64,
    entries: mpsc::Receiver<Entry>,
    /// What was missed, oldest first.
    backlog: VecDeque<Entry>,
    /// Said first.
    opening: Option<Bytes>,
    last: Timestamp,
    heartbeat: Instant,
    permit: Permit,
    hydrator: web::Data<Hydrator>,
    stop: watch::Receiver<bool>,
    place: Place,
}

enum Woken {
    Entries(Vec<Entry>),
    Heartbeat,
    /// The login may have ended, or the server stops.
    Look,
}

impl Feed {
    pub(super) fn new(
        user_id: i64,
        subscription: Subscription,
        permit: Permit,
        hydrator: web::Data<Hydrator>,
        stop: watch::Receiver<bool>,
        place: Place,
    ) -> Feed {
        let opening = Some(opening(&subscription, user_id));
        let Subscription { after, backlog, entries, .. } = subscription;
        Feed {
            user_id,
            entries,
            backlog: backlog.into(),
            opening,
            last: after,
            heartbeat: Instant::now() + HEARTBEAT,
            permit,
            hydrator,
            stop,
            place,
        }
    }

    /// The next bytes; `None` ends the stream.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        loop {
            let woken = self.wait().await?;
            let turn = self.turn(&woken).await?;
            // After the wait, so that nothing is told to somebody who has left meanwhile.
            if turn.is_some() && !self.permit.holds().await {
                return None;
            }
            let bytes = match woken {
                Woken::Entries(batch) => self.render(batch).await?,
                Woken::Heartbeat => Bytes::from_static(b": alive\n\n"),
                Woken::Look => continue,
            };
            if !bytes.is_empty() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return Some(bytes);
            }
        }
    }

    /// Waits until not too many other streams are at work. `None`: the server stops.
    async fn turn(&mut self, woken: &Woken) -> Option<Option<OwnedSemaphorePermit>> {
        let turns = self.place.at_work.clone();
        if *self.stop.borrow() {
            return None;
        }
        if matches!(woken, Woken::Heartbeat) {
            // A sign of life must not wait for a database that is down.
            return Some(turns.try_acquire_owned().ok());
        }
        tokio::select! {
            _ = self.stop.changed() => None,
            turn = turns.acquire_owned() => turn.ok().map(Some),
        }
    }

    /// Waits for something to do. `None`: the timeline has let go of us, or a newer stream of
    /// the same user has taken our place.
    async fn wait(&mut self) -> Option<Woken> {
        if !self.backlog.is_empty() {
            let size = self.backlog.len().min(BATCH);
            return Some(Woken::Entries(self.backlog.drain(..size).collect()));
        }
        tokio::select! {
            _ = self.stop.changed() => Some(Woken::Look),
            () = self.permit.shaken() => Some(Woken::Look),
            () = self.place.given_up.notified() => None,
            received = timeout_at(self.heartbeat, self.entries.recv()) => match received {
                Err(_) => Some(Woken::Heartbeat),
                Ok(first) => {
                    let mut batch = vec![first?];
                    while batch.len() < BATCH && let Ok(more) = self.entries.try_recv() {
                        batch.push(more);
                    }
                    Some(Woken::Entries(batch))
                }
            },
        }
    }

    /// Events of entries that the client has not seen. `None` when they cannot be put
    /// together: the client comes back for them.
    async fn render(&mut self, batch: Vec<Entry>) -> Option<Bytes> {
        let last = self.last;
        let new: Vec<Entry> = batch.into_iter().filter(|entry| entry.created_at > last).collect();
        let items = self.hydrator.entries(&new, self.user_id).await.ok()?;
        let mut events = Vec::new();
        for (entry, item) in new.iter().zip(items) {
            self.last = self.last.max(entry.created_at);
            let Some(item) = item else { continue };
            let id = entry.created_at.micros();
            events.extend_from_slice(format!("id: {id}\nevent: newsfeed\ndata: ").as_bytes());
            events.extend_from_slice(&item);
            events.extend_from_slice(b"\n\n");
        }
        Some(events.into())
    }
}

/// Sent at once, so that the client knows that it is connected, when to come back, and after
/// which entry: an id without data is remembered and makes no event. After a long absence it
/// tells what is not sent again, and from where to page.
fn opening(subscription: &Subscription, user_id: i64) -> Bytes {
    let after = subscription.after;
    let retry = RETRY_MS + user_id.wrapping_mul(997).rem_euclid(RETRY_MS);
    let mut text = format!(": connected\nretry: {retry}\nid: {}\n\n", after.micros());
    if let (true, Some(oldest)) = (subscription.is_gap, subscription.backlog.first()) {
        let data = serde_json::json!({
            "created_at__gt": after, "created_at__lt": oldest.created_at,
        });
        text.push_str(&format!("event: gap\ndata: {data}\n\n"));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(is_gap: bool, backlog: &[i64]) -> String {
        let entry = |at: &i64| Entry { created_at: Timestamp(*at), tweet_id: 1 };
        let (_, entries) = mpsc::channel(1);
        let backlog = backlog.iter().map(entry).collect();
        let subscription = Subscription { after: Timestamp(7), backlog, is_gap, entries };
        String::from_utf8(opening(&subscription, 3).to_vec()).unwrap()
    }

    #[test]
    fn the_first_words_say_where_to_go_on() {
        assert_eq!(told(false, &[8, 9]), ": connected\nretry: 1991\nid: 7\n\n");
        let gap = told(true, &[1_000_000, 2_000_000]);
        let (_, gap) = gap.split_once("\n\n").unwrap();
        assert_eq!(
            gap,
            "event: gap\ndata: {\"created_at__gt\":\"1970-01-01T00:00:00.000007Z\",\
             \"created_at__lt\":\"1970-01-01T00:00:01.000000Z\"}\n\n"
        );
    }
}
