//! The exact key sets of the contract's objects, and the forms of their values.

use serde_json::Value;

/// Fails unless the object has exactly these keys.
#[track_caller]
pub fn keys(object: &Value, expected: &[&str]) {
    let fields = object.as_object().unwrap_or_else(|| panic!("not an object: {object}"));
    let mut found: Vec<&str> = fields.keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "keys of {object}");
}

/// The one shape of errors: a superset of the several that the reference has.
#[track_caller]
pub fn error(body: &Value, said: &str) {
    let fields = body.as_object().unwrap_or_else(|| panic!("not an object: {said}"));
    for name in fields.keys() {
        let known = ["success", "code", "message", "detail", "errors"].contains(&name.as_str());
        assert!(known, "unknown field {name} in an error: {said}");
    }
    assert_eq!(body["success"], false, "{said}");
    let code = body["code"].as_str().unwrap_or_else(|| panic!("no code: {said}"));
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    assert!(!code.is_empty() && is_word(code), "the code is not a machine word: {said}");
    let message = body["message"].as_str().unwrap_or_else(|| panic!("no message: {said}"));
    assert!(!message.is_empty(), "{said}");
    assert_eq!(body["detail"], message, "detail repeats the message: {said}");
    if let Some(errors) = fields.get("errors") {
        let errors = errors.as_object().unwrap_or_else(|| panic!("errors by field: {said}"));
        assert!(!errors.is_empty(), "{said}");
        for texts in errors.values() {
            let texts = texts.as_array().unwrap_or_else(|| panic!("a list per field: {said}"));
            assert!(!texts.is_empty() && texts.iter().all(Value::is_string), "{said}");
        }
    }
}

/// Whether the text is ISO-8601 in UTC with six fractional digits and `Z`.
pub fn is_timestamp(text: &str) -> bool {
    const FORM: &str = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    text.len() == FORM.len()
        && text.chars().zip(FORM.chars()).all(|(found, form)| match form {
            'd' => found.is_ascii_digit(),
            mark => found == mark,
        })
}

/// U: a user as others see them.
#[track_caller]
pub fn user(value: &Value) {
    keys(value, &["id", "username", "nickname", "avatar_url"]);
    assert!(value["id"].is_i64() && value["username"].is_string(), "{value}");
    for field in ["nickname", "avatar_url"] {
        assert!(value[field].is_string() || value[field].is_null(), "{value}");
    }
}

/// u: a user in account answers and in a tweet's own page.
#[track_caller]
pub fn short_user(value: &Value) {
    keys(value, &["id", "username"]);
    assert!(value["id"].is_i64() && value["username"].is_string(), "{value}");
}

const TWEET: [&str; 8] = [
    "id",
    "user",
    "created_at",
    "content",
    "comments_count",
    "likes_count",
    "has_liked",
    "photo_urls",
];

/// T: a tweet in lists.
#[track_caller]
pub fn tweet(value: &Value) {
    keys(value, &TWEET);
    user(&value["user"]);
    tweet_fields(value);
}

/// T on its own page: the short user, comments and likes.
#[track_caller]
pub fn tweet_page(value: &Value) {
    keys(value, &[&TWEET[..], &["comments", "likes"]].concat());
    short_user(&value["user"]);
    tweet_fields(value);
    value["comments"].as_array().expect("comments").iter().for_each(comment);
    value["likes"].as_array().expect("likes").iter().for_each(like);
}

#[track_caller]
fn tweet_fields(value: &Value) {
    assert!(value["id"].is_i64() && value["content"].is_string(), "{value}");
    assert!(value["comments_count"].is_u64() && value["likes_count"].is_u64(), "{value}");
    assert!(value["has_liked"].is_boolean() && value["created_at"].is_string(), "{value}");
    let urls = value["photo_urls"].as_array().expect("photo_urls");
    assert!(urls.iter().all(Value::is_string), "{value}");
}

/// C: a comment.
#[track_caller]
pub fn comment(value: &Value) {
    keys(value, &["id", "tweet_id", "user", "content", "created_at", "likes_count", "has_liked"]);
    user(&value["user"]);
    assert!(value["id"].is_i64() && value["tweet_id"].is_i64(), "{value}");
    assert!(value["content"].is_string() && value["created_at"].is_string(), "{value}");
    assert!(value["likes_count"].is_u64() && value["has_liked"].is_boolean(), "{value}");
}

/// L: a like.
#[track_caller]
pub fn like(value: &Value) {
    keys(value, &["user", "created_at"]);
    user(&value["user"]);
    assert!(value["created_at"].is_string(), "{value}");
}

/// N: a notification.
#[track_caller]
pub fn notification(value: &Value) {
    let fields = [
        "id",
        "actor_content_type",
        "actor_object_id",
        "verb",
        "action_object_content_type",
        "action_object_object_id",
        "target_content_type",
        "target_object_id",
        "timestamp",
        "unread",
    ];
    keys(value, &fields);
    assert!(value["id"].is_i64() && value["unread"].is_boolean(), "{value}");
    assert!(
        value["actor_object_id"].is_string() && value["target_object_id"].is_string(),
        "{value}"
    );
    assert!(value["verb"].is_string() && value["timestamp"].is_string(), "{value}");
}

/// A page of a cursor list whose items have the given shape; its items.
#[track_caller]
pub fn page(value: &Value, item: fn(&Value)) -> Vec<Value> {
    keys(value, &["has_next_page", "results"]);
    assert!(value["has_next_page"].is_boolean(), "{value}");
    let items = value["results"].as_array().expect("results").clone();
    items.iter().for_each(item);
    items
}

/// An entry of a home timeline.
#[track_caller]
pub fn feed_entry(value: &Value) {
    keys(value, &["id", "created_at", "tweet"]);
    assert!(value["id"].is_i64() && value["created_at"].is_string(), "{value}");
    tweet(&value["tweet"]);
}
