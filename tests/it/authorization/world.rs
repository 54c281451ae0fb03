//! Who asks, what there is to ask for, and whether anything has changed.

use std::collections::BTreeMap;

use crate::harness::{App, Client, Reply, Value, id, json, photo, text};

/// Ann's things, and what both have done.
pub(super) struct World {
    pub(super) ann: Client,
    pub(super) bob: Client,
    tweet: i64,
    comment: i64,
    notification: i64,
    photo: String,
}

impl World {
    /// Bob follows Ann, likes and comments on her tweet; Ann has commented and has a photo.
    pub(super) fn build(app: &App) -> World {
        let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
        let image = photo::png();
        let files: [(&str, &str, &[u8]); 1] = [("files", "nest.png", &image)];
        let posted = ann.post_multipart("/api/tweets/", &[("content", "mine")], &files).expect(201);
        let tweet = id(&posted);
        let comment = id(&ann.comment(tweet, "my own comment"));
        bob.follow(&ann);
        bob.like("tweet", tweet);
        app.quiesce();
        let notification = id(&ann.notifications()[0]);
        let photo = text(&posted["photo_urls"][0]);
        World { ann, bob, tweet, comment, notification, photo }
    }

    /// The path with Ann's things in it.
    fn path(&self, path: &str) -> String {
        let thing = match path {
            "/media/{}/{}" => return self.photo.clone(),
            _ if path.starts_with("/api/tweets/{}") => self.tweet,
            _ if path.starts_with("/api/comments/{}") => self.comment,
            _ if path.starts_with("/api/notifications/{}") => self.notification,
            _ => self.ann.id,
        };
        let query = match path {
            "/api/tweets/" => format!("?user_id={}", self.ann.id),
            "/api/comments/" => format!("?tweet_id={}", self.tweet),
            "/api/profiles/" => "?username=ann".to_owned(),
            _ => String::new(),
        };
        path.replace("{}", &thing.to_string()) + &query
    }

    /// A body with which everything succeeds.
    fn body(&self, path: &str) -> Value {
        let mut body = json!({
            "content": "changed", "tweet_id": self.tweet, "content_type": "tweet",
            "object_id": self.tweet, "unread": false, "nickname": "changed",
            "username": "ann", "password": crate::harness::PASSWORD,
        });
        if path.contains("signup") {
            body["username"] = json!("somebody_new");
            body["email"] = json!("new@example.com");
        }
        body
    }

    pub(super) fn ask(&self, who: &Client, method: &str, path: &str) -> Reply {
        let request = who.request(method, &self.path(path));
        if path.ends_with("/stream/") {
            // An answer that goes on for ever: the head is what matters.
            return Reply::head_of(path, request.open().expect("an answer"));
        }
        if method == "GET" { request.send() } else { request.json(&self.body(path)).send() }
    }
}

/// Everything that a write may change, as numbers and texts.
pub(super) fn fingerprint(app: &App) -> BTreeMap<&'static str, Vec<String>> {
    let tables = [
        ("users", "username || ' ' || password_hash"),
        ("profiles", "coalesce(nickname, '-') || coalesce(avatar_url, '-')"),
        ("tweets", "content || coalesce(likes_count, 0) || coalesce(comments_count, 0)"),
        ("comments", "content || coalesce(likes_count, 0)"),
        ("likes", "user_id || ' ' || object_id"),
        ("friendships", "from_user_id || ' ' || to_user_id"),
        ("newsfeeds", "user_id || ' ' || tweet_id"),
        ("notifications", "recipient_id || ' ' || unread"),
        ("sessions", "user_id || ' ' || kind"),
    ];
    tables
        .into_iter()
        .map(|(table, columns)| {
            (table, app.sql_texts(&format!("SELECT {columns} AS t FROM {table} ORDER BY 1")))
        })
        .collect()
}
