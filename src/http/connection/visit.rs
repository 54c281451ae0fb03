//! One request on a connection, from its head to its answer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::Conduct;

/// Tells the connection of a request's beginning, and when dropped of its end.
pub(in crate::http) struct Visit {
    /// None for a connection that is not guarded.
    conduct: Option<Rc<Conduct>>,
    /// None for a request without one.
    body: Option<Body>,
}

impl Visit {
    pub(in crate::http) fn begin(request: &mut ServiceRequest) -> Visit {
        let Some(conduct) = request.conn_data::<Rc<Conduct>>().cloned() else {
            return Visit { conduct: None, body: None };
        };
        let body = match request.take_payload() {
            Payload::None => None,
            payload => {
                let body = Body::watch(payload, conduct.clone());
                request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
                Some(body)
            }
        };
        conduct.begin(body.is_some());
        Visit { conduct: Some(conduct), body }
    }

    /// Lets others have a turn when there have been many requests in one packet.
    pub(in crate::http) async fn wait(&self) {
        if self.conduct.as_ref().is_some_and(|conduct| conduct.is_greedy()) {
            tokio::task::yield_now().await;
        }
    }

    /// An answer that comes before the end of the body is the last one on its connection.
    pub(in crate::http) async fn end<B>(self, response: &mut ServiceResponse<B>) {
        if !self.is_body_read() {
            // A refusal at first sight: what came in one packet with the head is still to be
            // taken apart.
            tokio::task::yield_now().await;
        }
        if !self.is_body_read() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }

    fn is_body_read(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_over)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(conduct) = self.conduct.take() {
            conduct.end(self.is_body_read());
        }
    }
}

/// A body that is watched for its end. Clones read the same one.
#[derive(Clone)]
struct Body(Rc<Watched>);

struct Watched {
    payload: RefCell<Payload>,
    conduct: Rc<Conduct>,
    is_over: Cell<bool>,
}

impl Body {
    fn watch(payload: Payload, conduct: Rc<Conduct>) -> Body {
        let (payload, is_over) = (RefCell::new(payload), Cell::new(false));
        Body(Rc::new(Watched { payload, conduct, is_over }))
    }

    /// Whether all of it is here; what is here is thrown away. For when nobody reads it any
    /// more: at most what the connection buffers of a body.
    fn is_over(&self) -> bool {
        let mut rest = self.clone();
        let mut nobody = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(_)) = rest.poll_next_unpin(&mut nobody) {}
        self.0.is_over.get()
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.0.is_over.get() {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(self.0.payload.borrow_mut().poll_next_unpin(cx));
        // A broken one is over too: the connection will not last.
        if !matches!(item, Some(Ok(_))) {
            self.0.is_over.set(true);
            self.0.conduct.body_over();
        }
        Poll::Ready(item)
    }
}
