//! Bodies packed with gzip for clients that ask for it.
//!
//! What is packed, and why, is written down in ARCHITECTURE.md with the figures. Only complete
//! bodies of text are: a stream would be held back, and photos are packed already. Answers to
//! GET only, which hold no secret that could be guessed from a length: tokens are answers to
//! POST.

use std::cell::RefCell;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Below this a packet is sent all the same, so there is nothing to gain.
const SMALLEST: u64 = 1_400;

/// Above this packing would hold up the thread; no page is that long.
const LARGEST: u64 = 512 * 1024;

/// The fastest level. A higher one takes twice as long for a tenth.
const LEVEL: u32 = 1;

/// Maximum window, and 16 for a gzip header and trailer, as zlib counts.
const WINDOW_BITS: u8 = 15;

thread_local! {
    /// A packer takes 300 KB of tables: one per thread, used again and again.
    static PACKER: RefCell<Compress> =
        RefCell::new(Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS));
}

/// Packs the body where it pays and the client takes it.
pub fn pack(mut response: ServiceResponse) -> ServiceResponse {
    if !is_worth_it(&response) {
        return response;
    }
    let vary = HeaderValue::from_static("Accept-Encoding");
    response.headers_mut().append(header::VARY, vary);
    if !takes_gzip(response.request().headers()) {
        return response;
    }
    response.map_body(|head, body| match body.try_into_bytes() {
        Ok(plain) => match gzip(&plain) {
            Some(packed) => {
                let gzip = HeaderValue::from_static("gzip");
                head.headers_mut().insert(header::CONTENT_ENCODING, gzip);
                BoxBody::new(packed)
            }
            None => BoxBody::new(plain),
        },
        Err(body) => body,
    })
}

fn is_worth_it(response: &ServiceResponse) -> bool {
    let BodySize::Sized(size) = response.response().body().size() else { return false };
    let headers = response.headers();
    (SMALLEST..=LARGEST).contains(&size)
        && response.status() == StatusCode::OK
        && *response.request().method() == Method::GET
        && !headers.contains_key(header::CONTENT_ENCODING)
        && headers.get(header::CONTENT_TYPE).is_some_and(is_text)
}

fn is_text(content_type: &HeaderValue) -> bool {
    let kind = content_type.as_bytes();
    kind.starts_with(b"application/json") || kind.starts_with(b"text/")
}

/// Whether a client takes gzip: named, or meant by `*`, and not with `q=0` (RFC 9110, 12.5.3).
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING);
    let codings = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let (mut named, mut any) = (None, None);
    for coding in codings {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let is_wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|q| q > 0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            named = Some(is_wanted);
        } else if name == "*" {
            any = Some(is_wanted);
        }
    }
    named.or(any).unwrap_or(false)
}

/// `None` when the packer fails, or the result is no shorter.
fn gzip(plain: &[u8]) -> Option<Bytes> {
    PACKER.with_borrow_mut(|packer| {
        packer.reset();
        let mut packed = Vec::with_capacity(plain.len());
        match packer.compress_vec(plain, &mut packed, FlushCompress::Finish) {
            Ok(Status::StreamEnd) if packed.len() < plain.len() => Some(packed.into()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_can_be_unpacked_every_time() {
        for round in 0..3 {
            let plain = format!("{{\"round\":{round},\"results\":[{}]}}", "\"tweet\",".repeat(500));
            let packed = gzip(plain.as_bytes()).unwrap();
            assert!(packed.len() * 10 < plain.len(), "{}", packed.len());
            let mut unpacked = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain);
        }
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..2_000).map(|_| next()).collect();
        assert_eq!(gzip(&noise), None, "longer than it was");
    }

    #[test]
    fn clients_say_what_they_take() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
            takes_gzip(&headers)
        };
        for yes in
            ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.5", "*", "GZIP", "x-gzip"]
        {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "gzip;q=x"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
