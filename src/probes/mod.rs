//! What must hold whatever bytes come in: for the fuzz targets (`fuzz/`), and for the property
//! tests of the same in the normal suite. Not part of the service.

#[cfg(test)]
mod tests;

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::test::TestRequest;
use actix_web::{FromRequest, ResponseError};
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::http::ApiError;
use crate::http::fields::Fields;
use crate::http::window::Params;
pub use crate::redis_tier::probe as redis_entries;
use crate::time::Timestamp;

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// The list limit under which cursors are read.
const LIST_LIMIT: usize = 1_000;

/// A query string with cursors, ids and sizes.
pub fn cursors(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let params = match Params::parse(query) {
        Ok(params) => params,
        Err(error) => return refused(&error),
    };
    match params.page(20, LIST_LIMIT) {
        Ok(page) => {
            let most = if params.get("created_at__gt").is_some() { LIST_LIMIT } else { 100 };
            assert!((1..=most).contains(&page.size), "{page:?}");
        }
        Err(error) => refused(&error),
    }
    if let Ok(Some(id)) = params.id("user_id") {
        assert!(id > 0);
        assert_eq!(params.required_id("user_id"), Ok(id));
    }
    if let Err(error) = params.required_id("tweet_id") {
        refused(&error);
    }
    for name in ["page", "size"] {
        match params.number(name) {
            Ok(number) => assert_ne!(number, Some(0)),
            Err(error) => refused(&error),
        }
    }
}

/// The text of a moment.
pub fn timestamps(bytes: &[u8]) {
    let Some(moment) = std::str::from_utf8(bytes).ok().and_then(Timestamp::parse) else { return };
    let written = moment.to_string();
    assert_eq!(written.len(), "2026-11-23T18:58:21.810818Z".len(), "{written}");
    assert_eq!(Timestamp::parse(&written), Some(moment), "{written}");
}

/// A multipart body with the boundary `XX`; at a zero byte a new packet begins.
///
/// # Panics
/// When it is not answered in words; also when this machine gives no runtime.
#[allow(clippy::expect_used, reason = "a fuzz target says what is wrong by panicking")]
pub fn multipart(bytes: &[u8]) {
    let chunks: Vec<_> =
        bytes.split(|byte| *byte == 0).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    let kind = (header::CONTENT_TYPE, "multipart/form-data; boundary=XX");
    let request = TestRequest::post().insert_header(kind).to_http_request();
    let body: Body = Box::pin(stream::iter(chunks));
    let mut payload = Payload::Stream { payload: body };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let reading = Fields::from_request(&request, &mut payload);
    match runtime.expect("a runtime").block_on(reading) {
        Ok(fields) => {
            for name in ["a", "content"] {
                let _ = (fields.id(name), fields.flag(name), fields.text_or_error(name));
            }
        }
        Err(error) => {
            let status = error.status_code().as_u16();
            assert!([400, 413].contains(&status), "{status}");
        }
    }
}

fn refused(error: &ApiError) {
    assert_eq!(error.status_code().as_u16(), 400, "{error}");
}
