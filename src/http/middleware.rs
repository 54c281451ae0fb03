//! Around every request: its id, its metrics, its log line, the headers of every answer, and
//! how its body travels. One layer does it all, since each costs an allocation per request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    self, HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use bytes::Bytes;

use super::admission::Shed;
use super::meters::Meter;
use super::{auth, compression, cors, proxies};
use crate::origin::Origin;

/// Longest request id that is taken from a client.
const LONGEST_REQUEST_ID: usize = 64;

/// Bytes of an id that all requests of a process share.
const PREFIX: usize = 13;

/// On every response, unless the handler has set its own.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// Only where the client speaks TLS: elsewhere it would shut it out.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, also in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

/// Makes request ids: a random prefix per process and a number.
#[derive(Debug)]
pub struct RequestIds {
    /// Twelve hexadecimal digits and a hyphen.
    prefix: [u8; PREFIX],
    next: AtomicU64,
}

impl RequestIds {
    /// A new series.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes[2..])?;
        let mut prefix = [b'-'; PREFIX];
        prefix[..PREFIX - 1].copy_from_slice(&hex(u64::from_be_bytes(bytes))[4..]);
        Ok(RequestIds { prefix, next: AtomicU64::new(1) })
    }

    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let digits = hex(number);
        let zeros = (number.leading_zeros() as usize / 4).min(15);
        let mut id = Vec::with_capacity(PREFIX + digits.len());
        id.extend_from_slice(&self.prefix);
        id.extend_from_slice(&digits[zeros..]);
        HeaderValue::from_maybe_shared(Bytes::from(id))
            .unwrap_or_else(|_| HeaderValue::from_static("none"))
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
pub async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let started = Instant::now();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let tls = proxies::is_tls(request.request(), proxies::configured(request.request()));
    let mut response = match cors::preflight(&request) {
        Some(answer) => request.into_response(answer).map_body(|_, body| EitherBody::right(body)),
        None => {
            let origin = Origin::of_request(id.to_str().unwrap_or("none"));
            let response = origin.scope(next.call(request)).await?;
            let mut response = response.map_into_left_body::<BoxBody>();
            cors::tell(&mut response);
            compression::pack(response)
        }
    };
    let status = response.status();
    let headers = response.headers_mut();
    set_missing(headers, status);
    if tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
    headers.insert(REQUEST_ID, id.clone());
    record(&response, &id, started.elapsed());
    Ok(response)
}

fn request_id(request: &ServiceRequest) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=LONGEST_REQUEST_ID).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    });
    match (given, request.app_data::<web::Data<RequestIds>>()) {
        (Some(given), _) => given.clone(),
        (None, Some(ids)) => ids.make(),
        (None, None) => HeaderValue::from_static("none"),
    }
}

fn set_missing(headers: &mut HeaderMap, status: StatusCode) {
    if !headers.contains_key(header::CACHE_CONTROL) && !status.is_redirection() {
        // A refusal may be over a moment later. What says nothing else may be somebody's own.
        let is_refusal = status.is_client_error() || status.is_server_error();
        let kept = if is_refusal { "no-store" } else { "private, no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    }
    for (name, value) in SECURITY_HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
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
    let user_id = auth::known_user(request);
    let took_us = took.as_micros() as u64;
    let request_id = id.to_str().unwrap_or("");
    if request.extensions().contains::<Shed>() {
        tracing::debug!(request_id, method, route, status, took_us, "request refused");
    } else if status >= 500 {
        tracing::warn!(request_id, user_id, method, route, status, took_us, "request failed");
    } else if matches!(method, "GET" | "HEAD") {
        tracing::debug!(request_id, user_id, method, route, status, took_us, "request");
    } else {
        tracing::info!(request_id, user_id, method, route, status, took_us, "request");
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
    fn ids_are_of_one_process_and_count_on() {
        let ids = RequestIds::new().unwrap();
        let mut made: Vec<String> =
            (0..300).map(|_| ids.make().to_str().unwrap().to_owned()).collect();
        let (prefix, first) = made[0].split_once('-').unwrap();
        assert_eq!((prefix.len(), first), (12, "1"));
        assert!(prefix.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(made[254], format!("{prefix}-ff"));
        assert_eq!(made[255], format!("{prefix}-100"));
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 300);
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_formatter() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(number).to_vec(), format!("{number:016x}").into_bytes());
        }
    }
}
