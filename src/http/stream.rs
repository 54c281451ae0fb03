//! `GET /api/newsfeeds/stream/`: new feed entries as they become visible (server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::ApiError;
use super::auth::LoggedIn;
use super::error::RETRY_AFTER_S;
use super::routing::{Access, resource};
use super::window::parse_id;
use crate::accounts::{Accounts, AuthMethod, Identity, Kind};
use crate::hydration::pages::Hydrator;
use crate::time::Timestamp;
use crate::timeline::{Entry, Subscription, TimelineKey};

/// A quiet stream says that it is alive this often; proxies cut silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Entries that are put together in one go.
const BATCH: usize = 32;

/// Open streams of a node; more are refused with 503.
const MOST_STREAMS: usize = 20_000;

/// The open streams of a node, and the word that ends them.
pub struct Streams {
    open: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { open: Arc::default(), stop: watch::Sender::new(false) }
    }
}

impl Streams {
    /// Ends all streams; their clients reconnect elsewhere.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn enter(&self) -> Result<Place, ApiError> {
        let place = Place(self.open.clone());
        let others = place.0.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("roost_streams_open").set((others + 1) as f64);
        if others >= MOST_STREAMS {
            return Err(ApiError::Unavailable { retry_after: RETRY_AFTER_S });
        }
        Ok(place)
    }
}

/// One open stream, counted for as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        let open = self.0.fetch_sub(1, Ordering::Relaxed) - 1;
        metrics::gauge!("roost_streams_open").set(open as f64);
    }
}

/// Registers the resource.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/newsfeeds/stream/", Access::Login, "GET").route(web::get().to(open)),
    );
}

async fn open(
    request: HttpRequest,
    LoggedIn(me): LoggedIn,
    hydrator: web::Data<Hydrator>,
    accounts: web::Data<Accounts>,
    streams: web::Data<Streams>,
) -> Result<HttpResponse, ApiError> {
    let after = last_event(&request)?;
    let place = streams.enter()?;
    let stop = streams.stop.subscribe();
    let key = TimelineKey::Home(me.user_id);
    let subscription = hydrator.timelines.follow(key, after).await.map_err(|error| {
        tracing::debug!(user_id = me.user_id, %error, "a stream could not begin");
        ApiError::Unavailable { retry_after: RETRY_AFTER_S }
    })?;
    let feed = Feed::new(me, subscription, after, hydrator, accounts, stop, place);
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Asks nginx not to hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(feed, |mut feed| async move {
            let bytes = feed.next().await?;
            Some((Ok::<Bytes, actix_web::Error>(bytes), feed))
        })))
}

/// The last event that a returning client has seen.
fn last_event(request: &HttpRequest) -> Result<Option<Timestamp>, ApiError> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(parse_id).ok_or(ApiError::Malformed(
        "Last-Event-ID must be the id of an entry of the feed.".into(),
    ))?;
    Ok(Some(Timestamp(id)))
}

/// One client's stream.
struct Feed {
    me: Identity,
    entries: tokio::sync::mpsc::Receiver<Entry>,
    /// What was missed, oldest first.
    backlog: VecDeque<Entry>,
    /// Said first.
    opening: Option<Bytes>,
    last: Timestamp,
    heartbeat: Instant,
    hydrator: web::Data<Hydrator>,
    accounts: web::Data<Accounts>,
    stop: watch::Receiver<bool>,
    _place: Place,
}

impl Feed {
    fn new(
        me: Identity,
        subscription: Subscription,
        after: Option<Timestamp>,
        hydrator: web::Data<Hydrator>,
        accounts: web::Data<Accounts>,
        stop: watch::Receiver<bool>,
        place: Place,
    ) -> Feed {
        let Subscription { backlog, is_gap, entries } = subscription;
        let opening = match (is_gap, after, backlog.first()) {
            (true, Some(after), Some(oldest)) => gap(after, oldest.created_at),
            // Sends the head at once, so that the client knows that it is connected.
            _ => Bytes::from_static(b": connected\n\n"),
        };
        Feed {
            me,
            entries,
            backlog: backlog.into(),
            opening: Some(opening),
            last: after.unwrap_or(Timestamp::MIN),
            heartbeat: Instant::now() + HEARTBEAT,
            hydrator,
            accounts,
            stop,
            _place: place,
        }
    }

    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        loop {
            if *self.stop.borrow() || !self.is_logged_in().await {
                return None;
            }
            let batch = match self.wait().await? {
                Woken::Entries(batch) => batch,
                Woken::Heartbeat => {
                    self.heartbeat = Instant::now() + HEARTBEAT;
                    return Some(Bytes::from_static(b": alive\n\n"));
                }
                Woken::Stop => return None,
            };
            let events = self.render(batch).await?;
            if !events.is_empty() {
                self.heartbeat = Instant::now() + HEARTBEAT;
                return Some(events);
            }
        }
    }

    /// Waits for entries, the heartbeat or the end. `None`: the timeline has let go of us.
    async fn wait(&mut self) -> Option<Woken> {
        if !self.backlog.is_empty() {
            let size = self.backlog.len().min(BATCH);
            return Some(Woken::Entries(self.backlog.drain(..size).collect()));
        }
        tokio::select! {
            _ = self.stop.changed() => Some(Woken::Stop),
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
        let items = self.hydrator.entries(&new, self.me.user_id).await.ok()?;
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

    /// Whether the login that opened the stream still holds. Without an answer it does.
    async fn is_logged_in(&self) -> bool {
        let kind = match self.me.method {
            AuthMethod::Cookie => Kind::Cookie,
            AuthMethod::Bearer => Kind::Bearer,
            AuthMethod::Basic => return true,
        };
        match self.me.session {
            Some(hash) => !matches!(self.accounts.session(kind, hash).await, Ok(None)),
            None => true,
        }
    }
}

enum Woken {
    Entries(Vec<Entry>),
    Heartbeat,
    Stop,
}

/// Tells from where to page what is not sent again.
fn gap(after: Timestamp, before: Timestamp) -> Bytes {
    let data = serde_json::json!({ "created_at__gt": after, "created_at__lt": before });
    Bytes::from(format!("event: gap\ndata: {data}\n\n"))
}
