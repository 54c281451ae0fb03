//! Around every request: its id, its place among the requests in flight, its rate limits, its
//! metrics, its log line, the headers of every answer, and how its body travels.
//!
//! To actix it is one layer, since each costs an allocation per request. What it needs is looked
//! up once for each HTTP thread ([`Front`]), and counted there where it can be: what two threads
//! write to in turn wanders from one processor to the other. The future of a request is moved
//! several times, so what is large in it and rarely needed stands in a box of its own, here and
//! wherever a page may have to wait for the database.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    self, HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};

use super::admission::{Admission, Shed, admit};
use super::connection::Visit;
use super::cors::Origins;
use super::meters::Meter;
use super::proxies::TrustedProxies;
use super::rate_limits::enforce;
use super::{auth, compression, cors, proxies};
use crate::limits::RateLimits;
use crate::origin::Origin;

/// Longest request id that is taken from a client.
const LONGEST_REQUEST_ID: usize = 64;

/// Bytes of an id that all requests of a thread share.
const PREFIX: usize = 13;

/// On every response.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// On every response whose handler has no policy of its own.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Only where the client speaks TLS: elsewhere it would shut it out.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the requests of one HTTP thread meet before any handler.
pub struct Front {
    /// Makes their ids.
    pub ids: RequestIds,
    /// The places of the node.
    pub admission: Arc<Admission>,
    /// `None`: they are off.
    pub limits: Option<RateLimits>,
    /// Proxies whose word counts.
    pub proxies: Arc<TrustedProxies>,
    /// Origins whose pages may use the API.
    pub origins: Arc<Origins>,
    /// Whether bodies are packed for clients that ask for it.
    pub gzip: bool,
}

/// Makes the prefixes of request ids, from a random number on.
#[derive(Debug)]
pub struct Prefixes(AtomicU64);

impl Prefixes {
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Prefixes(AtomicU64::new(u64::from_be_bytes(bytes))))
    }

    /// The ids of one thread.
    pub fn next(&self) -> RequestIds {
        let mut prefix = [b'-'; PREFIX];
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        prefix[..PREFIX - 1].copy_from_slice(&hex(number)[4..]);
        RequestIds { prefix, next: Cell::new(1) }
    }
}

/// Makes request ids: a prefix of the thread and a number.
#[derive(Debug)]
pub struct RequestIds {
    /// Twelve hexadecimal digits and a hyphen.
    prefix: [u8; PREFIX],
    next: Cell<u64>,
}

impl RequestIds {
    pub(super) fn make(&self) -> HeaderValue {
        let number = self.next.replace(self.next.get() + 1);
        let digits = hex(number);
        let zeros = (number.leading_zeros() as usize / 4).min(15);
        let mut id = [0; PREFIX + 16];
        id[..PREFIX].copy_from_slice(&self.prefix);
        id[PREFIX..].copy_from_slice(&digits);
        id.copy_within(PREFIX + zeros.., PREFIX);
        let length = id.len() - zeros;
        HeaderValue::from_bytes(&id[..length]).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// Sixteen hexadecimal digits. `format!` would be a tenth of the whole middleware.
fn hex(number: u64) -> [u8; 16] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(number >> (60 - 4 * place)) as usize & 15])
}

/// The middleware.
///
/// # Errors
/// Passes on what the inner service returns.
pub async fn observe(
    front: Rc<Front>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let started = Instant::now();
    let visit = Visit::begin(&mut request);
    visit.wait().await;
    let id = request_id(&front.ids, &request);
    let tls = proxies::is_tls(request.request(), &front.proxies);
    let mut response = match cors::preflight(&request) {
        Some(answer) => request.into_response(answer),
        None => {
            let origin = Origin::of_request(id.to_str().unwrap_or("none"));
            #[cfg(feature = "otel")]
            let origin = match proxies::traceparent(request.request(), &front.proxies) {
                Some(parent) => origin.below(parent),
                None => origin,
            };
            // Outermost: a refused request has its id and its line too.
            let inner = async |request| match &front.limits {
                Some(limits) => Box::pin(enforce(limits, request, next)).await,
                None => next.call(request).await,
            };
            let handled = admit(&front.admission, request, inner);
            #[cfg(feature = "otel")]
            let handled = traced(handled);
            let mut response = origin.scope(handled).await?;
            cors::tell(&front.origins, &mut response);
            if front.gzip { compression::pack(response) } else { response }
        }
    };
    let status = response.status();
    dress(response.headers_mut(), &id, status);
    if tls {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
    record(&response, &id, started.elapsed());
    Ok(visit.end(response).await)
}

/// Lets the exported trace say what was asked for and how it ended.
#[cfg(feature = "otel")]
async fn traced(
    handled: impl Future<Output = Result<ServiceResponse, Error>>,
) -> Result<ServiceResponse, Error> {
    let response = handled.await?;
    let request = response.request();
    let route = request.app_data::<Meter>().map_or("unknown", Meter::route);
    let status = response.status().as_u16();
    crate::origin::spans::end_request(method_label(request.method()), route, status);
    Ok(response)
}

fn request_id(ids: &RequestIds, request: &ServiceRequest) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=LONGEST_REQUEST_ID).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    });
    given.cloned().unwrap_or_else(|| ids.make())
}

/// Gives an answer its id, and the headers of every answer that it does not have.
pub(super) fn dress(headers: &mut HeaderMap, id: &HeaderValue, status: StatusCode) {
    headers.insert(REQUEST_ID, id.clone());
    if !headers.contains_key(header::CACHE_CONTROL) && !status.is_redirection() {
        // A refusal may be over a moment later. What says nothing else may be somebody's own.
        let is_refusal = status.is_client_error() || status.is_server_error();
        let kept = if is_refusal { "no-store" } else { "private, no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING);
    }
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, value);
    }
}

/// One line and one measurement per request, labelled by route and never by path.
fn record<B>(response: &ServiceResponse<B>, id: &HeaderValue, took: Duration) {
    let request = response.request();
    let status = response.status().as_u16();
    let method = method_label(request.method());
    // The innermost one: of the resource, or of the application for a path that has none.
    let meter = request.app_data::<Meter>();
    let route = meter.map_or("unknown", Meter::route);
    if let Some(meter) = meter {
        meter.record(method, status, took);
    }
    // Only what is logged is worked out.
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                request_id = id.to_str().unwrap_or(""),
                user_id = auth::known_user(request),
                method,
                route,
                status,
                took_us = took.as_micros() as u64,
                $text
            )
        };
    }
    if status == 503 && request.extensions().contains::<Shed>() {
        line!(debug, "request refused");
    } else if status >= 500 {
        line!(warn, "request failed");
    } else if matches!(method, "GET" | "HEAD") {
        line!(debug, "request");
    } else {
        line!(info, "request");
    }
}

/// Methods as a bounded set of labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_one_thread_and_count_on() {
        let prefixes = Prefixes::new().unwrap();
        let (ids, others) = (prefixes.next(), prefixes.next());
        let mut made: Vec<String> =
            (0..300).map(|_| ids.make().to_str().unwrap().to_owned()).collect();
        let (prefix, first) = made[0].split_once('-').unwrap();
        assert_eq!((prefix.len(), first), (12, "1"));
        assert!(prefix.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(made[254], format!("{prefix}-ff"));
        assert_eq!(made[255], format!("{prefix}-100"));
        made.extend((0..300).map(|_| others.make().to_str().unwrap().to_owned()));
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 600);
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_formatter() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(number).to_vec(), format!("{number:016x}").into_bytes());
        }
    }
}
