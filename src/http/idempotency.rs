//! The header `Idempotency-Key`: a request that is sent twice is carried out once.

use actix_web::HttpRequest;
use sha2::{Digest, Sha256};

use super::ApiError;
use super::fields::Fields;
use crate::store::idempotency::IdempotencyKey;

/// Longest key, in characters.
pub const LONGEST: usize = 255;

const NAME: &str = "Idempotency-Key";

/// The client's key, if it sent one, with the fingerprint of the request: method, path, fields
/// and files. Call it before files are taken out of `fields`.
///
/// # Errors
/// 400 for a key that is not 1 to 255 visible ASCII characters, and for several keys.
pub fn key(request: &HttpRequest, fields: &Fields) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut sent = request.headers().get_all("idempotency-key");
    let Some(key) = sent.next() else { return Ok(None) };
    let key = key.as_bytes();
    let fits = (1..=LONGEST).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !fits || sent.next().is_some() {
        let form = "Send one key of 1 to 255 visible ASCII characters.";
        return Err(ApiError::field(NAME, form));
    }
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length, so that no two lists of parts look the same.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(request.method().as_str().as_bytes());
    part(request.path().as_bytes());
    fields.for_each_part(&mut part);
    let key = String::from_utf8_lossy(key).into_owned();
    Ok(Some(IdempotencyKey { key, fingerprint: hash.finalize().into() }))
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    use super::*;

    async fn key_of(keys: &[&str], body: &'static str) -> Result<Option<IdempotencyKey>, ApiError> {
        let mut request = TestRequest::post()
            .uri("/api/comments/")
            .insert_header(("Content-Type", "application/json"))
            .set_payload(body);
        for key in keys {
            request = request.append_header((NAME, *key));
        }
        let (request, mut payload) = request.to_http_parts();
        let fields = Fields::from_request(&request, &mut payload).await.unwrap();
        key(&request, &fields)
    }

    #[actix_web::test]
    async fn keys_are_short_visible_and_alone() {
        assert_eq!(key_of(&[], "{}").await, Ok(None));
        assert_eq!(key_of(&["a-1"], "{}").await.unwrap().unwrap().key, "a-1");
        let long = "k".repeat(256);
        assert!(key_of(&[&long[1..]], "{}").await.is_ok());
        for bad in [&["" as &str][..], &["a b"], &["ä"], &[&long], &["a", "b"]] {
            assert!(key_of(bad, "{}").await.is_err(), "{bad:?}");
        }
    }

    #[actix_web::test]
    async fn the_fingerprint_is_that_of_the_request() {
        let print = async |body| key_of(&["k"], body).await.unwrap().unwrap().fingerprint;
        let one = print(r#"{"tweet_id":1,"content":"hi"}"#).await;
        assert_eq!(one, print(r#"{ "content":"hi", "tweet_id":"1" }"#).await);
        assert_ne!(one, print(r#"{"tweet_id":1,"content":"ho"}"#).await);
        assert_ne!(one, print(r#"{"tweet_id":11,"content":"hi"}"#).await);
        assert_ne!(one, print(r#"{"tweet_id":1}"#).await);
    }
}
