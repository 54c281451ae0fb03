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

use super::admission::Shed;
use super::{auth, compression, cors, proxies};

/// Longest request id that is taken from a client.
const LONGEST_REQUEST_ID: usize = 64;

/// On every response, unless the handler has set its own.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// Only where the client speaks TLS: elsewhere it would shut it out.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

const REQUEST_ID: &str = "x-request-id";

/// The id of a request, also in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

/// Makes request ids: a random prefix per process and a number.
#[derive(Debug)]
pub struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// A new series.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 6];
        getrandom::fill(&mut bytes)?;
        let prefix = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(RequestIds { prefix, next: AtomicU64::new(1) })
    }

    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{number:x}", self.prefix))
            .unwrap_or_else(|_| HeaderValue::from_static("none"))
    }
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
            let mut response = next.call(request).await?.map_into_left_body::<BoxBody>();
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
    headers.insert(HeaderName::from_static(REQUEST_ID), id.clone());
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
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// One line and one measurement per request, labelled by route and never by path.
fn record<B>(response: &ServiceResponse<B>, id: &HeaderValue, took: Duration) {
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let status = response.status().as_u16();
    let method = method_label(request.method());
    metrics::counter!(
        "roost_http_requests_total",
        "method" => method, "route" => route.clone(), "status" => status.to_string()
    )
    .increment(1);
    metrics::histogram!("roost_http_request_seconds", "route" => route.clone())
        .record(took.as_secs_f64());
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
