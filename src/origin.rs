//! For whom a piece of work is done: the id of a request, carried from the HTTP layer through
//! the messages of the actors into the store, where slow and failed queries are logged with it.
//!
//! Within a task it is known by itself ([`Origin::current`]). A message to an actor carries it
//! in a field, since the actor runs in a task of its own, and what the message asks for is done
//! inside [`Origin::scope`]. With the cargo feature `otel` it also carries the request's span,
//! so that exported traces hang together the same way.

use std::fmt;
use std::sync::Arc;

tokio::task_local! {
    static CURRENT: Origin;
}

/// For whom something is done. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The request; none for what the service does by itself.
    request_id: Option<Arc<str>>,
    /// How many other requests share the work, as in a batch.
    others: usize,
    #[cfg(feature = "otel")]
    span: Option<tracing::Span>,
}

impl Origin {
    /// A request with this id.
    pub fn of_request(id: &str) -> Origin {
        Origin {
            request_id: Some(id.into()),
            others: 0,
            #[cfg(feature = "otel")]
            span: Some(spans::of_request(id)),
        }
    }

    /// The same request as part of the trace that a `traceparent` header (W3C Trace Context)
    /// names. One that makes no sense changes nothing.
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn below(self, traceparent: &str) -> Origin {
        if let Some(span) = &self.span {
            spans::put_below(span, traceparent);
        }
        self
    }

    /// Work that is done for all of these at once.
    pub fn of_group<'a>(members: impl Iterator<Item = &'a Origin>) -> Origin {
        let mut requests = members.filter(|member| member.request_id.is_some());
        let Some(first) = requests.next() else { return Origin::default() };
        let mut group = first.clone();
        for member in requests {
            group.others += 1;
            #[cfg(feature = "otel")]
            if let (Some(span), Some(other)) = (&group.span, &member.span) {
                span.follows_from(other);
            }
            #[cfg(not(feature = "otel"))]
            let _ = member;
        }
        group
    }

    /// For whom the task that asks is at work.
    pub fn current() -> Origin {
        CURRENT.try_with(Origin::clone).unwrap_or_default()
    }

    /// Does `work` for this origin.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        #[cfg(feature = "otel")]
        let work = {
            use tracing::Instrument as _;
            work.instrument(self.span.clone().unwrap_or_else(tracing::Span::none))
        };
        CURRENT.scope(self, work).await
    }

    /// Does the blocking `work` of the call `name` to the database for this origin.
    pub fn call<T, E>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        #[cfg(feature = "otel")]
        if let Some(request) = &self.span {
            return spans::of_call(request, name, work);
        }
        #[cfg(not(feature = "otel"))]
        let _ = name;
        work()
    }
}

/// What is exported of a request and of the calls to the database that are made for it. What the
/// service does by itself is not: it would be most of what a quiet service sends.
#[cfg(feature = "otel")]
pub mod spans {
    use opentelemetry::Context;
    use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
    use opentelemetry::trace::TraceContextExt as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing::field::Empty;
    use tracing::{Span, info_span};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    pub(super) fn of_request(id: &str) -> Span {
        info_span!(
            "request",
            request_id = id,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = Empty,
            http.route = Empty,
            http.response.status_code = Empty,
        )
    }

    /// The header under which clients and proxies name the span that a request belongs to.
    pub const TRACEPARENT: &str = "traceparent";

    struct Header<'a>(&'a str);

    impl Extractor for Header<'_> {
        fn get(&self, name: &str) -> Option<&str> {
            (name == TRACEPARENT).then_some(self.0)
        }

        fn keys(&self) -> Vec<&str> {
            vec![TRACEPARENT]
        }
    }

    pub(super) fn put_below(span: &Span, traceparent: &str) {
        let header = Header(traceparent);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &header);
        if parent.span().span_context().is_valid() {
            // Fails only when nothing is exported.
            let _ = span.set_parent(parent);
        }
    }

    /// Tells the span of the request at hand how the request has ended.
    pub fn end_request(method: &str, route: &str, status: u16) {
        let span = Span::current();
        // A field would come too late for the name: the span has begun.
        span.context().span().update_name(format!("{method} {route}"));
        span.record("http.request.method", method);
        span.record("http.route", route);
        // Of what is unsigned it would make a text.
        span.record("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
    }

    pub(super) fn of_call<T, E>(
        request: &Span,
        name: &'static str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let span = info_span!(
            parent: request,
            "database",
            otel.kind = "client",
            otel.name = name,
            otel.status_code = Empty,
        );
        let result = span.in_scope(work);
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        result
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.request_id, self.others) {
            (None, _) => f.write_str("none"),
            (Some(id), 0) => f.write_str(id),
            (Some(id), others) => write!(f, "{id} and {others} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_known_inside_its_scope_and_nowhere_else() {
        assert_eq!(Origin::current().to_string(), "none");
        let seen = Origin::of_request("a-1").scope(async { Origin::current().to_string() }).await;
        assert_eq!(seen, "a-1");
        assert_eq!(Origin::current().to_string(), "none");
    }

    #[test]
    fn a_group_names_the_first_request_and_counts_the_others() {
        let members = [Origin::default(), Origin::of_request("a-1"), Origin::of_request("a-2")];
        assert_eq!(Origin::of_group(members.iter()).to_string(), "a-1 and 1 more");
        assert_eq!(Origin::of_group(members[..2].iter()).to_string(), "a-1");
        assert_eq!(Origin::of_group(members[..1].iter()).to_string(), "none");
    }
}
