//! Rate limits of several nodes: one for all of them with Redis, one for each without.

use super::soon;
use crate::harness::{App, Client, Setup, json};

fn start(setup: Setup) -> App {
    let builder = App::on(setup).own_redis().env("ROOST_RATE_LIMITS", "on");
    builder.env("ROOST_LIMIT_POST", "3/3600").start()
}

/// How many posts go through of ten, on two nodes in turn.
fn passed(here: &Client, there: &Client) -> usize {
    let post = |who: &Client| {
        let reply = who.post("/api/tweets/", json!({"content": "once more"}));
        assert!(matches!(reply.status, 201 | 429), "{}", reply.describe());
        reply.status == 201
    };
    (0..10).filter(|n| post([here, there][n % 2])).count()
}

#[test]
fn nodes_with_redis_share_a_limit() {
    let mut app = start(Setup::PostgresRedis);
    let node = app.another_node();
    soon(Some(1.0), || app.metric("roost_redis_up"));
    soon(Some(1.0), || node.metric("roost_redis_up"));
    let ann = app.sign_up("ann");
    let there = node.see(&ann);
    assert_eq!(passed(&ann, &there), 3);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 3);
    // What Redis forgets, the processes have learnt from it.
    app.redis_server().run(&["FLUSHALL"]);
    assert_eq!(passed(&ann, &there), 0);
}

#[test]
fn nodes_without_redis_have_a_limit_each() {
    let app = start(Setup::Postgres);
    let node = app.another_node();
    let ann = app.sign_up("ann");
    assert_eq!(passed(&ann, &node.see(&ann)), 6);
    assert_eq!(app.sql("SELECT count(*) AS n FROM tweets"), 6);
}
