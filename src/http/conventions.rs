//! What all resources have in common: links, redirects to the slashed path, unknown paths.

use actix_web::http::header::{self, ETag, EntityTag, IfNoneMatch};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::Digest;

use super::error::{ApiError, NOT_FOUND};
use crate::hydration::pages::Page;

/// `Link: <...>; rel="next"` of a page that has a next one, by `created_at__lt`.
pub fn next_link(request: &HttpRequest, page: &Page) -> Option<String> {
    let last = page.last.filter(|_| page.has_next)?;
    Some(link(request, "created_at__lt", last))
}

/// `Link: <...>; rel="next"`: this request with another value of `parameter`.
pub fn link(request: &HttpRequest, parameter: &str, value: impl std::fmt::Display) -> String {
    let is_it = |pair: &str| pair.split('=').next() == Some(parameter);
    let kept: Vec<&str> = request
        .query_string()
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_it(pair))
        .filter(|pair| pair.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte)))
        .collect();
    let mut query = kept.join("&");
    if !query.is_empty() {
        query.push('&');
    }
    format!("<{}?{query}{parameter}={value}>; rel=\"next\"", request.path())
}

/// An ETag over the body and the right Cache-Control; 304 when the client has it already.
pub fn revalidated(request: &HttpRequest, body: &[u8], personal: bool) -> HttpResponseBuilder {
    let tag = EntityTag::new_weak(digest(body));
    let known = match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        None => false,
    };
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    response
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, cache_control(personal)))
        .insert_header((header::VARY, "Cookie, Authorization"));
    response
}

/// Completes [`revalidated`]: a 304 has no body.
pub fn with_body(mut response: HttpResponseBuilder, body: Vec<u8>) -> HttpResponse {
    let mut done = response.content_type("application/json").finish();
    if done.status() == StatusCode::NOT_MODIFIED {
        done.headers_mut().remove(header::CONTENT_TYPE);
        return done;
    }
    done.set_body(body).map_into_boxed_body()
}

/// What a logged-in client sees is its own; the rest may be shared, if asked for anew.
fn cache_control(personal: bool) -> &'static str {
    if personal { "private, no-cache" } else { "public, no-cache" }
}

fn digest(body: &[u8]) -> String {
    use base64::Engine;
    let hash = sha2::Sha256::digest(body);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&hash[..16])
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
