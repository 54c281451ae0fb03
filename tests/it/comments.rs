//! Comments: writing, listing, editing, deleting.

use crate::harness::{App, Client, id, ids, json, on_every_setup, shape, text};

on_every_setup! {
    commenting_answers_with_the_comment,
    comments_have_limits,
    comments_need_a_tweet,
    the_list_is_oldest_first,
    the_list_has_pages_of_a_hundred,
    the_owner_edits_the_content_and_nothing_else,
    the_owner_deletes,
    permission_comes_before_the_method,
}

const COMMENTS: &str = "/api/comments/";

fn path(comment_id: i64) -> String {
    format!("{COMMENTS}{comment_id}/")
}

fn commenting_answers_with_the_comment(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = bob.comment(tweet, "  well said  ");
    shape::comment(&comment);
    let expected = json!({
        "id": comment["id"], "tweet_id": tweet, "content": "well said",
        "user": {"id": bob.id, "username": "bob", "nickname": null, "avatar_url": null},
        "created_at": comment["created_at"], "likes_count": 0, "has_liked": false,
    });
    assert_eq!(comment, expected);
    // Read your writes: the list, the tweet's page and the count in every view.
    assert_eq!(
        bob.get(&format!("{COMMENTS}?tweet_id={tweet}")).expect(200)["comments"],
        json!([comment])
    );
    assert_eq!(bob.tweet_page(tweet)["comments_count"], 1);
    assert_eq!(bob.tweets_of(&ann)[0]["comments_count"], 1);
    assert_eq!(ann.feed()[0]["tweet"]["comments_count"], 1);

    let text_id = tweet.to_string();
    bob.post_form(COMMENTS, &[("tweet_id", &text_id), ("content", "by form")]).expect(201);
    let parts = [("tweet_id", &*text_id), ("content", "in parts")];
    bob.post_multipart(COMMENTS, &parts, &[]).expect(201);
    // Clients of the reference send ids as strings, too.
    bob.post(COMMENTS, json!({"tweet_id": text_id, "content": "text id"})).expect(201);
    app.quiesce();
    app.assert_counts_match_rows();
    assert_eq!(bob.tweet_page(tweet)["comments_count"], 4);
}

fn comments_have_limits(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("talk"));
    let attempt =
        |content: &str| ann.post(COMMENTS, json!({"tweet_id": tweet, "content": content}));
    for content in ["", "  ", &"🐔".repeat(141), "nul\u{0}char"] {
        attempt(content).blames(&["content"]);
    }
    let longest = "🐔".repeat(140);
    assert_eq!(attempt(&longest).expect(201)["content"], longest);
    assert_eq!(attempt("x").expect(201)["content"], "x");
    for body in [json!({}), json!({"tweet_id": tweet}), json!({"content": "where?"}), json!([])] {
        assert_eq!(ann.post(COMMENTS, body).status, 400);
    }
    let body = json!({"tweet_id": tweet, "content": "anonymous"});
    let message = "Authentication credentials were not provided.";
    app.anonymous().post(COMMENTS, body).refused(403, message);
    assert_eq!(app.sql("SELECT count(*) AS n FROM comments"), 2);
}

fn comments_need_a_tweet(app: App) {
    let ann = app.sign_up("ann");
    let reply = ann.post(COMMENTS, json!({"tweet_id": 999_999, "content": "hello?"}));
    let body = reply.expect(400);
    assert_eq!(body["message"], "Please check input.");
    assert_eq!(body["errors"]["message"], json!(["tweet does not exist"]));
    for bad in [json!(0), json!(-1), json!("x"), json!(1.5), json!(null), json!([1]), json!(1e300)]
    {
        let reply = ann.post(COMMENTS, json!({"tweet_id": bad, "content": "hello?"}));
        assert_eq!(reply.status, 400, "{}", reply.describe());
    }
}

fn the_list_is_oldest_first(app: App) {
    let ann = app.sign_up("ann");
    let (tweet, other) = (id(&ann.tweet("talk")), id(&ann.tweet("elsewhere")));
    let comments: Vec<i64> = (1..=5).map(|n| id(&ann.comment(tweet, &format!("{n}")))).collect();
    ann.comment(other, "elsewhere");
    let list = app.anonymous().get(&format!("{COMMENTS}?tweet_id={tweet}")).expect(200);
    shape::keys(&list, &["comments", "has_next_page"]);
    list["comments"].as_array().unwrap().iter().for_each(shape::comment);
    assert_eq!(ids(&list["comments"], "id"), comments);
    assert_eq!(list["has_next_page"], false);
    for query in ["", "?tweet_id=", "?user_id=1"] {
        let reply = app.anonymous().get(&format!("{COMMENTS}{query}"));
        reply.refused(400, "missing tweet_id in request");
    }
    let none = app.anonymous().get(&format!("{COMMENTS}?tweet_id=999999")).expect(200);
    assert_eq!(none["comments"], json!([]));
}

fn the_list_has_pages_of_a_hundred(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("popular"));
    let comments: Vec<i64> = (1..=101).map(|n| id(&ann.comment(tweet, &format!("{n}")))).collect();
    let first = ann.get(&format!("{COMMENTS}?tweet_id={tweet}")).expect(200);
    assert_eq!(first["has_next_page"], true);
    assert_eq!(ids(&first["comments"], "id"), comments[..100]);
    let last = text(&first["comments"][99]["created_at"]);
    let rest = format!("{COMMENTS}?tweet_id={tweet}&created_at__gt={last}");
    let second = ann.get(&rest).expect(200);
    assert_eq!(second["has_next_page"], false);
    assert_eq!(ids(&second["comments"], "id"), comments[100..]);
    // At the edge itself there is no next page.
    ann.delete(&path(comments[100])).expect(200);
    let first = ann.get(&format!("{COMMENTS}?tweet_id={tweet}")).expect(200);
    assert_eq!(
        (&first["has_next_page"], ids(&first["comments"], "id").len()),
        (&json!(false), 100)
    );
    let bad = format!("{COMMENTS}?tweet_id={tweet}&created_at__gt=now");
    ann.get(&bad).blames(&["created_at__gt"]);
}

fn the_owner_edits_the_content_and_nothing_else(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let (tweet, other) = (id(&ann.tweet("talk")), id(&ann.tweet("elsewhere")));
    let before = bob.comment(tweet, "first thought");
    let body = json!({"content": "second thought", "tweet_id": other, "user_id": ann.id, "id": 7,
        "likes_count": 7, "created_at": "2001-01-01T00:00:00.000000Z"});
    let after = bob.put(&path(id(&before)), body).expect(200);
    shape::comment(&after);
    let mut expected = before.clone();
    expected["content"] = json!("second thought");
    assert_eq!(after, expected);
    assert_eq!(bob.tweet_page(tweet)["comments"], json!([after]));

    for content in
        [json!(""), json!(" "), json!("é".repeat(141)), json!("\u{0}"), json!(null), json!([])]
    {
        bob.put(&path(id(&before)), json!({"content": content})).blames(&["content"]);
    }
    assert_eq!(bob.put(&path(id(&before)), json!({})).status, 400);
    let edit = |client: &Client, id: i64| client.put(&path(id), json!({"content": "not mine"}));
    edit(&ann, id(&before)).expect(403);
    let message = "Authentication credentials were not provided.";
    edit(&app.anonymous(), id(&before)).refused(403, message);
    edit(&bob, 999_999).refused(404, "Not found.");
    assert_eq!(bob.tweet_page(tweet)["comments"][0]["content"], "second thought");
}

fn the_owner_deletes(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = id(&bob.comment(tweet, "oops"));
    ann.like("comment", comment);
    ann.delete(&path(comment)).expect(403);
    app.anonymous().delete(&path(comment)).expect(403);
    assert_eq!(bob.delete(&path(comment)).expect(200), json!({"success": true}));
    assert_eq!(bob.tweet_page(tweet)["comments_count"], 0);
    bob.delete(&path(comment)).refused(404, "Not found.");
    bob.put(&path(comment), json!({"content": "again"})).refused(404, "Not found.");
    app.quiesce();
    app.assert_counts_match_rows();
}

fn permission_comes_before_the_method(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("talk"));
    let comment = path(id(&ann.comment(tweet, "mine")));
    for method in ["GET", "PATCH", "POST"] {
        let reply = ann.request(method, &comment).json(&json!({"content": "x"})).send();
        reply.refused(405, &format!("Method \"{method}\" not allowed."));
        let reply = app.anonymous().request(method, &comment).json(&json!({})).send();
        assert!(matches!(reply.status, 403 | 405), "{}", reply.describe());
    }
    ann.delete(COMMENTS).refused(405, "Method \"DELETE\" not allowed.");
}
