//! Parameters and fields of bodies, with their limits: each limit is taken from where it is
//! enforced, or from the settings of this node.

use serde_json::{Map, Value, json};

use super::components::{flag, id, text, time};
use crate::accounts::rules::{EMAIL_MAX, USERNAME_PATTERN};
use crate::config::{Config, Length};
use crate::http::{comments, friendships, idempotency, profiles, tweets, window};

/// A number of a page: what it is not is 404 anyway.
const PAGE: &str = "Number of the page, from 1.";

/// A query or header parameter by its name in the table of operations.
pub(super) fn parameter(name: &'static str, config: &Config) -> Value {
    let optional = |name: &str, schema: Value, description: String| {
        json!({
            "name": name, "in": "query", "required": false, "schema": schema,
            "description": description,
        })
    };
    let header = |schema: Value, description: &str| {
        json!({
            "name": name, "in": "header", "required": false, "schema": schema,
            "description": description,
        })
    };
    let required =
        |schema: Value| json!({ "name": name, "in": "query", "required": true, "schema": schema });
    match name {
        "user_id" | "tweet_id" => required(id()),
        "username" => required(text()),
        "created_at__lt" => optional(name, time(), "Only what is strictly older.".into()),
        "created_at__gt" => optional(name, time(), newer(config)),
        "page_size" => optional(name, upto(window::LARGEST_PAGE, config.page_size), String::new()),
        "comments_page_size" => {
            optional("page_size", upto(comments::PAGE_SIZE, comments::PAGE_SIZE), String::new())
        }
        "size" => {
            let most = friendships::PAGE_SIZE;
            let schema = json!({ "type": "integer", "minimum": 1, "default": most });
            optional(name, schema, format!("Items on a page; more than {most} is {most}."))
        }
        "page" => {
            let schema = json!({ "type": "integer", "minimum": 1, "default": 1 });
            optional(name, schema, PAGE.into())
        }
        "unread" => optional(name, flag(), "Only unread ones, or only read ones.".into()),
        "Idempotency-Key" => header(
            json!({
                "type": "string", "minLength": 1, "maxLength": idempotency::LONGEST,
                "pattern": "^[!-~]+$",
            }),
            "The same key with the same body within 24 hours gets the first answer again.",
        ),
        "Last-Event-ID" => header(id(), "The last event that was seen; the stream goes on there."),
        _ => Value::Null,
    }
}

fn newer(config: &Config) -> String {
    format!(
        "Only what is strictly newer. Alone: all of it in one answer, up to {} entries; if more \
         are newer, has_next_page is true.",
        config.feeds.list_limit
    )
}

fn upto(most: usize, default: impl Into<Value>) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default.into() })
}

/// A path parameter.
pub(super) fn path_parameter(name: &str) -> Value {
    let schema = match name {
        "random" => json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        "name" => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}\\.(jpg|png)$" }),
        _ => id(),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

/// A body with `fields`, in all types that it may come in.
pub(super) fn body(fields: &[(&'static str, &'static str, bool)], config: &Config) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut has_files = false;
    for (name, kind, is_required) in fields {
        properties.insert((*name).into(), field(kind, config));
        has_files |= kind.starts_with("file");
        if *is_required {
            required.push(*name);
        }
    }
    let schema = |properties: &Map<String, Value>| json!({ "type": "object", "required": required, "properties": properties });
    let mut content = json!({ "multipart/form-data": { "schema": schema(&properties) } });
    if has_files {
        // Files travel in forms only; without one, everything else may come as JSON too.
        properties.retain(|_, property| {
            let items = property.get("items").unwrap_or(property);
            items["format"] != "binary"
        });
    }
    content["application/json"] = json!({ "schema": schema(&properties) });
    content["application/x-www-form-urlencoded"] = json!({ "schema": schema(&properties) });
    json!({ "required": !required.is_empty(), "content": content })
}

fn field(kind: &str, config: &Config) -> Value {
    match kind {
        // Forms know no numbers, so digits do as well.
        "id" => json!({
            "type": ["integer", "string"], "format": "int64", "minimum": 1, "maximum": i64::MAX,
            "pattern": "^[1-9][0-9]{0,17}$",
        }),
        "flag" => {
            json!({ "enum": [true, false, "true", "false", "True", "False", 1, 0, "1", "0"] })
        }
        "kind" => json!({ "type": "string", "enum": ["tweet", "comment"] }),
        "file" => json!({ "type": "string", "format": "binary" }),
        "files" => json!({
            "type": "array", "maxItems": tweets::MOST_PHOTOS,
            "items": { "type": "string", "format": "binary" },
        }),
        "tweet" => prose(config.tweet_length),
        "comment" => prose(config.comment_length),
        "nickname" => {
            let mut schema = prose(profiles::NICKNAME);
            // The same as if it were left out.
            schema["type"] = json!(["string", "number", "null"]);
            schema
        }
        "new_username" => {
            let mut schema = of_length(config.username_length);
            schema["pattern"] = USERNAME_PATTERN.into();
            schema
        }
        "new_password" => of_length(config.password_length),
        "email" => json!({ "type": "string", "format": "email", "maxLength": EMAIL_MAX }),
        _ => text(),
    }
}

fn of_length(length: Length) -> Value {
    json!({ "type": "string", "minLength": length.min, "maxLength": length.max })
}

/// Text that is trimmed and must not be blank; without the null character, which PostgreSQL
/// does not store. A number is taken as its digits.
fn prose(length: Length) -> Value {
    let mut schema = of_length(length);
    schema["type"] = json!(["string", "number"]);
    schema["pattern"] = "^[^\\u0000]*\\S[^\\u0000]*$".into();
    schema
}
