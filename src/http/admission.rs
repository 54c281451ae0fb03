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
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};

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

/// A request's place, in its extensions.
#[derive(Clone)]
struct Place(Rc<Taken>);

struct Taken {
    admission: web::Data<Admission>,
    counts: Cell<bool>,
}

impl Place {
    fn take(admission: web::Data<Admission>) -> Result<Place, ApiError> {
        admission.enter()?;
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

/// The middleware.
///
/// # Errors
/// Passes on what the inner service returns.
pub async fn admit<B>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let admission = request.app_data::<web::Data<Admission>>().cloned();
    let Some(admission) = admission.filter(|_| !ALWAYS.contains(&request.path())) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let place = match Place::take(admission) {
        Ok(place) => place,
        Err(full) => {
            request.extensions_mut().insert(Shed);
            return Ok(request.into_response(full.error_response()));
        }
    };
    request.extensions_mut().insert(place.clone());
    let answered = next.call(request).await;
    // The answer may still be on its way to a slow reader, which is no work.
    place.leave();
    Ok(answered?.map_into_boxed_body())
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
        let admission = web::Data::new(Admission::new(2));
        let first = Place::take(admission.clone()).unwrap();
        let second = Place::take(admission.clone()).unwrap();
        assert!(matches!(Place::take(admission.clone()), Err(ApiError::Unavailable { .. })));
        assert_eq!(admission.in_flight(), 2);

        first.leave();
        first.leave();
        let third = Place::take(admission.clone()).unwrap();
        assert!(first.enter_again().is_err(), "its place is taken");
        drop(third);
        first.enter_again().unwrap();
        drop((first.clone(), second));
        assert_eq!(admission.in_flight(), 1);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
    }
}
