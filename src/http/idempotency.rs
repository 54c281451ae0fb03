//! The `Idempotency-Key` header: a request that may be sent again and is carried out once.

use actix_web::HttpRequest;
use sha2::{Digest, Sha256};

use super::ApiError;
use super::fields::Fields;
use crate::store::idempotency::IdempotencyKey;

const HEADER: &str = "idempotency-key";

/// Longest key.
const LONGEST: usize = 255;

/// The request's key, with what the request is, or `None` if it has no such header.
///
/// # Errors
/// 400 for a key that is empty, too long or not visible ASCII.
pub fn key(request: &HttpRequest, fields: &Fields) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = request.headers().get(HEADER) else { return Ok(None) };
    let bytes = value.as_bytes();
    let fits = (1..=LONGEST).contains(&bytes.len());
    if !fits || !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(ApiError::Malformed(
            "Idempotency-Key must be 1 to 255 visible ASCII characters.".into(),
        ));
    }
    let mut hash = Sha256::new();
    hash.update(request.path().as_bytes());
    fields.digest(&mut |part| {
        // With its length before each part, two bodies cannot run into the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    });
    let key = String::from_utf8_lossy(bytes).into_owned();
    Ok(Some(IdempotencyKey { key, fingerprint: hash.finalize().into() }))
}
