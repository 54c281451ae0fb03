//! Photos and avatars as they are served, and the answers to those that are not accepted.

use actix_web::body::SizedStream;
use actix_web::http::header::{self, EntityTag, Header, IfNoneMatch};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;

use super::ApiError;
use super::error::{NOT_FOUND, RETRY_AFTER_S};
use super::routing::{Access, resource};
use crate::media::{Media, MediaError, MediaPath, PIXEL_LIMIT, PhotoError};

/// Registers the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(
        resource("/media/{random}/{name}", Access::Public, "GET, HEAD")
            .route(web::get().to(get))
            .route(web::head().to(head)),
    );
}

async fn get(request: HttpRequest, media: web::Data<Media>) -> Result<HttpResponse, ApiError> {
    let path = MediaPath::parse(request.path()).ok_or(NOT_FOUND)?;
    let found = media.get(&path.url()).await.map_err(unavailable)?.ok_or(NOT_FOUND)?;
    if client_has(&request, &path) {
        return Ok(described(HttpResponse::NotModified(), &path).finish());
    }
    let size = found.meta.size;
    let body = SizedStream::new(size, found.into_stream());
    Ok(described(HttpResponse::Ok(), &path).body(body))
}

async fn head(request: HttpRequest, media: web::Data<Media>) -> Result<HttpResponse, ApiError> {
    let path = MediaPath::parse(request.path()).ok_or(NOT_FOUND)?;
    let found = media.head(&path.url()).await.map_err(unavailable)?.ok_or(NOT_FOUND)?;
    if client_has(&request, &path) {
        return Ok(described(HttpResponse::NotModified(), &path).finish());
    }
    // The length is announced; the server sends no body in answer to HEAD.
    let nothing = stream::empty::<Result<web::Bytes, std::io::Error>>();
    let body = SizedStream::new(found.meta.size, nothing);
    Ok(described(HttpResponse::Ok(), &path).body(body))
}

/// What holds for a photo whoever asks: it never changes, and it is a picture and nothing else,
/// whatever a browser may believe to see in it.
fn described(mut response: HttpResponseBuilder, path: &MediaPath) -> HttpResponseBuilder {
    response
        .insert_header((header::CONTENT_TYPE, path.format().content_type()))
        .insert_header((header::ETAG, format!("\"{}\"", path.entity_tag())))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"));
    response
}

fn client_has(request: &HttpRequest, path: &MediaPath) -> bool {
    if !request.headers().contains_key(header::IF_NONE_MATCH) {
        return false;
    }
    let tag = EntityTag::new_strong(path.entity_tag().to_owned());
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    }
}

impl MediaError {
    /// The error as the client sees it: the photo's faults as complaints about `field` (413 for
    /// too many bytes), the store's as 503.
    pub fn into_api(self, field: &'static str) -> ApiError {
        match self {
            MediaError::Photo(error) => error.into_api(field),
            other => unavailable(other),
        }
    }
}

impl PhotoError {
    /// The error as the client sees it: a complaint about `field`, 413 for too many bytes.
    pub fn into_api(self, field: &'static str) -> ApiError {
        match self {
            PhotoError::Invalid => ApiError::field(
                field,
                "Upload a valid image. The file you uploaded was either not an image or a \
                 corrupted image.",
            ),
            PhotoError::TooManyPixels => ApiError::field(
                field,
                format!("Upload a smaller image. It may have at most {PIXEL_LIMIT} pixels."),
            ),
            PhotoError::TooLarge => ApiError::TooLarge("A file may have at most 10 MiB.".into()),
        }
    }
}

fn unavailable(error: MediaError) -> ApiError {
    tracing::warn!(%error, "a photo could not be stored or read");
    ApiError::Unavailable { retry_after: RETRY_AFTER_S }
}

#[cfg(test)]
mod tests;
