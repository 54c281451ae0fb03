//! Which pages of other origins may use the API from a browser
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! None, unless the operator names them. A named origin may also send the session cookie, and
//! its unsafe requests pass the check in [`super::csrf`]. `*` lets every page in, but never
//! with a cookie: such a page needs a token of its own.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

/// What a page may send.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, \
     Last-Event-ID, X-CSRFToken, X-Request-Id";

/// What a page may read beside the headers that every page may.
const EXPOSED: &str = "ETag, Link, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, \
     X-RateLimit-Reset, X-Request-Id";

/// Browsers ask again after so long, in seconds; no browser waits longer than a day, and some
/// two hours.
const PREFLIGHT_LASTS_S: &str = "7200";

/// The origins that the operator lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    named: Vec<String>,
    all: bool,
}

impl Origins {
    /// Reads origins such as `https://app.example` or `http://localhost:3000`, or a lone `*`.
    ///
    /// # Errors
    /// One line that names what is neither.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, String> {
        let written = list.iter().map(|text| text.as_ref().trim());
        let written: Vec<&str> = written.filter(|text| !text.is_empty()).collect();
        if written == ["*"] {
            return Ok(Origins { named: Vec::new(), all: true });
        }
        let bad = written.iter().find(|text| !is_origin(text));
        if let Some(bad) = bad {
            return Err(format!(
                "{bad:?} in ROOST_CORS_ORIGINS is no origin such as https://app.example: scheme \
                 and host in lower case, a port unless it is the scheme's own, and no path"
            ));
        }
        Ok(Origins { named: written.into_iter().map(str::to_owned).collect(), all: false })
    }

    /// Whether the operator trusts this origin as the service's own pages.
    pub fn names(&self, origin: &str) -> bool {
        self.named.iter().any(|named| named == origin)
    }

    fn is_off(&self) -> bool {
        !self.all && self.named.is_empty()
    }

    /// The headers that let a page of `origin` read an answer; none for a stranger.
    fn grant(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        if self.all {
            let any = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            return true;
        }
        // Whatever the answer: a cache must not give one origin's to another.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return false };
        if !origin.to_str().is_ok_and(|origin| self.names(origin)) {
            return false;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        true
    }
}

/// As browsers write them: nothing that would never be equal to an `Origin` header.
fn is_origin(text: &str) -> bool {
    let (default, place) = match text.split_once("://") {
        Some(("https", place)) => (":443", place),
        Some(("http", place)) => (":80", place),
        _ => return false,
    };
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
    let host = place.strip_prefix('[').unwrap_or(place);
    !place.ends_with(default)
        && !place.ends_with(':')
        && host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == ':')
        && place.bytes().all(allowed)
}

/// The origins that this application was configured with.
pub fn configured(request: &HttpRequest) -> &Origins {
    static NONE: Origins = Origins { named: Vec::new(), all: false };
    request.app_data::<web::Data<Origins>>().map_or(&NONE, |origins| origins)
}

/// The answer to a browser that asks whether it may send a request. It is given before anything
/// else is looked at, since it carries no credentials; a stranger's question is none, and gets
/// the answer that any OPTIONS request gets.
pub fn preflight(request: &ServiceRequest) -> Option<HttpResponse> {
    let asked = request.headers();
    if *request.method() != Method::OPTIONS
        || !asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        || !is_shared(request.path())
    {
        return None;
    }
    let mut answer = HttpResponse::NoContent().finish();
    let headers = answer.headers_mut();
    if !configured(request.request()).grant(asked.get(header::ORIGIN), headers) {
        return None;
    }
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_LASTS_S),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(answer)
}

/// Adds to an answer what lets a page of another origin read it.
pub fn tell<B>(origins: &Origins, response: &mut ServiceResponse<B>) {
    if origins.is_off() || !is_shared(response.request().path()) {
        return;
    }
    let request = response.request().clone();
    let headers = response.headers_mut();
    if origins.grant(request.headers().get(header::ORIGIN), headers) {
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// The API and its photos; not the pages, health and metrics.
fn is_shared(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/media/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "https://app.example:8443",
            "http://127.0.0.1:80443",
            "http://[::1]:3000",
            "https://xn--bcher-kva.example",
        ] {
            assert!(Origins::parse(&[good]).is_ok_and(|origins| origins.names(good)), "{good}");
        }
        for bad in [
            "app.example",
            "https://",
            "https://App.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://*.example",
            "https://user@app.example",
            "ftp://app.example",
            "null",
            "https://app.example, https://b.example",
        ] {
            assert!(Origins::parse(&[bad]).is_err(), "{bad}");
        }
        assert!(Origins::parse(&["*", "https://app.example"]).is_err(), "all, or some");
        assert!(Origins::parse::<&str>(&[]).unwrap().is_off());
        assert!(Origins::parse(&[""]).unwrap().is_off());
    }

    fn granted(setting: &str, origin: &str) -> HeaderMap {
        let list: Vec<&str> = setting.split(',').collect();
        let mut headers = HeaderMap::new();
        let origin = HeaderValue::from_str(origin).unwrap();
        Origins::parse(&list).unwrap().grant(Some(&origin), &mut headers);
        headers
    }

    #[test]
    fn credentials_are_for_named_origins_only() {
        let named = granted("https://a.example,https://b.example", "https://b.example");
        assert_eq!(named.get("access-control-allow-origin").unwrap(), "https://b.example");
        assert_eq!(named.get("access-control-allow-credentials").unwrap(), "true");
        assert_eq!(named.get("vary").unwrap(), "Origin");

        let stranger = granted("https://a.example", "https://evil.example");
        assert_eq!(stranger.get("access-control-allow-origin"), None);
        assert_eq!(stranger.get("vary").unwrap(), "Origin");

        let anybody = granted("*", "https://evil.example");
        assert_eq!(anybody.get("access-control-allow-origin").unwrap(), "*");
        assert_eq!(anybody.get("access-control-allow-credentials"), None);
    }
}
