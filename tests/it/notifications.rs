//! Notifications: who hears of what, and marking it as read.

use crate::harness::{App, Client, Value, id, ids, json, on_every_setup, shape, text};

on_every_setup! {
    likes_and_comments_notify_the_owner,
    ones_own_doings_notify_nobody,
    only_a_new_like_notifies,
    the_list_is_paged_and_filtered,
    everything_is_marked_as_read_at_once,
    one_notification_is_marked_either_way,
    notifications_are_private,
}

const LIST: &str = "/api/notifications/";

fn path(notification: &Value) -> String {
    format!("{LIST}{}/", id(notification))
}

#[track_caller]
fn unread_count(client: &Client) -> Value {
    client.get("/api/notifications/unread-count/").expect(200)
}

/// The verbs and targets of somebody's notifications, newest first.
#[track_caller]
fn heard(client: &Client) -> Vec<(String, String)> {
    let pairs = |item: &Value| (text(&item["verb"]), text(&item["target_object_id"]));
    client.notifications().iter().map(pairs).collect()
}

fn likes_and_comments_notify_the_owner(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = id(&ann.comment(tweet, "anyone?"));
    bob.like("tweet", tweet);
    bob.comment(tweet, "here");
    bob.like("comment", comment);
    app.quiesce();
    let expected = [
        ("liked your comment".to_owned(), comment.to_string()),
        ("commented on your tweet".to_owned(), tweet.to_string()),
        ("liked your tweet".to_owned(), tweet.to_string()),
    ];
    assert_eq!(heard(&ann), expected);
    for item in ann.notifications() {
        assert_eq!(
            (&item["actor_object_id"], &item["unread"]),
            (&json!(bob.id.to_string()), &json!(true))
        );
    }
    assert_eq!(unread_count(&ann), json!({"unread_count": 3}));
    assert_eq!(heard(&bob), []);
    assert_eq!(unread_count(&bob), json!({"unread_count": 0}));
}

fn ones_own_doings_notify_nobody(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    let comment = id(&ann.comment(tweet, "to myself"));
    ann.like("tweet", tweet);
    ann.like("comment", comment);
    // Bob's comment concerns Ann, her like of it concerns Bob.
    let reply = id(&bob.comment(tweet, "hello"));
    ann.like("comment", reply);
    app.quiesce();
    assert_eq!(heard(&ann), [("commented on your tweet".to_owned(), tweet.to_string())]);
    assert_eq!(heard(&bob), [("liked your comment".to_owned(), reply.to_string())]);
}

fn only_a_new_like_notifies(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("like me"));
    bob.like("tweet", tweet);
    bob.like("tweet", tweet);
    app.quiesce();
    assert_eq!(unread_count(&ann)["unread_count"], 1);
    bob.unlike("tweet", tweet);
    app.quiesce();
    assert_eq!(heard(&ann).len(), 1, "a like taken back is no news");
}

fn the_list_is_paged_and_filtered(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    for n in 1..=12 {
        bob.comment(tweet, &format!("comment {n}"));
    }
    app.quiesce();
    let first = ann.get(LIST).expect(200);
    shape::keys(&first, &["count", "next", "previous", "results"]);
    assert_eq!((&first["count"], &first["previous"]), (&json!(12), &json!(null)));
    let newest = ids(&first["results"], "id");
    assert_eq!(newest.len(), 10);
    let next = text(&first["next"]);
    let next = next.strip_prefix(&app.base_url()).unwrap_or(&next).to_owned();
    let second = ann.get(&next).expect(200);
    assert_eq!((&second["count"], &second["next"]), (&json!(12), &json!(null)));
    assert!(second["previous"].is_string(), "{second}");
    let all = [newest, ids(&second["results"], "id")].concat();
    let truth = app.sql_list("SELECT id AS n FROM notifications ORDER BY created_at DESC, id DESC");
    assert_eq!(all, truth);
    for beyond in ["3", "0", "-1", "99999999999999999999"] {
        ann.get(&format!("{LIST}?page={beyond}")).refused(404, "Invalid page.");
    }

    for item in first["results"].as_array().unwrap() {
        ann.put(&path(item), json!({"unread": false})).expect(200);
    }
    assert_eq!(unread_count(&ann)["unread_count"], 2);
    for (filter, count) in [("true", 2), ("false", 10)] {
        let list = ann.get(&format!("{LIST}?unread={filter}")).expect(200);
        assert_eq!(list["count"], count, "unread={filter}");
        for item in list["results"].as_array().unwrap() {
            assert_eq!(item["unread"].to_string(), filter);
        }
    }
    let empty = bob.get(LIST).expect(200);
    assert_eq!(empty, json!({"count": 0, "next": null, "previous": null, "results": []}));
}

fn everything_is_marked_as_read_at_once(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    bob.comment(tweet, "one");
    bob.comment(tweet, "two");
    let other = id(&bob.tweet("other"));
    ann.like("tweet", other);
    app.quiesce();
    let mark = || ann.post("/api/notifications/mark-all-as-read/", json!({})).expect(200);
    assert_eq!(mark(), json!({"marked_count": 2}));
    assert_eq!(mark(), json!({"marked_count": 0}));
    assert_eq!(unread_count(&ann)["unread_count"], 0);
    assert!(ann.notifications().iter().all(|item| item["unread"] == false));
    assert_eq!(unread_count(&bob)["unread_count"], 1, "other people's stay unread");
}

fn one_notification_is_marked_either_way(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    bob.like("tweet", tweet);
    app.quiesce();
    let before = ann.notifications().remove(0);
    for unread in [false, false, true] {
        let after = ann.put(&path(&before), json!({"unread": unread})).expect(200);
        shape::notification(&after);
        let mut expected = before.clone();
        expected["unread"] = json!(unread);
        assert_eq!(after, expected);
        assert_eq!(unread_count(&ann)["unread_count"], i64::from(unread));
    }
    let by_form = ann.request("PUT", &path(&before)).form(&[("unread", "false")]).send();
    assert_eq!(by_form.expect(200)["unread"], false);
    // Nothing but `unread` can be changed.
    let body = json!({"unread": true, "verb": "praised you", "actor_object_id": "1"});
    assert_eq!(ann.put(&path(&before), body).expect(200), before);

    ann.put(&path(&before), json!({})).refused(400, "missing unread in request");
    for bad in [json!("perhaps"), json!([]), json!({})] {
        ann.put(&path(&before), json!({"unread": bad})).blames(&["unread"]);
    }
}

fn notifications_are_private(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = id(&ann.tweet("talk"));
    bob.like("tweet", tweet);
    app.quiesce();
    let item = ann.notifications().remove(0);
    bob.put(&path(&item), json!({"unread": false})).refused(404, "Not found.");
    assert_eq!(unread_count(&ann)["unread_count"], 1);
    ann.put(&format!("{LIST}999999/"), json!({"unread": false})).refused(404, "Not found.");

    let anonymous = app.anonymous();
    let message = "Authentication credentials were not provided.";
    anonymous.get(LIST).refused(403, message);
    anonymous.get("/api/notifications/unread-count/").refused(403, message);
    anonymous.post("/api/notifications/mark-all-as-read/", json!({})).refused(403, message);
    anonymous.put(&path(&item), json!({"unread": false})).refused(403, message);
    anonymous.delete(LIST).refused(403, message);
    ann.delete(LIST).refused(405, "Method \"DELETE\" not allowed.");
    ann.get("/api/notifications/mark-all-as-read/").refused(405, "Method \"GET\" not allowed.");
}
