//! What all resources have in common: links, redirects to the slashed path, unknown paths.

use std::fmt::{Display, Write as _};

use actix_web::http::header::{self, EntityTag, HeaderValue, IfNoneMatch};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use sha2::Digest;

use super::error::{ApiError, NOT_FOUND};
use crate::hydration::pages::Page;

/// The type of every body of the API.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `Link: <...>; rel="next"` of a page that has a next one, by `created_at__lt`.
pub fn next_link(request: &HttpRequest, page: &Page) -> Option<HeaderValue> {
    let last = page.last.filter(|_| page.has_next)?;
    let make = || HeaderValue::try_from(link(request, "created_at__lt", last)).ok();
    // A page that is shown again is mostly asked for in the same way.
    let asked = request.uri().path_and_query()?.as_str();
    let (asked_before, made) = page.link.get_or_init(|| (asked.to_owned(), make()));
    if asked_before == asked { made.clone() } else { make() }
}

/// `Link: <...>; rel="next"`: this request with another value of `parameter`.
pub fn link(request: &HttpRequest, parameter: &str, value: impl Display) -> String {
    let is_it = |pair: &str| pair.split('=').next() == Some(parameter);
    let kept =
        request.query_string().split('&').filter(|pair| !pair.is_empty() && !is_it(pair)).filter(
            |pair| pair.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)),
        );
    let mut link = String::with_capacity(128);
    link.extend(["<", request.path(), "?"]);
    kept.for_each(|pair| link.extend([pair, "&"]));
    // Writing to a string does not fail.
    let _ = write!(link, "{parameter}={value}>; rel=\"next\"");
    link
}

/// An ETag over the body and the right Cache-Control; 304 when the client has it already.
pub fn revalidated(request: &HttpRequest, body: &[u8], personal: bool) -> HttpResponseBuilder {
    revalidated_by(request, tag(body), personal)
}

/// The same by a tag that was made before.
pub fn revalidated_by(
    request: &HttpRequest,
    tag: HeaderValue,
    personal: bool,
) -> HttpResponseBuilder {
    let status = if is_known(request, &tag) { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, cache_control(personal)))
        .insert_header((header::VARY, HeaderValue::from_static("Cookie, Authorization")));
    response
}

/// Whether the client has the body of this tag already.
fn is_known(request: &HttpRequest, tag: &HeaderValue) -> bool {
    if !request.headers().contains_key(header::IF_NONE_MATCH) {
        return false;
    }
    let Some(tag) = tag.to_str().ok().and_then(|tag| tag.parse::<EntityTag>().ok()) else {
        return false;
    };
    match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        None => false,
    }
}

/// Completes [`revalidated`]: a 304 has no body.
pub fn with_body(mut response: HttpResponseBuilder, body: impl Into<Bytes>) -> HttpResponse {
    let mut done = response.finish();
    if done.status() == StatusCode::NOT_MODIFIED {
        return done;
    }
    done.headers_mut().insert(header::CONTENT_TYPE, JSON);
    done.set_body(body.into()).map_into_boxed_body()
}

/// What a logged-in client sees is its own; the rest may be shared, if asked for anew.
pub fn cache_control(personal: bool) -> HeaderValue {
    HeaderValue::from_static(if personal { "private, no-cache" } else { "public, no-cache" })
}

/// The weak ETag of a body, as it stands in the header.
pub fn tag(body: &[u8]) -> HeaderValue {
    use base64::Engine;
    let hash = sha2::Sha256::digest(body);
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&hash[..16]);
    // Base64 in quotes is always a value.
    HeaderValue::try_from(format!("W/\"{text}\"")).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// The answer to a path that no resource has. Under /api/ a missing final slash is the usual
/// reason: GET is sent on with 301, other methods with 308, which keeps the method and body.
pub async fn unknown_path(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path();
    let slashed = format!("{path}/");
    if path.ends_with('/') || !path.starts_with("/api/") || !has_resource(&request, &slashed) {
        return Err(NOT_FOUND);
    }
    let query = request.query_string();
    let target = if query.is_empty() { slashed } else { format!("{slashed}?{query}") };
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => HttpResponse::MovedPermanently(),
        _ => HttpResponse::PermanentRedirect(),
    };
    Ok(response.insert_header((header::LOCATION, target)).finish())
}

/// Whether a resource has the path. Paths with characters that need decoding have none.
fn has_resource(request: &HttpRequest, path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte))
        && request.resource_map().has_resource(path)
}
