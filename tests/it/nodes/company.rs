//! Nodes that come, go and die.

use std::thread;
use std::time::Duration;

use super::{meet, soon};
use crate::harness::{App, Client, Setup, Value, effort, id, json};

on_both_setups! {
    a_node_that_dies_leaves_the_other_right,
    nodes_come_and_go,
}

fn a_node_that_dies_leaves_the_other_right(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    for round in 0..effort::rounds(2) {
        let first = id(&bob.tweet(&format!("round {round}")));
        soon(Some(first), || node.see(&ann).feed_ids().first().copied());
        let there = node.see(&bob);
        let acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| hammer(&there, first));
            thread::sleep(Duration::from_millis(100 + 37 * round as u64));
            node.kill9();
            writer.join().unwrap()
        });
        // The other node finishes what the dead one had begun, and does not wait for it to
        // come back. What Redis may have missed is void by then.
        soon(vec![1], || app.sql_list("SELECT count(*) AS n FROM nodes WHERE id <> 0"));
        app.quiesce();
        let truth = app.sql_list(&format!(
            "SELECT tweet_id AS n FROM newsfeeds WHERE user_id = {} ORDER BY created_at DESC LIMIT 20",
            ann.id
        ));
        soon(truth.clone(), || ann.feed_ids());
        for tweet in acknowledged {
            let path = format!("/api/tweets/{tweet}/");
            assert_eq!(ann.get(&path).status, 200, "acknowledged, then lost");
        }
        app.assert_counts_match_rows();
        app.assert_check_passes();
        node.start_again();
        meet(&[&node], 2.0);
        assert_eq!(node.see(&ann).feed_ids(), truth);
    }
}

/// Posts, likes and deletes until the server is gone; the posts that were acknowledged and are
/// to stay.
fn hammer(bob: &Client, first: i64) -> Vec<i64> {
    let mut stays = Vec::new();
    for n in 0.. {
        let body = json!({"content": format!("number {n}")});
        let Ok(answer) = bob.request("POST", "/api/tweets/").json(&body).open() else { break };
        let Ok(bytes) = answer.bytes() else { break };
        let Ok(tweet) = serde_json::from_slice::<Value>(&bytes) else { break };
        let (tweet, like) = (id(&tweet), if n % 2 == 0 { "likes" } else { "likes/cancel" });
        let body = json!({"content_type": "tweet", "object_id": first});
        let path = format!("/api/{like}/");
        if bob.request("POST", &path).json(&body).open().is_err() {
            stays.push(tweet);
            break;
        }
        if n % 3 == 0 {
            // Whether it was deleted is not known when the server dies: it is not asked for.
            if bob.request("DELETE", &format!("/api/tweets/{tweet}/")).open().is_err() {
                break;
            }
        } else {
            stays.push(tweet);
        }
    }
    stays
}

fn nodes_come_and_go(app: App) {
    let mut node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let mut posted = Vec::new();
    for round in 0..3 {
        // Posts go on while the other node leaves, and while it comes back.
        thread::scope(|scope| {
            let writer = scope.spawn(|| bob.tweets(8));
            assert_eq!(node.sigterm(), Some(0));
            node.start_again();
            posted.extend(writer.join().unwrap());
        });
        let there = node.see(&ann);
        posted.push(id(&node.see(&bob).tweet(&format!("from there in round {round}"))));
        let newest: Vec<i64> = posted.iter().rev().take(20).copied().collect();
        soon(newest.clone(), || there.feed_ids());
        soon(newest, || ann.feed_ids());
    }
    app.quiesce();
    app.assert_check_passes();
    let warm = ann.feed_ids();
    node.sigterm();
    if app.redis().is_some() {
        // Nobody owes Redis anything. Without one, everybody always does.
        soon(vec![0_i64; 0], || app.sql_list("SELECT id AS n FROM nodes WHERE dirty"));
    }
    assert_eq!(ann.feed_ids(), warm);
}

/// Nodes with and without Redis: no list of Redis is believed while the one without is there.
#[test]
fn a_node_without_redis_keeps_the_others_from_reading_it() {
    let app = App::on(Setup::PostgresRedis).start();
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let node = app.another_node_without("REDIS_URL");
    meet(&[&node], 2.0);
    let mut posted = Vec::new();
    for round in 0..6 {
        let author = if round % 2 == 0 { node.see(&bob) } else { bob.with_basic() };
        posted.insert(0, id(&author.tweet(&format!("round {round}"))));
        soon(posted.clone(), || ann.feed_ids());
        soon(posted.clone(), || node.see(&ann).feed_ids());
    }
}
