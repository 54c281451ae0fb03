//! The rate limits that stand in the manual, as a node without settings of its own has them.

use std::thread;
use std::time::Instant;

use crate::harness::{App, Reply, Setup, id, json, on_every_setup};

on_every_setup! {
    a_thousand_wrong_passwords_are_ten,
    posts_follows_and_likes_come_to_an_end,
}

fn limited(setup: Setup) -> App {
    // The harness switches them off; all else is as it comes.
    App::on(setup).env("ROOST_RATE_LIMITS", "on").start()
}

/// How many of the requests are let through, of a limit that lets `burst` at once and as many
/// more every `period` seconds.
#[track_caller]
fn assert_lets_through(burst: u32, period: u32, asked: usize, mut ask: impl FnMut() -> Reply) {
    let begun = Instant::now();
    let passed = (0..asked).filter(|_| ask().status != 429).count();
    let more = begun.elapsed().as_secs_f64() * f64::from(burst) / f64::from(period);
    let allowed = burst as usize..=burst as usize + more as usize + 1;
    assert!(allowed.contains(&passed), "{passed} of {asked}, {allowed:?} are allowed");
}

fn a_thousand_wrong_passwords_are_ten(setup: Setup) {
    let app = limited(setup);
    app.sign_up("ann");
    let anonymous = app.anonymous();
    let mut number = 0;
    assert_lets_through(10, 300, 1_000, || {
        number += 1;
        let guess = json!({"username": "ann", "password": format!("a wrong guess {number}")});
        let reply = anonymous.post("/api/accounts/login/", guess);
        assert!(matches!(reply.status, 400 | 429), "{}", reply.describe());
        assert_eq!(reply.status == 429, reply.header("retry-after").is_some());
        reply
    });
    assert_eq!(number, 1_000);
}

fn posts_follows_and_likes_come_to_an_end(setup: Setup) {
    let app = limited(setup);
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| app.sign_up(name));
    let tweet = id(&cid.tweet("like me"));
    // One at a time is mostly waiting.
    thread::scope(|scope| {
        scope.spawn(|| {
            let post = || ann.post("/api/tweets/", json!({"content": "spam"}));
            assert_lets_through(300, 10_800, 320, post);
        });
        scope.spawn(|| {
            let mut number = 0;
            assert_lets_through(400, 86_400, 420, || {
                number += 1;
                let what = ["follow", "unfollow"][number % 2];
                bob.post(&format!("/api/friendships/{}/{what}/", ann.id), json!({}))
            });
        });
        scope.spawn(|| {
            let body = json!({"content_type": "tweet", "object_id": tweet});
            let mut number = 0;
            assert_lets_through(1_000, 3_600, 1_020, || {
                number += 1;
                let path = ["/api/likes/", "/api/likes/cancel/"][number % 2];
                cid.post(path, body.clone())
            });
        });
    });
    // What is refused is not carried out, and reading goes on.
    let posted = app.sql("SELECT count(*) AS n FROM tweets");
    assert!((301..=303).contains(&posted), "{posted} tweets");
    ann.get("/api/newsfeeds/").expect(200);
}
