//! `/api/schema/`: the OpenAPI 3.1 document; `/api/docs/`: a page that shows it, offline.

mod answers;
mod components;
mod fields;
mod operations;
#[cfg(test)]
mod tests;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use self::operations::{Access as Who, OPERATIONS, Operation};
use super::conventions;
use super::routing::{Access, resource};
use super::web as pages;
use crate::config::Config;

/// The document of this node, with the limits that its settings give.
pub struct Document(Vec<u8>);

impl Document {
    /// Writes it.
    pub fn new(config: &Config) -> Document {
        Document(document(config).to_string().into_bytes())
    }
}

/// The docs page runs its own script and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// Registers the resources.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/api/schema/", Access::Public, "GET, HEAD")
            .route(web::get().to(schema))
            .route(web::head().to(schema)),
    );
    let asset = |kind, text| move |request: HttpRequest| async move { show(&request, kind, text) };
    let page = asset("text/html; charset=utf-8", include_str!("docs.html"));
    let script = asset("text/javascript; charset=utf-8", include_str!("docs.js"));
    let looks = asset("text/css; charset=utf-8", include_str!("docs.css"));
    cfg.service(
        resource("/api/docs/", Access::Public, "GET, HEAD")
            .route(web::get().to(page))
            .route(web::head().to(page)),
    )
    .service(
        resource("/api/docs/docs.js", Access::Public, "GET, HEAD")
            .route(web::get().to(script))
            .route(web::head().to(script)),
    )
    .service(
        resource("/api/docs/docs.css", Access::Public, "GET, HEAD")
            .route(web::get().to(looks))
            .route(web::head().to(looks)),
    );
}

async fn schema(request: HttpRequest, document: web::Data<Document>) -> HttpResponse {
    let response = conventions::revalidated(&request, &document.0, false);
    conventions::with_body(response, document.0.clone())
}

fn show(request: &HttpRequest, kind: &'static str, text: &'static str) -> HttpResponse {
    pages::send(request, kind, text, PAGE_POLICY)
}

/// The whole document.
fn document(config: &Config) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method] = describe(operation, config);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A home-timeline service.",
            "description": conventions_in_words(config),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": components::schemas(),
            "securitySchemes": {
                "session": {
                    "type": "apiKey", "in": "cookie", "name": super::auth::COOKIE,
                    "description": "Set by sign-up and login. An unsafe request that another \
                        site has caused (Origin, Sec-Fetch-Site) is refused.",
                },
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "From POST /api/accounts/token/.",
                },
                "basic": { "type": "http", "scheme": "basic" },
            },
        },
    })
}

/// What holds everywhere, with the rate limits in force.
fn conventions_in_words(config: &Config) -> String {
    let limits = &config.limits;
    let limited = if config.rate_limits.is_on() {
        format!(
            "Rate limits, as requests per seconds: sign-up {} per address; failed logins {} per \
             address and {} per user name; per account posting {}, following {}, liking {}, other \
             writes {}, reading {}; one address as much as {} accounts; reading without a login \
             {} per address. Past a limit: 429 with Retry-After.",
            limits.sign_up,
            limits.login,
            limits.login_account,
            limits.post,
            limits.follow,
            limits.like,
            limits.write,
            limits.read,
            limits.address_accounts,
            limits.read_anonymous,
        )
    } else {
        "Rate limits are off.".to_owned()
    };
    format!(
        "Paths end in a slash; without it a GET is redirected with 301, other methods with 308. \
         Timestamps are ISO-8601 in UTC with six fractional digits. Lengths are in code points \
         after trimming. Numbers may stand in for texts in JSON, and digits for numbers. \
         Text bodies have at most {} bytes, files {} bytes each. {limited}",
        super::fields::TEXT_LIMIT,
        crate::media::FILE_LIMIT,
    )
}

fn describe(operation: &Operation, config: &Config) -> Value {
    let in_path = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}').map(fields::path_parameter));
    let others = operation.parameters.iter().map(|name| fields::parameter(name, config));
    let parameters: Vec<Value> = in_path.chain(others).collect();
    let mut described = json!({
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "tags": [tag(operation.path)],
        "parameters": parameters,
        "responses": answers::answers(operation),
        "security": security(operation.access),
    });
    if !operation.body.is_empty() {
        described["requestBody"] = fields::body(operation.body, config);
    }
    described
}

/// `get_api_tweets_id`.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    [operation.method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// The room of the API that a path belongs to.
fn tag(path: &str) -> &str {
    path.strip_prefix("/api/").and_then(|rest| rest.split('/').next()).unwrap_or("operations")
}

fn security(access: Who) -> Value {
    let known = || [json!({ "session": [] }), json!({ "token": [] }), json!({ "basic": [] })];
    match access {
        Who::Blind => json!([]),
        // The empty requirement says that it works without.
        Who::Open => std::iter::once(json!({})).chain(known()).collect(),
        Who::Login => known().into_iter().collect(),
    }
}
