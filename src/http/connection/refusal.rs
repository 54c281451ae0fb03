//! Answers to what never becomes a request of the application, in the shape of all others.

use std::fmt::Write;
use std::time::SystemTime;

use actix_web::ResponseError;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, HttpDate};
use bytes::Bytes;

use crate::http::ApiError;
use crate::http::middleware::{RequestIds, dress};

/// For a head that does not arrive in time.
pub(super) fn too_slow(ids: &RequestIds) -> Bytes {
    render(&ApiError::TooSlow, ids)
}

/// For an answer that the dispatcher has made by itself, of which it says nothing but the
/// status; None for one that is not known, or is not bare.
pub(super) fn instead_of(answer: &[u8], ids: &RequestIds) -> Option<Bytes> {
    let rest = answer.strip_prefix(b"HTTP/1.")?.get(1..)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    if end + 4 != answer.len() {
        return None;
    }
    let error = match rest.get(..5)? {
        b" 400 " => ApiError::Malformed("The request is not valid HTTP.".into()),
        b" 431 " => ApiError::HeadTooLarge,
        _ => return None,
    };
    Some(render(&error, ids))
}

fn render(error: &ApiError, ids: &RequestIds) -> Bytes {
    let mut response = error.error_response();
    let status = response.status();
    dress(response.headers_mut(), &ids.make(), status);
    let mut text = String::with_capacity(1024);
    let _ = head(&mut text, status, response.headers().iter());
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(text, "content-length: {}\r\n\r\n", body.len());
    let status = status.as_u16().to_string();
    metrics::counter!(
        "roost_http_requests_total", "method" => "other", "route" => "unknown", "status" => status
    )
    .increment(1);
    Bytes::from([text.as_bytes(), &body].concat())
}

fn head<'a>(
    text: &mut String,
    status: StatusCode,
    headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> std::fmt::Result {
    write!(text, "HTTP/1.1 {status}\r\nconnection: close\r\n")?;
    write!(text, "date: {}\r\n", HttpDate::from(SystemTime::now()))?;
    for (name, value) in headers {
        write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::middleware::Prefixes;

    #[test]
    fn only_bare_refusals_of_the_dispatcher_are_replaced() {
        let ids = Prefixes::new().unwrap().next();
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        };
        for (status, code) in [
            ("400 Bad Request", "\"code\":\"malformed\""),
            ("431 Request Header Fields Too Large", "\"code\":\"head_too_large\""),
        ] {
            let said = instead_of(bare(status).as_bytes(), &ids).unwrap();
            let said = String::from_utf8(said.to_vec()).unwrap();
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            for name in ["content-type: application/json", "x-request-id: ", "cache-control: no"] {
                assert!(head.contains(name), "{name} in {head}");
            }
            assert!(body.contains(code), "{body}");
        }
        for other in [bare("200 OK"), bare("404 Not Found"), bare("400 Bad Request") + "{}"] {
            assert_eq!(instead_of(other.as_bytes(), &ids), None, "{other}");
        }
        for other in ["", "H", "HTTP/1.", "HTTP/1.1", "HTTP/1.1 400 Bad", "\r\n\r\n"] {
            assert_eq!(instead_of(other.as_bytes(), &ids), None, "{other}");
        }
    }
}
