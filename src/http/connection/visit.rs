//! One request on a connection, from its head to its answer.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::Conduct;

/// How often the dispatcher has its turn, a few kilobytes each, before a body that is still not
/// all there is taken for one that is on its way.
const TURNS: usize = 16;

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
        conduct.begin();
        Visit { conduct: Some(conduct), body }
    }

    /// Lets others have a turn when there have been many requests in one packet.
    pub(in crate::http) async fn wait(&self) {
        if self.conduct.as_ref().is_some_and(|conduct| conduct.is_greedy()) {
            tokio::task::yield_now().await;
        }
    }

    /// An answer that comes before the end of the body is the last one on its connection. One
    /// that is made while it is sent ends the visit when it is complete: until then the
    /// dispatcher has no use for further requests.
    pub(in crate::http) async fn end(self, mut response: ServiceResponse) -> ServiceResponse {
        // A refusal at first sight: what came with the head is still to be taken apart.
        for _ in 0..TURNS {
            if self.is_body_read() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if !self.is_body_read() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        if matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0)) {
            return response;
        }
        response.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) => BoxBody::new(bytes),
            Err(body) => BoxBody::new(Parting { body, _visit: self }),
        })
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

/// The body of an answer that is not all there yet, and the visit that ends with it.
struct Parting {
    body: BoxBody,
    _visit: Visit,
}

impl MessageBody for Parting {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
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
        let mut nobody = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(_)) = self.poll_payload(&mut nobody) {}
        self.0.is_over.get()
    }

    fn poll_payload(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.0.is_over.get() {
            return Poll::Ready(None);
        }
        let item = self.0.payload.borrow_mut().poll_next_unpin(cx);
        // A broken one is over too: the connection will not last.
        self.0.is_over.set(matches!(item, Poll::Ready(None | Some(Err(_)))));
        self.0.conduct.asked(item.is_pending());
        item
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.poll_payload(cx);
        if self.0.conduct.has_waited() {
            cx.waker().wake_by_ref();
        }
        item
    }
}
