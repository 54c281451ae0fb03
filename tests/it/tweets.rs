//! Tweets: posting, reading one, an author's list, deleting.

use crate::harness::{App, Value, id, ids, json, on_every_setup, shape, text};

on_every_setup! {
    posting_answers_with_the_tweet,
    content_is_trimmed_and_counted_in_code_points,
    content_must_be_text,
    foreign_fields_are_ignored,
    an_authors_list_needs_a_user,
    a_tweet_has_a_page_with_comments_and_likes,
    a_page_shows_at_most_a_hundred_comments,
    a_page_shows_the_newest_hundred_likes,
    a_deleted_tweet_is_gone_everywhere,
    only_the_author_deletes,
    posting_needs_a_login,
}

const TWEETS: &str = "/api/tweets/";

fn posting_answers_with_the_tweet(app: App) {
    let ann = app.sign_up("ann");
    let tweet = ann.tweet("hello");
    shape::tweet(&tweet);
    let expected = json!({
        "id": tweet["id"], "created_at": tweet["created_at"], "content": "hello",
        "user": {"id": ann.id, "username": "ann", "nickname": null, "avatar_url": null},
        "comments_count": 0, "likes_count": 0, "has_liked": false, "photo_urls": [],
    });
    assert_eq!(tweet, expected);
    // The next read shows it, in the author's list and in the author's own feed.
    assert_eq!(ann.tweets_of(&ann), std::slice::from_ref(&tweet));
    assert_eq!(ann.feed()[0]["tweet"], tweet);

    let by_form = ann.post_form(TWEETS, &[("content", "über a form + more")]).expect(201);
    assert_eq!(by_form["content"], "über a form + more");
    let by_multipart = ann.post_multipart(TWEETS, &[("content", "in parts")], &[]).expect(201);
    assert_eq!(by_multipart["content"], "in parts");
    let newest_first = [id(&by_multipart), id(&by_form), id(&tweet)];
    assert_eq!(ids(&Value::Array(ann.tweets_of(&ann)), "id"), newest_first);
}

fn content_is_trimmed_and_counted_in_code_points(app: App) {
    let ann = app.sign_up("ann");
    assert_eq!(ann.tweet(" \t\n hi there \r\n")["content"], "hi there");
    assert_eq!(ann.tweet("x")["content"], "x");
    let longest = "🐔".repeat(255);
    assert_eq!(ann.tweet(&longest)["content"], longest);
    // Blanks around it do not count.
    assert_eq!(ann.tweet(&format!("  {longest}  "))["content"], longest);

    for content in ["", "   ", "\u{3000}\n", &"🐔".repeat(256), &"a".repeat(256)] {
        let body = ann.post(TWEETS, json!({"content": content})).blames(&["content"]);
        assert_eq!(body["message"], "Please check input.", "{content}");
    }
    assert_eq!(ann.tweets_of(&ann).len(), 4);
    // Text is text: markup and quotes come back as they went in.
    for content in ["<script>alert(1)</script>", "'; DROP TABLE tweets; --", "\"\\/\u{7f}é\u{202e}"]
    {
        assert_eq!(ann.tweet(content)["content"], content);
    }
}

fn content_must_be_text(app: App) {
    let ann = app.sign_up("ann");
    for content in [json!(null), json!(["a"]), json!({"a": 1}), json!(true), json!("nul\u{0}char")]
    {
        let reply = ann.post(TWEETS, json!({"content": content}));
        assert_eq!(reply.status, 400, "{content}: {}", reply.describe());
    }
    assert_eq!(ann.post(TWEETS, json!({})).status, 400);
    for body in [json!([]), json!("content"), json!(1), json!(null)] {
        assert_eq!(ann.post(TWEETS, body.clone()).status, 400, "{body}");
    }
    assert_eq!(ann.post_form(TWEETS, &[]).status, 400);
    ann.post_form(TWEETS, &[("content", "nul\u{0}char")]).blames(&["content"]);
    ann.post_multipart(TWEETS, &[("content", "nul\u{0}char")], &[]).blames(&["content"]);
    assert!(ann.tweets_of(&ann).is_empty());
}

fn foreign_fields_are_ignored(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let body = json!({"content": "mine", "id": 77, "user": bob.id, "user_id": bob.id,
        "created_at": "2001-01-01T00:00:00.000000Z", "likes_count": 9, "has_liked": true});
    let tweet = ann.post(TWEETS, body).expect(201);
    assert_eq!((&tweet["user"]["id"], &tweet["likes_count"]), (&json!(ann.id), &json!(0)));
    assert_ne!(tweet["id"], 77);
    assert!(!text(&tweet["created_at"]).starts_with("2001"), "{tweet}");
}

fn an_authors_list_needs_a_user(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.tweet("by ann");
    let tweet = bob.tweet("by bob");
    let list = app.anonymous().get(&format!("{TWEETS}?user_id={}", bob.id)).expect(200);
    assert_eq!(list, json!({"has_next_page": false, "results": [tweet]}));

    for query in ["", "?user_id=", "?other=1"] {
        let reply = app.anonymous().get(&format!("{TWEETS}{query}"));
        reply.refused(400, "missing user_id in request");
    }
    let nobody = app.anonymous().get(&format!("{TWEETS}?user_id={}", bob.id + 1)).expect(200);
    assert_eq!(nobody, json!({"has_next_page": false, "results": []}));
}

fn a_tweet_has_a_page_with_comments_and_likes(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk to me"));
    let first = bob.comment(tweet, "first");
    let second = ann.comment(tweet, "second");
    ann.like("tweet", tweet);
    bob.like("tweet", tweet);
    bob.like("comment", id(&second));

    let page = bob.tweet_page(tweet);
    assert_eq!(ids(&page["comments"], "id"), [id(&first), id(&second)], "oldest first");
    assert_eq!(ids(&page["likes"], "user.id"), [bob.id, ann.id], "newest first");
    assert_eq!((&page["comments_count"], &page["likes_count"]), (&json!(2), &json!(2)));
    assert_eq!(page["has_liked"], true);
    let liked: Vec<_> = (0..2).map(|n| page["comments"][n]["has_liked"].clone()).collect();
    assert_eq!(liked, [json!(false), json!(true)]);
    assert_eq!(page["comments"][1]["likes_count"], 1);
    assert_eq!(app.anonymous().tweet_page(tweet)["has_liked"], false);
    app.anonymous().get(&format!("/api/tweets/{}/", tweet + 1)).refused(404, "Not found.");
}

fn a_page_shows_at_most_a_hundred_comments(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("popular"));
    let comments: Vec<i64> =
        (1..=103).map(|n| id(&ann.comment(tweet, &format!("comment {n}")))).collect();
    let page = ann.tweet_page(tweet);
    assert_eq!(ids(&page["comments"], "id"), comments[..100]);
    assert_eq!(page["comments_count"], 103);
}

fn a_page_shows_the_newest_hundred_likes(app: App) {
    let tweet = id(&app.sign_up("ann").tweet("popular"));
    for rows in [
        "users (id, username, email, password_hash, disabled, created_at) \
         SELECT 1000 + i, 'u' || i, 'u' || i || '@example.com', 'x', false, i FROM n \
         RETURNING id AS n"
            .to_owned(),
        "profiles (user_id, followers_count, followings_count, tweets_count) \
         SELECT 1000 + i, 0, 0, 0 FROM n RETURNING user_id AS n"
            .to_owned(),
        format!(
            "likes (user_id, kind, object_id, created_at) SELECT 1000 + i, 1, {tweet}, i FROM n \
             RETURNING user_id AS n"
        ),
    ] {
        let added = app.sql_list(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 103) \
             INSERT INTO {rows}"
        ));
        assert_eq!(added.len(), 103);
    }
    let newest: Vec<i64> = (1004..=1103).rev().collect();
    assert_eq!(ids(&app.anonymous().tweet_page(tweet)["likes"], "user.id"), newest);
}

fn a_deleted_tweet_is_gone_everywhere(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    bob.follow(&ann);
    let kept = id(&ann.tweet("kept"));
    let tweet = id(&ann.tweet("regretted"));
    let comment = id(&bob.comment(tweet, "oh"));
    bob.like("tweet", tweet);
    app.quiesce();
    assert_eq!(bob.feed_ids(), [tweet, kept]);

    let path = format!("/api/tweets/{tweet}/");
    assert_eq!(ann.delete(&path).expect(200), json!({"success": true}));
    // The author sees it at once; after the fan-out everybody does.
    assert_eq!(ann.feed_ids(), [kept]);
    assert_eq!(ids(&Value::Array(ann.tweets_of(&ann)), "id"), [kept]);
    ann.get(&path).refused(404, "Not found.");
    ann.delete(&path).refused(404, "Not found.");
    assert_eq!(bob.feed_ids(), [kept], "an entry whose tweet is gone never appears");
    app.quiesce();
    app.flush_redis();
    assert_eq!(bob.feed_ids(), [kept]);
    assert_eq!(
        app.sql(&format!("SELECT count(*) AS n FROM newsfeeds WHERE tweet_id = {tweet}")),
        0
    );

    let body = json!({"tweet_id": tweet, "content": "too late"});
    bob.post("/api/comments/", body).expect(400);
    bob.post("/api/likes/", json!({"content_type": "tweet", "object_id": tweet})).expect(400);
    bob.put(&format!("/api/comments/{comment}/"), json!({"content": "edited"})).expect(404);
}

fn only_the_author_deletes(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let path = format!("/api/tweets/{}/", id(&ann.tweet("mine")));
    bob.delete(&path).expect(403);
    app.anonymous().delete(&path).refused(403, "Authentication credentials were not provided.");
    bob.delete("/api/tweets/999999/").refused(404, "Not found.");
    assert_eq!(ann.feed().len(), 1);
    for method in ["PUT", "PATCH", "POST"] {
        let reply = ann.request(method, &path).json(&json!({"content": "edited"})).send();
        reply.refused(405, &format!("Method \"{method}\" not allowed."));
    }
}

fn posting_needs_a_login(app: App) {
    let message = "Authentication credentials were not provided.";
    app.anonymous().post(TWEETS, json!({"content": "who am I"})).refused(403, message);
    // Who may not post learns nothing about what is wrong with the body.
    app.anonymous().post(TWEETS, json!({})).refused(403, message);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 0);
}
