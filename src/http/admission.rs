//! How many requests a node works on at a time. Those beyond are refused at once with 503 and
//! Retry-After: a queue would only make everybody wait longer than clients do, for answers that
//! nobody reads any more.
//!
//! A request counts from its head to its answer, but not while its body is still on its way:
//! a client that sends a byte a second takes no place from others. Event streams count until
//! they have begun. Health, readiness and metrics are always answered: those who ask want to
//! know how it goes.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError};

use super::ApiError;
use super::error::RETRY_AFTER_S;

/// Paths of operators.
const ALWAYS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The places of a node.
pub struct Admission {
    limit: usize,
    taken: AtomicUsize,
}

impl Admission {
    /// So many requests at a time.
    pub fn new(limit: usize) -> Admission {
        Admission { limit, taken: AtomicUsize::new(0) }
    }

    /// Requests that are worked on now.
    pub fn in_flight(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Result<(), ApiError> {
        let others = self.taken.fetch_add(1, Ordering::Relaxed);
        if others < self.limit {
            return Ok(());
        }
        self.leave();
        metrics::counter!("roost_http_shed_total").increment(1);
        Err(ApiError::Unavailable { retry_after: RETRY_AFTER_S })
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks a request that was refused here, for the log: one line for each would make an overload
/// worse.
pub(super) struct Shed;

/// The place of a request that may have a body, in its extensions.
#[derive(Clone)]
struct Place(Rc<Taken>);

struct Taken {
    admission: Arc<Admission>,
    counts: Cell<bool>,
}

/// The place of a request without a body.
struct Seat<'a>(&'a Admission);

impl<'a> Seat<'a> {
    fn take(admission: &'a Admission) -> Result<Seat<'a>, ApiError> {
        admission.enter().map(|()| Seat(admission))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Place {
    fn take(admission: &Arc<Admission>) -> Result<Place, ApiError> {
        admission.enter()?;
        let admission = admission.clone();
        Ok(Place(Rc::new(Taken { admission, counts: Cell::new(true) })))
    }

    /// Gives the place back, once.
    fn leave(&self) {
        if self.0.counts.replace(false) {
            self.0.admission.leave();
        }
    }

    fn enter_again(&self) -> Result<(), ApiError> {
        self.0.admission.enter()?;
        self.0.counts.set(true);
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A client that has gone away takes its request with it.
        if self.counts.get() {
            self.admission.leave();
        }
    }
}

/// Passes a request on to `inner` when there is a place for it. The place is free again with the
/// head of the answer, which may still be on its way to a slow reader: that is no work.
///
/// # Errors
/// Passes on what `inner` returns.
pub async fn admit(
    admission: &Arc<Admission>,
    request: ServiceRequest,
    inner: impl AsyncFnOnce(ServiceRequest) -> Result<ServiceResponse, Error>,
) -> Result<ServiceResponse, Error> {
    if ALWAYS.contains(&request.path()) {
        return inner(request).await;
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return match Seat::take(admission) {
            Ok(_seat) => inner(request).await,
            Err(full) => Ok(shed(request, &full)),
        };
    }
    let place = match Place::take(admission) {
        Ok(place) => place,
        Err(full) => return Ok(shed(request, &full)),
    };
    request.extensions_mut().insert(place.clone());
    let answered = inner(request).await;
    place.leave();
    answered
}

fn shed(request: ServiceRequest, full: &ApiError) -> ServiceResponse {
    request.extensions_mut().insert(Shed);
    request.into_response(full.error_response())
}

/// Reads a body without holding the request's place.
///
/// # Errors
/// Those of `reading`; [`ApiError::Unavailable`] when there is no place any more afterwards.
pub(super) async fn outside<T>(
    request: &HttpRequest,
    reading: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let place = request.extensions().get::<Place>().cloned();
    let Some(place) = place else { return reading.await };
    place.leave();
    let body = reading.await?;
    place.enter_again()?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_once_however_a_request_ends() {
        let admission = Arc::new(Admission::new(2));
        let first = Place::take(&admission).unwrap();
        let second = Place::take(&admission).unwrap();
        assert!(matches!(Place::take(&admission), Err(ApiError::Unavailable { .. })));
        assert!(Seat::take(&admission).is_err());
        assert_eq!(admission.in_flight(), 2);

        first.leave();
        first.leave();
        let third = Seat::take(&admission).unwrap();
        assert!(first.enter_again().is_err(), "its place is taken");
        drop(third);
        first.enter_again().unwrap();
        drop((first.clone(), second));
        assert_eq!(admission.in_flight(), 1);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
    }
}
