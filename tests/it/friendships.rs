//! Following and unfollowing, and the lists of both sides.

use crate::harness::{App, Client, Value, ids, json, on_every_setup, shape, text};

on_every_setup! {
    following_twice_is_no_error,
    unfollowing_tells_whether_it_did_something,
    nobody_follows_themselves_or_a_stranger,
    lists_are_newest_first_and_know_the_viewer,
    lists_have_numbered_pages,
    lists_have_a_cursor,
    friendship_paths_know_their_methods,
}

fn path(user_id: i64, action: &str) -> String {
    format!("/api/friendships/{user_id}/{action}/")
}

/// A list's answer in its exact shape.
#[track_caller]
fn list(client: &Client, user_id: i64, which: &str, query: &str) -> Value {
    let page = client.get(&format!("{}{query}", path(user_id, which))).expect(200);
    let fields = ["total_results", "total_pages", "page_number", "has_next_page", "results"];
    shape::keys(&page, &fields);
    for item in page["results"].as_array().expect("results") {
        shape::keys(item, &["user", "created_at", "has_followed"]);
        shape::user(&item["user"]);
    }
    page
}

fn following_twice_is_no_error(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    assert_eq!(ann.follow(&bob), json!({"success": true}));
    assert_eq!(ann.follow(&bob), json!({"success": true, "duplicate": true}));
    assert_eq!(list(&ann, bob.id, "followers", "")["total_results"], 1);
    assert_eq!(app.sql("SELECT count(*) AS n FROM friendships"), 1);
}

fn unfollowing_tells_whether_it_did_something(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    assert_eq!(ann.unfollow(&bob), json!({"success": true, "deleted": 0}));
    ann.follow(&bob);
    assert_eq!(ann.unfollow(&bob), json!({"success": true, "deleted": 1}));
    assert_eq!(ann.unfollow(&bob), json!({"success": true, "deleted": 0}));
    assert_eq!(list(&ann, bob.id, "followers", "")["total_results"], 0);
    assert_eq!(ann.follow(&bob), json!({"success": true}), "a follow of its own again");
}

fn nobody_follows_themselves_or_a_stranger(app: App) {
    let ann = app.sign_up("ann");
    let reply = ann.post(&path(ann.id, "follow"), json!({}));
    let body = reply.expect(400);
    assert!(body.to_string().contains("from_user_id and to_user_id should be different"), "{body}");
    let body = ann.post(&path(ann.id, "unfollow"), json!({})).expect(400);
    assert!(body.to_string().contains("You cannot unfollow yourself."), "{body}");
    for stranger in ["999999", "0", "-1", "x", "9223372036854775807", "9223372036854775808"] {
        for action in ["follow", "unfollow"] {
            let reply = ann.post(&format!("/api/friendships/{stranger}/{action}/"), json!({}));
            reply.refused(404, "Not found.");
        }
    }
    let message = "Authentication credentials were not provided.";
    for action in ["follow", "unfollow"] {
        app.anonymous().post(&path(ann.id, action), json!({})).refused(403, message);
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM friendships"), 0);
}

fn lists_are_newest_first_and_know_the_viewer(app: App) {
    let [ann, bob, eve, dan] = ["ann", "bob", "eve", "dan"].map(|name| app.sign_up(name));
    for follower in [&bob, &eve, &dan] {
        follower.follow(&ann);
    }
    bob.follow(&eve);
    bob.follow(&dan);
    let seen_by_bob = list(&bob, ann.id, "followers", "");
    assert_eq!(ids(&seen_by_bob["results"], "user.id"), [dan.id, eve.id, bob.id]);
    let followed: Vec<bool> = seen_by_bob["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["has_followed"].as_bool().unwrap())
        .collect();
    assert_eq!(followed, [true, true, false], "has_followed is about the viewer");

    let followings = list(&bob, bob.id, "followings", "");
    assert_eq!(ids(&followings["results"], "user.id"), [dan.id, eve.id, ann.id]);
    let anonymous = list(&app.anonymous(), ann.id, "followers", "");
    for item in anonymous["results"].as_array().unwrap() {
        assert_eq!(item["has_followed"], false);
    }
    let times: Vec<String> =
        anonymous["results"].as_array().unwrap().iter().map(|i| text(&i["created_at"])).collect();
    assert!(times.is_sorted_by(|newer, older| newer > older), "{times:?}");
}

/// A user with followers, and these in the order of their follow.
fn popular(app: &App, followers: usize) -> (Client, Vec<i64>) {
    let star = app.sign_up("star");
    let fans = (0..followers).map(|n| {
        let fan = app.sign_up(&format!("fan{n:02}"));
        fan.follow(&star);
        fan.id
    });
    let fans = fans.collect();
    (star, fans)
}

fn lists_have_numbered_pages(app: App) {
    let (star, fans) = popular(&app, 23);
    let viewer = app.anonymous();
    let newest_first: Vec<i64> = fans.into_iter().rev().collect();
    let first = list(&viewer, star.id, "followers", "");
    assert_eq!((&first["total_results"], &first["total_pages"]), (&json!(23), &json!(2)));
    assert_eq!((&first["page_number"], &first["has_next_page"]), (&json!(1), &json!(true)));
    assert_eq!(ids(&first["results"], "user.id"), newest_first[..20]);
    let second = list(&viewer, star.id, "followers", "?page=2");
    assert_eq!((&second["page_number"], &second["has_next_page"]), (&json!(2), &json!(false)));
    assert_eq!(ids(&second["results"], "user.id"), newest_first[20..]);

    let mut walked = Vec::new();
    for page in 1..=5 {
        let shown = list(&viewer, star.id, "followers", &format!("?size=5&page={page}"));
        assert_eq!((&shown["total_pages"], &shown["page_number"]), (&json!(5), &json!(page)));
        assert_eq!(shown["has_next_page"], page < 5);
        walked.extend(ids(&shown["results"], "user.id"));
    }
    assert_eq!(walked, newest_first);
    // More than twenty are not to be had.
    let wide = viewer.get(&format!("{}?size=100", path(star.id, "followers")));
    if wide.status == 200 {
        assert_eq!(wide.json()["results"].as_array().unwrap().len(), 20);
    } else {
        wide.expect(400);
    }
    for beyond in ["3", "0", "-1", "999999999999", "99999999999999999999"] {
        let reply = viewer.get(&format!("{}?page={beyond}", path(star.id, "followers")));
        reply.refused(404, "Invalid page.");
    }
    for which in ["followers", "followings"] {
        let nobody = list(&viewer, 999_999, which, "");
        let expected = json!({"total_results": 0, "total_pages": 1, "page_number": 1,
            "has_next_page": false, "results": []});
        assert_eq!(nobody, expected, "an unknown user has an empty page 1");
    }
}

fn lists_have_a_cursor(app: App) {
    let (star, fans) = popular(&app, 11);
    let viewer = app.anonymous();
    let newest_first: Vec<i64> = fans.into_iter().rev().collect();
    let mut walked = Vec::new();
    let mut page = viewer.get(&format!("{}?size=4", path(star.id, "followers"))).expect(200);
    loop {
        let results = page["results"].as_array().unwrap().clone();
        walked.extend(ids(&page["results"], "user.id"));
        if page["has_next_page"] == false {
            break;
        }
        let last = text(&results.last().expect("a page that has a next one")["created_at"]);
        let next = format!("{}?size=4&created_at__lt={last}", path(star.id, "followers"));
        page = viewer.get(&next).expect(200);
    }
    assert_eq!(walked, newest_first);
    let reply = viewer.get(&format!("{}?created_at__lt=yesterday", path(star.id, "followers")));
    reply.blames(&["created_at__lt"]);
}

fn friendship_paths_know_their_methods(app: App) {
    let ann = app.sign_up("ann");
    for action in ["follow", "unfollow"] {
        let message = "Authentication credentials were not provided.";
        app.anonymous().get(&path(ann.id, action)).refused(403, message);
        ann.get(&path(ann.id, action)).refused(405, "Method \"GET\" not allowed.");
    }
    for which in ["followers", "followings"] {
        let reply = app.anonymous().post(&path(ann.id, which), json!({}));
        reply.refused(405, "Method \"POST\" not allowed.");
    }
}
