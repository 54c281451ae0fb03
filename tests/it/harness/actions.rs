//! What people in the stories do, through the public API only, expecting success.

use base64::Engine;
use serde_json::{Value, json};

use super::app::{PASSWORD, ids};
use super::client::Client;
use super::shape;

impl Client {
    /// Posts a tweet; T.
    #[track_caller]
    pub fn tweet(&self, content: &str) -> Value {
        self.post("/api/tweets/", json!({"content": content})).expect(201)
    }

    /// Posts tweets numbered from 1; their ids, oldest first.
    #[track_caller]
    pub fn tweets(&self, number: usize) -> Vec<i64> {
        (1..=number).map(|n| id(&self.tweet(&format!("tweet number {n}")))).collect()
    }

    /// Follows somebody.
    #[track_caller]
    pub fn follow(&self, other: &Client) -> Value {
        self.post(&format!("/api/friendships/{}/follow/", other.id), json!({})).expect(201)
    }

    /// Unfollows somebody.
    #[track_caller]
    pub fn unfollow(&self, other: &Client) -> Value {
        self.post(&format!("/api/friendships/{}/unfollow/", other.id), json!({})).expect(200)
    }

    /// Comments on a tweet; C.
    #[track_caller]
    pub fn comment(&self, tweet_id: i64, content: &str) -> Value {
        self.post("/api/comments/", json!({"tweet_id": tweet_id, "content": content})).expect(201)
    }

    /// Likes a `tweet` or a `comment`; L.
    #[track_caller]
    pub fn like(&self, content_type: &str, object_id: i64) -> Value {
        let body = json!({"content_type": content_type, "object_id": object_id});
        self.post("/api/likes/", body).expect(201)
    }

    /// Takes a like back.
    #[track_caller]
    pub fn unlike(&self, content_type: &str, object_id: i64) -> Value {
        let body = json!({"content_type": content_type, "object_id": object_id});
        self.post("/api/likes/cancel/", body).expect(200)
    }

    /// A tweet's own page, in its full shape.
    #[track_caller]
    pub fn tweet_page(&self, tweet_id: i64) -> Value {
        let page = self.get(&format!("/api/tweets/{tweet_id}/")).expect(200);
        shape::tweet_page(&page);
        page
    }

    /// The first page of the home timeline: its entries.
    #[track_caller]
    pub fn feed(&self) -> Vec<Value> {
        shape::page(&self.get("/api/newsfeeds/").expect(200), shape::feed_entry)
    }

    /// The tweet ids on the first page of the home timeline.
    #[track_caller]
    pub fn feed_ids(&self) -> Vec<i64> {
        ids(&Value::Array(self.feed()), "tweet.id")
    }

    /// The first page of what somebody posted.
    #[track_caller]
    pub fn tweets_of(&self, other: &Client) -> Vec<Value> {
        let reply = self.get(&format!("/api/tweets/?user_id={}", other.id));
        shape::page(&reply.expect(200), shape::tweet)
    }

    /// Pages a cursor list down to its end with `created_at__lt`; all items. `path` has
    /// a query already, if only `?`.
    #[track_caller]
    pub fn walk(&self, path: &str) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        let mut page = self.get(path).expect(200);
        loop {
            let results = page["results"].as_array().expect("results").clone();
            let last = results.last().map(|item| text(&item["created_at"]));
            items.extend(results);
            if page["has_next_page"] == false {
                return items;
            }
            let last = last.expect("an empty page that promises a next one");
            page = self.get(&format!("{path}&created_at__lt={last}")).expect(200);
        }
    }

    /// All notifications of the first page, once the fan-out is quiet.
    #[track_caller]
    pub fn notifications(&self) -> Vec<Value> {
        let page = self.get("/api/notifications/").expect(200);
        shape::keys(&page, &["count", "next", "previous", "results"]);
        let items = page["results"].as_array().expect("results").clone();
        items.iter().for_each(shape::notification);
        items
    }

    /// The same person with HTTP Basic and no cookies.
    pub fn with_basic(&self) -> Self {
        let pair = format!("{}:{PASSWORD}", self.username);
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        self.with_authorization(&format!("Basic {pair}"))
    }

    /// The same person with a fresh bearer token and no cookies.
    #[track_caller]
    pub fn with_bearer(&self) -> Self {
        let body = json!({"username": self.username, "password": PASSWORD});
        let token = self.post("/api/accounts/token/", body).expect(201);
        self.with_authorization(&format!("Bearer {}", text(&token["token"])))
    }
}

/// The id of any object.
#[track_caller]
pub fn id(object: &Value) -> i64 {
    object["id"].as_i64().unwrap_or_else(|| panic!("no id in {object}"))
}

/// The text in a JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
