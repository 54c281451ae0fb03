//! Reading a body within its limits of size and time.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::budget::{self, Held};
use crate::config::Config;
use crate::http::ApiError;

/// Longest time from the head of a request to the end of its body, unless the settings say
/// otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// A body of up to so many bytes is kept without asking; a longer one takes its share of the
/// memory for uploads.
const SMALL: usize = 4 * 1024;

/// A body that ends with an error once it is longer than its limit. Clones read the same body,
/// so that one can drain what another has left over.
#[derive(Clone)]
pub(super) struct Limited(Rc<RefCell<Source>>);

struct Source {
    payload: Payload,
    left: usize,
    /// Whether a byte has come.
    begun: bool,
    /// Whether there was nothing when it was last read.
    is_awaited: bool,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

impl Limited {
    /// # Errors
    /// [`ApiError::TooLarge`] at once when the declared length is beyond `limit`.
    pub(super) fn new(
        request: &HttpRequest,
        payload: Payload,
        limit: usize,
    ) -> Result<Limited, ApiError> {
        let declared = request.headers().get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        Ok(Limited(Rc::new(RefCell::new(Source {
            payload,
            left: limit,
            begun: false,
            is_awaited: false,
            end: None,
        }))))
    }

    /// Whether the body has ended before its first byte.
    pub(super) fn is_empty(&self) -> bool {
        let source = self.0.borrow();
        source.end == Some(End::Whole) && !source.begun
    }

    /// Whether whoever read last waits for more of it.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.borrow().is_awaited
    }

    /// Reads on to the end without keeping anything, so that the connection stays usable.
    pub(super) async fn drain(mut self) -> Result<(), ApiError> {
        while let Some(chunk) = self.next().await {
            chunk.map_err(payload_error)?;
        }
        Ok(())
    }
}

impl Stream for Limited {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut source = self.0.borrow_mut();
        source.is_awaited = false;
        if source.end.is_some() {
            return Poll::Ready(None);
        }
        let Poll::Ready(mut item) = source.payload.poll_next_unpin(cx) else {
            source.is_awaited = true;
            return Poll::Pending;
        };
        if let Some(Ok(chunk)) = &item {
            source.begun |= !chunk.is_empty();
            match source.left.checked_sub(chunk.len()) {
                Some(left) => source.left = left,
                None => item = Some(Err(PayloadError::Overflow)),
            }
        }
        source.end = match item {
            Some(Ok(_)) => None,
            Some(Err(_)) => Some(End::Broken),
            None => Some(End::Whole),
        };
        Poll::Ready(item)
    }
}

/// Runs the reading of a body against the clock.
pub(super) async fn in_time<T>(
    request: &HttpRequest,
    reading: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let settings = request.app_data::<web::Data<Config>>();
    let limit = settings.map_or(DEADLINE, |config| Duration::from_millis(config.body_ms));
    match tokio::time::timeout(limit, reading).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::TooSlow),
    }
}

/// The whole body, at most `limit` bytes.
pub(super) async fn collect(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let mut body = Limited::new(request, payload, limit)?;
    let mut bytes = BytesMut::new();
    let mut held: Option<Held> = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(payload_error)?;
        if held.is_none() && bytes.len() + chunk.len() > SMALL {
            held = Some(budget::hold(limit)?);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Whether the body ends before its first byte.
pub(super) async fn is_empty(mut payload: Payload) -> Result<bool, ApiError> {
    while let Some(chunk) = payload.next().await {
        if !chunk.map_err(payload_error)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn too_large() -> ApiError {
    ApiError::TooLarge("The request body is too large.".into())
}

/// Whatever goes wrong with a body is the client's doing, or its network's.
pub(super) fn payload_error(error: PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(),
        _ => ApiError::Malformed("The request body is incomplete.".into()),
    }
}
