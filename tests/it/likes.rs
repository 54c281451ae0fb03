//! Likes of tweets and comments, and taking them back.

use crate::harness::{App, id, ids, json, on_every_setup, shape};

on_every_setup! {
    liking_answers_with_the_like,
    liking_twice_is_liking_once,
    cancelling_tells_whether_it_did_something,
    comments_are_liked_the_same_way,
    a_like_needs_a_target,
    a_like_needs_both_parameters,
    likes_need_a_login,
}

const LIKES: &str = "/api/likes/";
const CANCEL: &str = "/api/likes/cancel/";

fn liking_answers_with_the_like(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("like me"));
    let like = bob.like("tweet", tweet);
    shape::like(&like);
    assert_eq!(like["user"]["id"], bob.id);
    // Read your writes, in every view.
    let page = bob.tweet_page(tweet);
    assert_eq!((&page["has_liked"], &page["likes_count"]), (&json!(true), &json!(1)));
    assert_eq!(page["likes"], json!([like]));
    let shown = &bob.tweets_of(&ann)[0];
    assert_eq!((&shown["has_liked"], &shown["likes_count"]), (&json!(true), &json!(1)));
    assert_eq!(ann.tweets_of(&ann)[0]["has_liked"], false);

    let by_form = [("content_type", "tweet"), ("object_id", &tweet.to_string())];
    ann.post_form(LIKES, &by_form).expect(201);
    assert_eq!(ids(&bob.tweet_page(tweet)["likes"], "user.id"), [ann.id, bob.id]);
    app.quiesce();
    app.assert_counts_match_rows();
}

fn liking_twice_is_liking_once(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("like me"));
    let first = ann.like("tweet", tweet);
    let again = ann.like("tweet", tweet);
    assert_eq!(first, again, "the same like, with the time of the first");
    assert_eq!(ann.tweet_page(tweet)["likes_count"], 1);
    assert_eq!(app.sql("SELECT count(*) AS n FROM likes"), 1);
}

fn cancelling_tells_whether_it_did_something(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("like me"));
    assert_eq!(ann.unlike("tweet", tweet), json!({"success": true, "deleted": 0}));
    ann.like("tweet", tweet);
    bob.like("tweet", tweet);
    assert_eq!(ann.unlike("tweet", tweet), json!({"success": true, "deleted": 1}));
    let page = ann.tweet_page(tweet);
    assert_eq!((&page["has_liked"], &page["likes_count"]), (&json!(false), &json!(1)));
    assert_eq!(ids(&page["likes"], "user.id"), [bob.id]);
    assert_eq!(ann.unlike("tweet", tweet), json!({"success": true, "deleted": 0}));
    assert_eq!(ann.tweet_page(tweet)["likes_count"], 1, "a count never sinks twice");
    ann.like("tweet", tweet);
    assert_eq!(ann.tweet_page(tweet)["likes_count"], 2);
    app.quiesce();
    app.assert_counts_match_rows();
}

fn comments_are_liked_the_same_way(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = id(&ann.comment(tweet, "like me"));
    let first = bob.like("comment", comment);
    assert_eq!(first, bob.like("comment", comment));
    let listed = |client: &crate::harness::Client| {
        client.get(&format!("/api/comments/?tweet_id={tweet}")).expect(200)["comments"][0].clone()
    };
    assert_eq!(
        (&listed(&bob)["has_liked"], &listed(&bob)["likes_count"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(listed(&ann)["has_liked"], false);
    // The tweet of the same number, or of the comment, is another thing.
    assert_eq!(bob.tweet_page(tweet)["likes_count"], 0);
    assert_eq!(bob.unlike("comment", comment)["deleted"], 1);
    assert_eq!(
        (&listed(&bob)["has_liked"], &listed(&bob)["likes_count"]),
        (&json!(false), &json!(0))
    );
    app.quiesce();
    app.assert_counts_match_rows();
}

fn a_like_needs_a_target(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("the only one"));
    for path in [LIKES, CANCEL] {
        for kind in ["tweet", "comment"] {
            let body = json!({"content_type": kind, "object_id": tweet + 1000});
            let body = ann.post(path, body).blames(&["object_id"]);
            assert_eq!(body["message"], "Please check input.");
            assert_eq!(body["errors"]["object_id"], json!(["Object does not exist"]));
        }
        for kind in [json!("coment"), json!("Tweet"), json!(""), json!("user"), json!([])] {
            let reply = ann.post(path, json!({"content_type": kind, "object_id": tweet}));
            let body = reply.expect(400);
            assert!(body["errors"]["content_type"].is_array(), "{path} {kind}: {body}");
        }
        let ids =
            [json!(0), json!(-1), json!("x"), json!("1e3"), json!(1.5), json!(true), json!(1e300)];
        for bad in ids {
            let reply = ann.post(path, json!({"content_type": "tweet", "object_id": bad}));
            let body = reply.expect(400);
            assert!(body["errors"]["object_id"].is_array(), "{path} {bad}: {body}");
        }
        let text_id = json!({"content_type": "tweet", "object_id": tweet.to_string()});
        assert!(ann.post(path, text_id).status < 300, "an id as a string");
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM likes"), 0);
}

fn a_like_needs_both_parameters(app: App) {
    let ann = app.sign_up("ann");
    for path in [LIKES, CANCEL] {
        let both = "missing content_type,object_id in request";
        ann.post(path, json!({})).refused(400, both);
        ann.post_form(path, &[]).refused(400, both);
        let message = "missing object_id in request";
        ann.post(path, json!({"content_type": "tweet"})).refused(400, message);
        ann.post(path, json!({"object_id": 1})).refused(400, "missing content_type in request");
    }
}

fn likes_need_a_login(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("like me"));
    let body = json!({"content_type": "tweet", "object_id": tweet});
    let message = "Authentication credentials were not provided.";
    for path in [LIKES, CANCEL] {
        app.anonymous().post(path, body.clone()).refused(403, message);
        app.anonymous().get(path).refused(403, message);
        ann.get(path).refused(405, "Method \"GET\" not allowed.");
        ann.put(path, body.clone()).refused(405, "Method \"PUT\" not allowed.");
    }
    assert_eq!(ann.tweet_page(tweet)["likes_count"], 0);
}
