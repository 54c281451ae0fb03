//! `GET /api/newsfeeds/stream/`: new feed entries as they become visible (server-sent events,
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! - [`feed`]: one client's stream, from entries to bytes;
//! - [`permit`]: whether the login behind it still holds.
//!
//! Architecture invariant: whatever ends a stream, the client has the id after which it goes
//! on, from the first bytes.

mod feed;
mod permit;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use self::feed::Feed;
use self::permit::Permit;
use super::ApiError;
use super::auth::LoggedIn;
use super::error::RETRY_AFTER_S;
use super::routing::{Access, resource};
use super::window::parse_id;
use crate::accounts::Accounts;
use crate::hydration::pages::Hydrator;
use crate::time::Timestamp;
use crate::timeline::TimelineKey;

/// Open streams of a node; more are refused with 503.
const MOST_STREAMS: usize = 20_000;

/// Open streams of one user: windows and devices. One more, and the oldest ends: it may be one
/// whose client has gone, which shows only when something is sent to it.
const MOST_OF_ONE_USER: usize = 20;

/// Streams that are put together at a time; the others wait. A tweet that reaches ten thousand of
/// them at once must not crowd everybody else out of the database: the first few ask for it, the
/// others find it in memory, which takes microseconds.
const MOST_AT_WORK: usize = 4;

/// The open streams of a node, and the word that ends them.
pub struct Streams {
    open: Arc<Mutex<Open>>,
    at_work: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct Open {
    all: usize,
    /// Oldest first.
    of_users: HashMap<i64, VecDeque<Arc<Notify>>>,
}

impl Default for Streams {
    fn default() -> Self {
        let at_work = Arc::new(Semaphore::new(MOST_AT_WORK));
        Streams { open: Arc::default(), at_work, stop: watch::Sender::new(false) }
    }
}

impl Streams {
    /// Ends all streams; their clients reconnect elsewhere.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn enter(&self, user_id: i64) -> Result<Place, ApiError> {
        let mut open = self.open.lock();
        if open.all >= MOST_STREAMS {
            return Err(ApiError::Unavailable { retry_after: RETRY_AFTER_S });
        }
        open.all += 1;
        metrics::gauge!("roost_streams_open").set(open.all as f64);
        let given_up = Arc::new(Notify::new());
        let of_user = open.of_users.entry(user_id).or_default();
        if of_user.len() >= MOST_OF_ONE_USER
            && let Some(oldest) = of_user.pop_front()
        {
            oldest.notify_one();
        }
        of_user.push_back(given_up.clone());
        Ok(Place { user_id, given_up, open: self.open.clone(), at_work: self.at_work.clone() })
    }
}

/// One open stream, counted for as long as it lives.
struct Place {
    user_id: i64,
    given_up: Arc<Notify>,
    open: Arc<Mutex<Open>>,
    at_work: Arc<Semaphore>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        open.all -= 1;
        if let Some(of_user) = open.of_users.get_mut(&self.user_id) {
            of_user.retain(|other| !Arc::ptr_eq(other, &self.given_up));
            if of_user.is_empty() {
                open.of_users.remove(&self.user_id);
            }
        }
        metrics::gauge!("roost_streams_open").set(open.all as f64);
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
    let user_id = me.user_id;
    let place = streams.enter(user_id)?;
    let stop = streams.stop.subscribe();
    let permit = Permit::new(me, accounts).await?.ok_or(ApiError::NotAuthenticated)?;
    let key = TimelineKey::Home(user_id);
    let subscription = hydrator.timelines.follow(key, after).await.map_err(|error| {
        tracing::debug!(user_id, %error, "a stream could not begin");
        ApiError::Unavailable { retry_after: RETRY_AFTER_S }
    })?;
    let feed = Feed::new(user_id, subscription, permit, hydrator, stop, place);
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

#[cfg(test)]
mod tests;
