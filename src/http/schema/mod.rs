//! `/api/schema/`: the OpenAPI 3.1 document; `/api/docs/`: a page that shows it, offline.

mod components;
mod operations;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use self::operations::{OPERATIONS, Operation};
use super::conventions;
use super::routing::{Access, resource};
use super::web as pages;

/// Made at first use.
static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| document().to_string().into_bytes());

/// The docs page runs its own script and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// Statuses that every operation may answer with.
const EVERYWHERE: [u16; 3] = [405, 429, 503];

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

async fn schema(request: HttpRequest) -> HttpResponse {
    let response = conventions::revalidated(&request, &DOCUMENT, false);
    conventions::with_body(response, DOCUMENT.clone())
}

fn show(request: &HttpRequest, kind: &'static str, text: &'static str) -> HttpResponse {
    pages::send(request, kind, text, PAGE_POLICY)
}

/// The whole document.
fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method] = describe(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A home-timeline service.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": components::schemas(),
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": "sessionid" },
                "token": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" },
            },
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| {
        part.strip_prefix('{')?.strip_suffix('}').map(components::path_parameter)
    });
    let in_query = operation.query.iter().map(|name| components::parameter(name));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut described = json!({
        "summary": operation.summary,
        "tags": [tag(operation.path)],
        "parameters": parameters,
        "responses": responses(operation),
        "security": security(operation.login),
    });
    if !operation.body.is_empty() {
        described["requestBody"] = body(operation);
    }
    described
}

/// The room of the API that a path belongs to.
fn tag(path: &str) -> &str {
    path.strip_prefix("/api/").and_then(|rest| rest.split('/').next()).unwrap_or("operations")
}

fn security(login: bool) -> Value {
    let known = [json!({ "session": [] }), json!({ "token": [] }), json!({ "basic": [] })];
    // The empty requirement says that it works without.
    let anonymous = (!login).then(|| json!({}));
    anonymous.into_iter().chain(known).collect()
}

fn responses(operation: &Operation) -> Value {
    let mut all = Map::new();
    let answer = match operation.answer {
        "Text" => json!({ "text/plain": { "schema": { "type": "string" } } }),
        "Page" => json!({ "text/html": { "schema": { "type": "string" } } }),
        "EventStream" => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        "Photo" => json!({ "image/jpeg": {}, "image/png": {} }),
        name => json!({ "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{name}") },
        } }),
    };
    let success = json!({ "description": "Success", "content": answer });
    all.insert(operation.success.to_string(), success);
    let permission = (operation.login || operation.method != "get").then_some(403);
    let bodies: &[u16] = if operation.body.is_empty() { &[] } else { &[413, 415] };
    let errors = operation.errors.iter().chain(&permission).chain(bodies).chain(&EVERYWHERE);
    for status in errors {
        let reason =
            StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        all.insert(
            status.to_string(),
            json!({
                "description": reason.unwrap_or("Error"),
                "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/Error" },
                } },
            }),
        );
    }
    Value::Object(all)
}

fn body(operation: &Operation) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut has_files = false;
    for (name, kind, is_required) in operation.body {
        properties.insert((*name).into(), components::field(kind));
        has_files |= kind.starts_with("file");
        if *is_required {
            required.push(*name);
        }
    }
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    let mut content = json!({ "multipart/form-data": { "schema": schema } });
    if !has_files {
        content["application/json"] = json!({ "schema": schema });
        content["application/x-www-form-urlencoded"] = json!({ "schema": schema });
    }
    json!({ "required": !required.is_empty(), "content": content })
}
