//! The page at `/`: a small client of the API for a browser, embedded in the binary.
//!
//! Plain HTML, CSS and JavaScript modules without a build step. It knows nothing but the public
//! API, so it is an example of a client, too.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::ApiError;
use super::conventions;
use super::error::NOT_FOUND;
use super::routing::{Access, resource};

/// The page runs its own scripts and nothing else, shows photos of this service and previews of
/// files that are about to be uploaded, and never turns text into markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const PAGE: &str = include_str!("index.html");

/// What the page loads, by name.
const FILES: [(&str, &str, &str); 16] = [
    ("icon.svg", SVG, include_str!("icon.svg")),
    ("base.css", CSS, include_str!("base.css")),
    ("parts.css", CSS, include_str!("parts.css")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("api.js", SCRIPT, include_str!("api.js")),
    ("comments.js", SCRIPT, include_str!("comments.js")),
    ("compose.js", SCRIPT, include_str!("compose.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("feed.js", SCRIPT, include_str!("feed.js")),
    ("live.js", SCRIPT, include_str!("live.js")),
    ("people.js", SCRIPT, include_str!("people.js")),
    ("profile.js", SCRIPT, include_str!("profile.js")),
    ("pull.js", SCRIPT, include_str!("pull.js")),
    ("session.js", SCRIPT, include_str!("session.js")),
    ("timeline.js", SCRIPT, include_str!("timeline.js")),
    ("tweet.js", SCRIPT, include_str!("tweet.js")),
];

/// Registers the page and its files.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/", Access::Public, "GET, HEAD")
            .route(web::get().to(page))
            .route(web::head().to(page)),
    )
    .service(
        resource("/web/{file}", Access::Public, "GET, HEAD")
            .route(web::get().to(file))
            .route(web::head().to(file)),
    );
}

async fn page(request: HttpRequest) -> HttpResponse {
    send(&request, HTML, PAGE, POLICY)
}

async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let found = FILES.iter().find(|(known, ..)| **known == **name);
    let (_, kind, text) = found.ok_or(NOT_FOUND)?;
    Ok(send(&request, kind, text, POLICY))
}

/// A part of a page that is embedded in the binary. Kept by browsers, and asked for anew each
/// time: a new binary may bring another.
pub fn send(
    request: &HttpRequest,
    kind: &'static str,
    text: &'static str,
    policy: &'static str,
) -> HttpResponse {
    let mut response = conventions::revalidated(request, text.as_bytes(), false);
    response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
    let mut response = response.content_type(kind).finish();
    // It is the same for everybody, whoever is logged in.
    response.headers_mut().remove(header::VARY);
    if response.status() == StatusCode::NOT_MODIFIED {
        return response;
    }
    response.set_body(text).map_into_boxed_body()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::{profiles, tweets};
    use crate::media::FILE_LIMIT;

    fn names(text: &str, before: &str, after: char) -> BTreeSet<String> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split(after).next())
            .map(str::to_owned)
            .collect()
    }

    /// A module that is imported and not embedded would break the page; one that is embedded
    /// and not used is dead.
    #[test]
    fn the_files_are_those_that_the_page_asks_for() {
        let mut asked = names(PAGE, "\"/web/", '"');
        for (_, _, text) in FILES {
            asked.extend(names(text, "from \"./", '"'));
        }
        let embedded = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(asked, embedded);
    }

    /// What is fixed in the contract stands in the page, too: it spares a round trip.
    #[test]
    fn the_page_knows_the_limits_of_the_service() {
        let has = |file: &str, line: &str| {
            let (_, _, text) = FILES.iter().find(|(name, ..)| *name == file).unwrap();
            assert!(text.contains(line), "{file} has no {line}");
        };
        has("compose.js", &format!("const MOST_PHOTOS = {};", tweets::MOST_PHOTOS));
        let megabytes = FILE_LIMIT / (1024 * 1024);
        has("compose.js", &format!("const LARGEST_PHOTO = {megabytes} * 1024 * 1024;"));
        has("compose.js", &format!("A photo may have at most {megabytes} MiB."));
        assert_eq!(tweets::MOST_PHOTOS, 9, "compose.js says \"At most nine photos.\"");
        has("profile.js", &format!("maxLength: {}", profiles::NICKNAME.max));
    }

    /// Nothing from elsewhere, and nothing that the policy forbids.
    #[test]
    fn the_page_needs_no_other_host_and_no_inline_code() {
        for (name, _, text) in FILES.iter().copied().chain([("index.html", HTML, PAGE)]) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for bad in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "style=",
                "onclick=",
                "eval(",
                "document.write",
            ] {
                assert!(!text.contains(bad), "{name} has {bad}");
            }
        }
    }
}
