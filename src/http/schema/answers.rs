//! What an operation may answer with.

use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use super::operations::{Access, Operation};
use crate::http::rate_limits;

/// Every answer of `operation`, by status.
pub(super) fn answers(operation: &Operation) -> Value {
    let mut all = Map::new();
    all.insert(operation.success.to_string(), success(operation));
    let is_limited = operation.path.starts_with("/api/")
        && !["/api/schema", "/api/docs"].iter().any(|free| operation.path.starts_with(free));
    // Wrong credentials are refused also where none are needed.
    let permission = (operation.access != Access::Blind).then_some(403);
    let limited = is_limited.then_some(429);
    let bodies: &[u16] = if operation.body.is_empty() { &[] } else { &[408, 413, 415] };
    let others = operation.others.iter().copied();
    for status in
        others.chain(permission).chain(limited).chain(bodies.iter().copied()).chain([405, 503])
    {
        all.insert(status.to_string(), other(status, operation));
    }
    if is_limited {
        for (status, answer) in &mut all {
            for name in rate_limits::HEADERS {
                let required = status == "429";
                answer["headers"][name] = header("integer", required, limit_header(name));
            }
        }
    }
    Value::Object(all)
}

fn success(operation: &Operation) -> Value {
    let plain = || json!({ "schema": { "type": "string" } });
    let content = match operation.answer {
        "Text" => json!({ "text/plain": plain() }),
        "Page" => json!({ "text/html": plain() }),
        "Script" => json!({ "text/javascript": plain() }),
        "Looks" => json!({ "text/css": plain() }),
        "EventStream" => json!({ "text/event-stream": {} }),
        "Photo" => json!({ "image/jpeg": {}, "image/png": {} }),
        name => json!({ "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{name}") },
        } }),
    };
    let mut answer = json!({ "description": "Success", "content": content, "headers": common() });
    let headers = &mut answer["headers"];
    if operation.others.contains(&304) {
        headers["etag"] = header("string", false, "For If-None-Match.");
    }
    if operation.answer.ends_with("Page") && operation.answer != "Page" {
        headers["link"] = header("string", false, "Where the next page is (rel=\"next\").");
    }
    if operation.answer == "LoggedIn" {
        headers["set-cookie"] = header("string", true, "The session.");
    }
    answer
}

fn other(status: u16, operation: &Operation) -> Value {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut answer = json!({ "description": reason.unwrap_or("Error"), "headers": common() });
    if status == 304 {
        return answer;
    }
    answer["content"] = json!({ "application/json": {
        "schema": { "$ref": "#/components/schemas/Error" },
    } });
    let headers = &mut answer["headers"];
    match status {
        429 | 503 => headers["retry-after"] = header("integer", true, "Seconds."),
        405 => headers["allow"] = header("string", true, "What the path can do."),
        _ => {}
    }
    if status == 403 && operation.access == Access::Login {
        answer["description"] = "Forbidden: nobody is logged in, or it is somebody else's".into();
    }
    answer
}

fn common() -> Value {
    json!({ "x-request-id": header("string", true, "The request's id, the client's own if sent.") })
}

fn limit_header(name: &str) -> &'static str {
    match name {
        "x-ratelimit-limit" => "Requests of the tightest limit that applies.",
        "x-ratelimit-remaining" => "Requests left.",
        _ => "Seconds until there is one more.",
    }
}

fn header(kind: &str, required: bool, description: &str) -> Value {
    json!({ "description": description, "required": required, "schema": { "type": kind } })
}
