//! Profiles: what others see of a user, and what the owner may change.

use image::ImageFormat;

use crate::harness::{App, id, json, on_every_setup, photo, shape, text};

on_every_setup! {
    a_profile_counts_what_belongs_to_the_user,
    a_profile_is_found_by_name,
    a_nickname_shows_wherever_the_user_does,
    an_avatar_shows_wherever_the_user_does,
    nicknames_have_limits,
    only_the_owner_changes_a_profile,
    nobody_else_has_a_profile,
}

const FIELDS: [&str; 8] = [
    "id",
    "username",
    "nickname",
    "avatar_url",
    "followers_count",
    "followings_count",
    "tweets_count",
    "has_followed",
];

fn path(user_id: i64) -> String {
    format!("/api/profiles/{user_id}/")
}

fn a_profile_counts_what_belongs_to_the_user(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let fresh = app.anonymous().get(&path(ann.id)).expect(200);
    shape::keys(&fresh, &FIELDS);
    let expected = json!({"id": ann.id, "username": "ann", "nickname": null, "avatar_url": null,
        "followers_count": 0, "followings_count": 0, "tweets_count": 0, "has_followed": false});
    assert_eq!(fresh, expected);

    ann.follow(&bob);
    ann.follow(&bob);
    let tweet = bob.tweet("one");
    bob.tweet("two");
    let seen = ann.get(&path(bob.id)).expect(200);
    assert_eq!((&seen["followers_count"], &seen["tweets_count"]), (&json!(1), &json!(2)));
    assert_eq!(seen["has_followed"], true);
    assert_eq!(app.anonymous().get(&path(bob.id)).expect(200)["has_followed"], false);
    assert_eq!(bob.get(&path(ann.id)).expect(200)["followings_count"], 1);

    ann.unfollow(&bob);
    ann.unfollow(&bob);
    bob.delete(&format!("/api/tweets/{}/", id(&tweet))).expect(200);
    let seen = ann.get(&path(bob.id)).expect(200);
    assert_eq!((&seen["followers_count"], &seen["tweets_count"]), (&json!(0), &json!(1)));
    assert_eq!(seen["has_followed"], false);
    assert_eq!(bob.get(&path(ann.id)).expect(200)["followings_count"], 0);
}

fn a_profile_is_found_by_name(app: App) {
    let ann = app.sign_up("ann");
    let by_name = app.anonymous().get("/api/profiles/?username=ann").expect(200);
    assert_eq!(by_name, app.anonymous().get(&path(ann.id)).expect(200));
    app.anonymous().get("/api/profiles/?username=ANN").expect(200);
    app.anonymous().get("/api/profiles/?username=nobody").refused(404, "Not found.");
    // Names are compared, not matched against a pattern.
    for pattern in ["%25", "an_", "ann%27%20OR%201=1--"] {
        app.anonymous().get(&format!("/api/profiles/?username={pattern}")).expect(404);
    }
    app.anonymous().get("/api/profiles/").refused(400, "missing username in request");
}

fn a_nickname_shows_wherever_the_user_does(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let tweet = ann.tweet("before the change");
    ann.comment(id(&tweet), "mine");
    ann.feed();
    let answer = ann.put(&path(ann.id), json!({"nickname": "  Änne 🐔 "})).expect(200);
    assert_eq!(answer, json!({"nickname": "Änne 🐔", "avatar": null}));

    // Caches that hold the user from before must not go on telling the old name.
    assert_eq!(ann.feed()[0]["tweet"]["user"]["nickname"], "Änne 🐔");
    assert_eq!(bob.tweets_of(&ann)[0]["user"]["nickname"], "Änne 🐔");
    assert_eq!(bob.tweet_page(id(&tweet))["comments"][0]["user"]["nickname"], "Änne 🐔");
    assert_eq!(bob.get(&path(ann.id)).expect(200)["nickname"], "Änne 🐔");
    let answer = ann.patch(&path(ann.id), json!({"nickname": "Anne"})).expect(200);
    assert_eq!(answer["nickname"], "Anne");
}

fn an_avatar_shows_wherever_the_user_does(app: App) {
    let ann = app.sign_up("ann");
    ann.tweet("look at me");
    let png = photo::png();
    let request = ann.request("PUT", &path(ann.id));
    let answer = request.multipart(&[("nickname", "Anne")], &[("avatar", "me.png", &png)]).send();
    let answer = answer.expect(200);
    shape::keys(&answer, &["nickname", "avatar"]);
    assert_eq!(answer["nickname"], "Anne");
    let url = text(&answer["avatar"]);
    assert!(url.contains("me"), "{url}");
    assert_eq!(text(&ann.feed()[0]["tweet"]["user"]["avatar_url"]), url);
    assert_eq!(text(&ann.get(&path(ann.id)).expect(200)["avatar_url"]), url);
    let picture = app.anonymous().get(&url);
    assert_eq!(picture.status, 200);
    assert!(image::load_from_memory(&picture.body).is_ok());

    // An avatar alone leaves the nickname, and the other way round.
    let jpeg = photo::picture(ImageFormat::Jpeg);
    let request = ann.request("PATCH", &path(ann.id));
    let answer = request.multipart(&[], &[("avatar", "new.jpg", &jpeg)]).send().expect(200);
    assert_eq!(answer["nickname"], "Anne");
    assert_ne!(text(&answer["avatar"]), url);

    let request = ann.request("PUT", &path(ann.id));
    request.multipart(&[], &[("avatar", "me.png", b"no picture")]).send().blames(&["avatar"]);
}

fn nicknames_have_limits(app: App) {
    let ann = app.sign_up("ann");
    for nickname in [json!(""), json!("   "), json!("🐔".repeat(201)), json!("nul\u{0}"), json!([])]
    {
        ann.put(&path(ann.id), json!({"nickname": nickname})).blames(&["nickname"]);
    }
    let longest = "🐔".repeat(200);
    let answer = ann.put(&path(ann.id), json!({"nickname": longest})).expect(200);
    assert_eq!(answer["nickname"], longest);
}

fn only_the_owner_changes_a_profile(app: App) {
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    let body = json!({"nickname": "mine now"});
    for method in ["PUT", "PATCH"] {
        let by = |client: &crate::harness::Client, user_id: i64| {
            client.request(method, &path(user_id)).json(&body).send()
        };
        by(&bob, ann.id).refused(403, "You do not have permission to access this object");
        let message = "Authentication credentials were not provided.";
        by(&app.anonymous(), ann.id).refused(403, message);
        by(&bob, 999_999).refused(404, "Not found.");
    }
    assert_eq!(bob.get(&path(ann.id)).expect(200)["nickname"], json!(null));
    ann.delete(&path(ann.id)).refused(405, "Method \"DELETE\" not allowed.");
    ann.post(&path(ann.id), body).refused(405, "Method \"POST\" not allowed.");

    // What is not the owner's to set is ignored.
    let body = json!({"nickname": "Anne", "id": bob.id, "username": "root", "followers_count": 9});
    ann.put(&path(ann.id), body).expect(200);
    let profile = ann.get(&path(ann.id)).expect(200);
    assert_eq!((&profile["username"], &profile["followers_count"]), (&json!("ann"), &json!(0)));
}

fn nobody_else_has_a_profile(app: App) {
    let ann = app.sign_up("ann");
    for user in ["0", "-1", "x", "9223372036854775807", "9223372036854775808"] {
        let reply = app.anonymous().get(&format!("/api/profiles/{user}/"));
        reply.refused(404, "Not found.");
    }
    app.anonymous().get(&path(ann.id + 1)).refused(404, "Not found.");
}
