//! Requests that another site makes a browser send.
//!
//! A browser attaches the session cookie by itself, so an unsafe request that relies on the
//! cookie must come from our own pages. Browsers say where a request comes from, in headers
//! that no page can forge: `Sec-Fetch-Site` (Fetch Metadata) and `Origin` (RFC 6454). A client
//! that sends neither is no browser, or one without a page behind it. Origins that the operator
//! has named ([`super::cors`]) count as our own pages.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest};

use super::ApiError;
use super::{cors, proxies};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The refusal.
const CROSS_SITE: ApiError = ApiError::Forbidden("CSRF Failed: cross-site request.");

/// Refuses an unsafe request that another site has caused. To be called where a cookie
/// authenticates the request, and where one is about to be set.
///
/// # Errors
/// 403.
pub fn check(request: &HttpRequest) -> Result<(), ApiError> {
    if is_safe(request.method()) {
        return Ok(());
    }
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| is_named(origin, request)) {
        return Ok(());
    }
    let origin = origin.map(|origin| is_ours(origin, request));
    if origin == Some(false) {
        return Err(CROSS_SITE);
    }
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        // A sibling domain, which may belong to somebody else, or our own host with another
        // scheme or port; only the Origin can tell.
        Some(b"same-site") if origin == Some(true) => Ok(()),
        Some(_) => Err(CROSS_SITE),
    }
}

/// The request does not come from another site, whoever it is from. To stand before the body in
/// a handler's parameters.
#[derive(Debug, Clone, Copy)]
pub struct OwnSite;

impl FromRequest for OwnSite {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(check(request).map(|()| OwnSite))
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether the operator trusts the page's origin. Not meant by `*`, which is without cookies.
fn is_named(origin: &HeaderValue, request: &HttpRequest) -> bool {
    origin.to_str().is_ok_and(|origin| cors::configured(request).names(origin))
}

/// Whether the page stands on the host that the request goes to.
fn is_ours(origin: &HeaderValue, request: &HttpRequest) -> bool {
    let host = proxies::host(request, proxies::configured(request));
    match (origin.to_str(), host) {
        (Ok(origin), Some(host)) => same_place(origin, host),
        _ => false,
    }
}

/// Compares `https://example.com` with `example.com`. Behind a proxy the scheme that we see
/// says nothing; a port that is missing is the one of the origin's scheme.
fn same_place(origin: &str, host: &str) -> bool {
    let Some((scheme, place)) = origin.split_once("://") else {
        // "null": a sandboxed frame, a local file, a redirect across sites.
        return false;
    };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let (ours, theirs) = (split_port(host), split_port(place));
    ours.0.eq_ignore_ascii_case(theirs.0)
        && ours.1.unwrap_or(default) == theirs.1.unwrap_or(default)
}

/// Host and port; the colons of a bracketed IPv6 address are no port.
fn split_port(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actix_web::web;

    use super::*;
    use crate::http::proxies::TrustedProxies;

    fn allowed(site: Option<&str>, origin: Option<&str>, host: &str) -> bool {
        let mut request = TestRequest::post().insert_header((header::HOST, host));
        if let Some(site) = site {
            request = request.insert_header((FETCH_SITE, site));
        }
        if let Some(origin) = origin {
            request = request.insert_header((header::ORIGIN, origin));
        }
        check(&request.to_http_request()).is_ok()
    }

    #[test]
    fn the_table() {
        let host = "roost.example";
        let (ours, sibling, foreign) =
            (Some("https://roost.example"), Some("https://a.roost.example"), Some("https://x.y"));
        for (site, origin, expected) in [
            (None, None, true),
            (None, ours, true),
            (None, foreign, false),
            (None, sibling, false),
            (None, Some("null"), false),
            (None, Some(""), false),
            (Some("same-origin"), None, true),
            (Some("same-origin"), ours, true),
            (Some("same-origin"), foreign, false),
            (Some("none"), None, true),
            (Some("same-site"), None, false),
            (Some("same-site"), ours, true),
            (Some("same-site"), sibling, false),
            (Some("cross-site"), None, false),
            (Some("cross-site"), ours, false),
            (Some("cross-site"), foreign, false),
            (Some("anything"), ours, false),
            (Some(""), None, false),
        ] {
            assert_eq!(allowed(site, origin, host), expected, "{site:?} {origin:?}");
        }
    }

    #[test]
    fn named_origins_are_let_in_and_everybody_is_not() {
        let checked = |setting: &str, origin: &str| {
            let origins = cors::Origins::parse(&[setting]).unwrap();
            let request = TestRequest::post()
                .app_data(web::Data::new(origins))
                .insert_header((header::HOST, "api.roost.example"))
                .insert_header((FETCH_SITE, "same-site"))
                .insert_header((header::ORIGIN, origin));
            check(&request.to_http_request())
        };
        let app = "https://app.roost.example";
        assert_eq!(checked(app, app), Ok(()));
        assert_eq!(checked(app, "https://other.roost.example"), Err(CROSS_SITE));
        assert_eq!(checked("*", app), Err(CROSS_SITE));
        assert_eq!(checked("*", "*"), Err(CROSS_SITE));
    }

    #[test]
    fn hosts_and_ports_are_compared_and_schemes_are_not() {
        for (origin, host) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("https://Roost.Example", "roost.example"),
            ("https://roost.example", "roost.example:443"),
            ("http://roost.example:80", "roost.example"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("https://[::1]", "[::1]"),
        ] {
            assert!(allowed(None, Some(origin), host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:9000", "127.0.0.1:8000"),
            ("http://127.0.0.1", "127.0.0.1:8000"),
            ("https://roost.example:8443", "roost.example"),
            ("https://roost.example.evil.test", "roost.example"),
            ("https://evil.test/roost.example", "roost.example"),
            ("https://roost.example@evil.test", "roost.example"),
            ("file://roost.example", "roost.example"),
            ("roost.example", "roost.example"),
            ("https://[::1]:8443", "[::1]"),
        ] {
            assert!(!allowed(None, Some(origin), host), "{origin} {host}");
        }
    }

    #[test]
    fn reading_is_always_allowed() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let request = TestRequest::default()
                .method(method)
                .insert_header((FETCH_SITE, "cross-site"))
                .to_http_request();
            assert_eq!(check(&request), Ok(()));
        }
    }

    #[test]
    fn the_host_behind_a_proxy_is_the_one_that_the_client_asked_for() {
        let request = |peer: &str| {
            TestRequest::post()
                .app_data(web::Data::new(TrustedProxies::parse(&["10.0.0.1"]).unwrap()))
                .peer_addr(peer.parse().unwrap())
                .insert_header((header::HOST, "inside:8000"))
                .insert_header(("x-forwarded-host", "roost.example"))
                .insert_header((header::ORIGIN, "https://roost.example"))
                .to_http_request()
        };
        assert_eq!(check(&request("10.0.0.1:1")), Ok(()));
        assert_eq!(check(&request("203.0.113.9:1")), Err(CROSS_SITE));
    }
}
