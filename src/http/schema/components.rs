//! The objects of the API.

use serde_json::{Map, Value, json};

use crate::http::error::CODES;
use crate::http::tweets;

fn object(fields: Value) -> Value {
    let required: Vec<&String> =
        fields.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
    json!({ "type": "object", "required": required, "properties": fields })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(name: &str) -> Value {
    json!({ "type": "array", "items": reference(name) })
}

pub(super) fn id() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX })
}

fn count() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0 })
}

pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time", "description": "UTC, six fractional digits" })
}

fn nullable_text() -> Value {
    json!({ "type": ["string", "null"] })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// `base` and further fields.
fn with(base: &Value, more: Value) -> Value {
    let mut fields = base["properties"].as_object().cloned().unwrap_or_default();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    object(Value::Object(fields))
}

/// All named schemas.
pub(super) fn schemas() -> Value {
    let user = object(json!({
        "id": id(), "username": text(), "nickname": nullable_text(), "avatar_url": nullable_text(),
    }));
    let tweet = object(json!({
        "id": id(), "user": reference("User"), "created_at": time(), "content": text(),
        "comments_count": count(), "likes_count": count(), "has_liked": flag(),
        "photo_urls": { "type": "array", "items": text(), "maxItems": tweets::MOST_PHOTOS },
    }));
    let mut all = Map::new();
    all.extend(objects(&user, &tweet));
    all.extend(answers(&user));
    all.insert("User".into(), user);
    all.insert("Tweet".into(), tweet);
    Value::Object(all)
}

fn objects(_: &Value, tweet: &Value) -> Map<String, Value> {
    let objects = json!({
        "Account": object(json!({ "id": id(), "username": text() })),
        "TweetDetail": with(tweet, json!({
            "user": reference("Account"), "comments": list("Comment"), "likes": list("Like"),
        })),
        "Comment": object(json!({
            "id": id(), "tweet_id": id(), "user": reference("User"), "content": text(),
            "created_at": time(), "likes_count": count(), "has_liked": flag(),
        })),
        "Like": object(json!({ "user": reference("User"), "created_at": time() })),
        "FeedEntry": object(json!({
            "id": id(), "created_at": time(), "tweet": reference("Tweet"),
        })),
        "Friend": object(json!({
            "user": reference("User"), "created_at": time(), "has_followed": flag(),
        })),
        "Notification": object(json!({
            "id": id(), "actor_content_type": text(), "actor_object_id": text(), "verb": text(),
            "action_object_content_type": nullable_text(),
            "action_object_object_id": nullable_text(), "target_content_type": text(),
            "target_object_id": text(), "timestamp": time(), "unread": flag(),
        })),
        "Error": {
            "type": "object",
            "required": ["success", "code", "message", "detail"],
            "properties": {
                "success": { "const": false }, "code": { "type": "string", "enum": CODES },
                "message": text(),
                "detail": text(),
                "errors": {
                    "type": "object",
                    "additionalProperties": { "type": "array", "items": text() },
                },
            },
        },
    });
    objects.as_object().cloned().unwrap_or_default()
}

fn answers(user: &Value) -> Map<String, Value> {
    let success = json!({ "const": true });
    let answers = json!({
        "Success": object(json!({ "success": success })),
        "LoggedIn": object(json!({ "success": success, "user": reference("Account") })),
        "LoginStatus": {
            "type": "object", "required": ["has_logged_in", "ip"],
            "properties": {
                "has_logged_in": flag(), "ip": text(), "user": reference("Account"),
            },
        },
        "Token": object(json!({ "token": text(), "expires_at": time() })),
        "Profile": with(user, json!({
            "followers_count": count(), "followings_count": count(), "tweets_count": count(),
            "has_followed": flag(),
        })),
        "ProfileChange": object(json!({ "nickname": nullable_text(), "avatar": nullable_text() })),
        "TweetPage": object(json!({ "has_next_page": flag(), "results": list("Tweet") })),
        "FeedPage": object(json!({ "has_next_page": flag(), "results": list("FeedEntry") })),
        "CommentPage": object(json!({ "has_next_page": flag(), "comments": list("Comment") })),
        "FriendPage": object(json!({
            "total_results": count(), "total_pages": count(), "page_number": count(),
            "has_next_page": flag(), "results": list("Friend"),
        })),
        "Followed": {
            "type": "object", "required": ["success"],
            "properties": { "success": success, "duplicate": { "const": true } },
        },
        "Deleted": object(json!({
            "success": success, "deleted": { "type": "integer", "enum": [0, 1] },
        })),
        "NotificationPage": object(json!({
            "count": count(), "next": nullable_text(), "previous": nullable_text(),
            "results": list("Notification"),
        })),
        "UnreadCount": object(json!({ "unread_count": count() })),
        "MarkedCount": object(json!({ "marked_count": count() })),
        "Document": { "type": "object" },
    });
    answers.as_object().cloned().unwrap_or_default()
}
