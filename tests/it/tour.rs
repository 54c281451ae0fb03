//! One long story through everything, as a newcomer would try it out.

use crate::harness::{App, PASSWORD, Value, id, ids, json, on_every_setup, photo, shape, text};

on_every_setup! {
    an_evening_on_roost,
}

fn an_evening_on_roost(mut app: App) {
    // Three people sign up. Wren comes back on a phone, Robin uses a script with a token.
    let [wren, robin, finch] = ["wren", "robin", "finch"].map(|name| app.sign_up(name));
    let phone = app.anonymous();
    let credentials = json!({"username": "Wren", "password": PASSWORD});
    phone.post("/api/accounts/login/", credentials).expect(200);
    let script = robin.with_bearer();

    // Robin has been posting for a while when the others begin to follow.
    let early = script.tweets(3);
    wren.follow(&robin);
    finch.follow(&robin);
    robin.follow(&wren);
    app.quiesce();
    assert_eq!(wren.feed_ids(), [early[2], early[1], early[0]]);

    // A nickname, a face, and a tweet with two photos.
    let png = photo::png();
    let request = wren.request("PUT", &format!("/api/profiles/{}/", wren.id));
    let fields = [("nickname", "Jenny Wren")];
    request.multipart(&fields, &[("avatar", "jenny.png", &png)]).send().expect(200);
    let files = [("files", "nest.png", &png[..]), ("files", "eggs.png", &png[..])];
    let tweet =
        phone.post_multipart("/api/tweets/", &[("content", "our nest")], &files).expect(201);
    let nest = id(&tweet);
    app.quiesce();
    let shown = &robin.feed()[0]["tweet"];
    shape::tweet(shown);
    assert_eq!((&shown["id"], &shown["user"]["nickname"]), (&json!(nest), &json!("Jenny Wren")));
    assert_eq!(shown["photo_urls"].as_array().unwrap().len(), 2);

    // The others react; Wren hears of it, on whichever device.
    robin.like("tweet", nest);
    let comment = id(&finch.comment(nest, "how many eggs?"));
    let answer = id(&wren.comment(nest, "four"));
    finch.like("comment", answer);
    app.quiesce();
    let verbs: Vec<String> = phone.notifications().iter().map(|item| text(&item["verb"])).collect();
    assert_eq!(verbs, ["liked your comment", "commented on your tweet", "liked your tweet"]);
    let marked = phone.post("/api/notifications/mark-all-as-read/", json!({})).expect(200);
    assert_eq!(marked["marked_count"], 3);

    // Anybody may read the tweet's page.
    let page = app.anonymous().tweet_page(nest);
    assert_eq!((&page["likes_count"], &page["comments_count"]), (&json!(1), &json!(2)));
    assert_eq!(ids(&page["comments"], "id"), [comment, answer]);

    // Second thoughts: a like is taken back, a comment reworded, a tweet deleted.
    robin.unlike("tweet", nest);
    let edited =
        finch.put(&format!("/api/comments/{comment}/"), json!({"content": "congratulations!"}));
    edited.expect(200);
    script.delete(&format!("/api/tweets/{}/", early[1])).expect(200);
    app.quiesce();
    assert_eq!(finch.feed_ids(), [early[2], early[0]]);
    let page = robin.tweet_page(nest);
    assert_eq!((&page["likes_count"], &page["has_liked"]), (&json!(0), &json!(false)));
    assert_eq!(page["comments"][0]["content"], "congratulations!");

    // Finch has had enough of Robin; what Robin posts next is not for Finch.
    finch.unfollow(&robin);
    let late = id(&robin.tweet("good night"));
    app.quiesce();
    assert_eq!(finch.feed_ids(), [0_i64; 0]);
    let walked = wren.walk("/api/newsfeeds/?page_size=1");
    assert_eq!(ids(&Value::Array(walked), "tweet.id"), [late, nest, early[2], early[0]]);

    // The machine goes down for the night; in the morning everything is as it was.
    app.restart();
    assert_eq!(wren.feed_ids(), [late, nest, early[2], early[0]]);
    phone.post("/api/accounts/logout/", json!({})).expect(200);
    assert_eq!(phone.get("/api/accounts/login_status/").expect(200)["has_logged_in"], false);
    assert_eq!(wren.get("/api/accounts/login_status/").expect(200)["has_logged_in"], true);
    app.assert_counts_match_rows();
}
