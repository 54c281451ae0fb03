//! The metrics of a route, looked up once per route and not once per request: a look-up by
//! labels allocates them anew and hashes them, for each metric.

use std::time::Duration;

use metrics::{Counter, Histogram};
use parking_lot::RwLock;

/// Counts and times the requests of one route. Each worker has its own for each route, so that
/// their locks are never contended; what they count adds up in the recorder.
pub struct Meter {
    route: &'static str,
    seconds: Histogram,
    /// One per method and status that has been seen: a few, bounded by the labels.
    requests: RwLock<Vec<(&'static str, u16, Counter)>>,
}

impl Meter {
    /// A meter of a route as it was registered, such as `/api/tweets/{id}/`. The recorder must
    /// be installed before.
    pub fn new(route: &'static str) -> Meter {
        let seconds = metrics::histogram!("roost_http_request_seconds", "route" => route);
        Meter { route, seconds, requests: RwLock::default() }
    }

    /// The route.
    pub fn route(&self) -> &'static str {
        self.route
    }

    /// Takes down one request. `method` is of a bounded set.
    pub fn record(&self, method: &'static str, status: u16, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        let known = |(m, s, _): &&(&'static str, u16, Counter)| *m == method && *s == status;
        if let Some((_, _, counter)) = self.requests.read().iter().find(known) {
            counter.increment(1);
            return;
        }
        let counter = metrics::counter!(
            "roost_http_requests_total",
            "method" => method, "route" => self.route, "status" => status.to_string()
        );
        counter.increment(1);
        self.requests.write().push((method, status, counter));
    }
}
