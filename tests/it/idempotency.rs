//! Idempotency-Key on POST tweets and comments: a repeated request is answered, not redone.

use std::thread;

use crate::harness::{App, Client, Reply, Value, id, json, on_every_setup};

on_every_setup! {
    a_repeated_tweet_gets_the_first_answer,
    another_body_under_the_same_key_is_a_conflict,
    keys_belong_to_their_user,
    comments_have_keys_too,
    a_key_survives_a_crash,
    repeats_at_the_same_time_make_one_tweet,
    a_key_has_a_limit,
}

const TWEETS: &str = "/api/tweets/";

fn post(client: &Client, path: &str, key: &str, body: &Value) -> Reply {
    client.request("POST", path).header("Idempotency-Key", key).json(body).send()
}

fn a_repeated_tweet_gets_the_first_answer(app: App) {
    let ann = app.sign_up("ann");
    let body = json!({"content": "once"});
    let first = post(&ann, TWEETS, "key-1", &body);
    let again = post(&ann, TWEETS, "key-1", &body);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text(), again.text(), "identical to the byte");
    // The answer is the first one even when the tweet has changed since.
    let tweet = id(&first.json());
    ann.like("tweet", tweet);
    assert_eq!(post(&ann, TWEETS, "key-1", &body).text(), first.text());
    assert_eq!(ann.tweets_of(&ann).len(), 1);
    // Another key, or none, is another tweet.
    assert_ne!(id(&post(&ann, TWEETS, "key-2", &body).expect(201)), tweet);
    assert_ne!(id(&ann.tweet("once")), tweet);
    assert_eq!(ann.tweets_of(&ann).len(), 3);
}

fn another_body_under_the_same_key_is_a_conflict(app: App) {
    let ann = app.sign_up("ann");
    post(&ann, TWEETS, "key", &json!({"content": "this"})).expect(201);
    post(&ann, TWEETS, "key", &json!({"content": "that"})).expect(409);
    let reply = post(&ann, TWEETS, "key", &json!({"content": "this"}));
    assert_eq!(reply.expect(201)["content"], "this", "a conflict does not harm the key");
    assert_eq!(ann.tweets_of(&ann).len(), 1);
}

fn keys_belong_to_their_user(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let body = json!({"content": "same key, same body"});
    let by_ann = post(&ann, TWEETS, "key", &body).expect(201);
    let by_bob = post(&bob, TWEETS, "key", &body).expect(201);
    assert_eq!((&by_ann["user"]["id"], &by_bob["user"]["id"]), (&json!(ann.id), &json!(bob.id)));
    let message = "Authentication credentials were not provided.";
    post(&app.anonymous(), TWEETS, "key", &body).refused(403, message);
}

fn comments_have_keys_too(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("talk"));
    let body = json!({"tweet_id": tweet, "content": "once"});
    let first = post(&ann, "/api/comments/", "key", &body);
    let again = post(&ann, "/api/comments/", "key", &body);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text(), again.text());
    let other = json!({"tweet_id": tweet, "content": "twice"});
    post(&ann, "/api/comments/", "key", &other).expect(409);
    assert_eq!(ann.tweet_page(tweet)["comments_count"], 1);
    app.quiesce();
    app.assert_counts_match_rows();
}

fn a_key_survives_a_crash(mut app: App) {
    let ann = app.sign_up("ann");
    let body = json!({"content": "acknowledged, but did the client hear it?"});
    let first = post(&ann, TWEETS, "key", &body);
    app.kill9();
    app.start_again();
    let again = post(&ann, TWEETS, "key", &body);
    assert_eq!((first.status, first.text()), (again.status, again.text()));
    assert_eq!(ann.tweets_of(&ann).len(), 1);
}

fn repeats_at_the_same_time_make_one_tweet(app: App) {
    let ann = app.sign_up("ann");
    let tweet = id(&ann.tweet("talk"));
    let requests = [
        (TWEETS, json!({"content": "impatient"})),
        ("/api/comments/", json!({"tweet_id": tweet, "content": "impatient"})),
    ];
    for (round, (path, body)) in requests.iter().enumerate() {
        let key = format!("key-{round}");
        let replies: Vec<Reply> = thread::scope(|scope| {
            let repeat = || scope.spawn(|| post(&ann, path, &key, body));
            let running: Vec<_> = (0..8).map(|_| repeat()).collect();
            running.into_iter().map(|reply| reply.join().unwrap()).collect()
        });
        let made: Vec<String> =
            replies.iter().filter(|reply| reply.status == 201).map(Reply::text).collect();
        // A repeat that comes while the first is at work may be told to come again.
        assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 409 | 503)));
        assert!(!made.is_empty() && made.iter().all(|text| *text == made[0]), "{made:?}");
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 2);
    assert_eq!(app.sql("SELECT count(*) AS n FROM comments"), 1);
    app.quiesce();
    app.assert_counts_match_rows();
}

fn a_key_has_a_limit(app: App) {
    let ann = app.sign_up("ann");
    let reply = post(&ann, TWEETS, &"k".repeat(5000), &json!({"content": "long key"}));
    assert_eq!(reply.status, 400, "{}", reply.describe());
    let reply = post(&ann, TWEETS, "", &json!({"content": "empty key"}));
    assert!(matches!(reply.status, 201 | 400), "{}", reply.describe());
    // A refused request did nothing, so its key is still free for the corrected one.
    post(&ann, TWEETS, "key", &json!({"content": ""})).expect(400);
    post(&ann, TWEETS, "key", &json!({"content": "corrected"})).expect(201);
}
