//! Nodes that cannot hear the bus.

use std::thread;

use diesel::connection::SimpleConnection;

use super::{everything_shows, meet, soon, top};
use crate::harness::{App, effort, id};

on_both_setups! {
    a_node_that_loses_the_bus_shows_what_it_missed,
    a_node_that_cannot_hear_the_bus_is_not_stale_for_long,
}

/// Ends the sessions that listen, of all nodes, and the connections of Redis.
fn cut_the_bus(app: &App) {
    let cut = app.sql(
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'roost_bus'",
    );
    assert_eq!(cut, 2, "both nodes listen");
    if let Some(mut link) = app.redis() {
        soon(Some(1.0), || app.metric("roost_redis_up"));
        assert!(cut_redis(&mut link) > 0, "the app is connected");
    }
}

/// Ends the connections of the app's own database in Redis: the server is shared by the tests.
/// How many they were.
fn cut_redis(link: &mut redis::Connection) -> i64 {
    let ask = |link: &mut redis::Connection, what: &str| -> String {
        redis::cmd("CLIENT").arg(what).query(link).expect("CLIENT")
    };
    let field = |line: &str, name: &str| {
        let mut fields = line.split_whitespace().filter_map(|pair| pair.split_once('='));
        fields.find(|(of, _)| *of == name).map(|(_, value)| value.to_owned())
    };
    let own = ask(link, "INFO");
    let (id, db) = (field(&own, "id"), field(&own, "db"));
    let mut cut = 0;
    for line in ask(link, "LIST").lines() {
        let other = field(line, "id");
        if other != id && field(line, "db") == db {
            let mut kill = redis::cmd("CLIENT");
            cut += kill.arg("KILL").arg("ID").arg(other).query::<i64>(link).expect("CLIENT KILL");
        }
    }
    cut
}

fn a_node_that_loses_the_bus_shows_what_it_missed(app: App) {
    let node = app.another_node();
    meet(&[&node], 2.0);
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let there = node.see(&ann);
    let mut posted = Vec::new();
    for round in 0..effort::rounds(3) {
        soon(posted.clone(), || there.feed_ids());
        cut_the_bus(&app);
        // At once: nobody may be listening.
        posted.insert(0, id(&bob.tweet(&format!("round {round}"))));
        posted.truncate(20);
        ann.like("tweet", posted[0]);
        soon(Some((posted[0], 1, 0, true, String::new())), || top(&there));
        soon(posted.clone(), || there.feed_ids());
        everything_shows(&app, &node, round);
        soon(2, || {
            app.sql(
                "SELECT count(*) AS n FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'roost_bus'",
            )
        });
    }
    app.quiesce();
    app.assert_check_passes();
}

/// A session of somebody else holds the name of the node, so that it cannot listen although the
/// database answers.
fn a_node_that_cannot_hear_the_bus_is_not_stale_for_long(app: App) {
    let first = app.sql_list("SELECT id AS n FROM nodes WHERE id <> 0")[0];
    let node = app.another_node();
    meet(&[&node], 2.0);
    let deaf = app.sql(&format!("SELECT id AS n FROM nodes WHERE id NOT IN (0, {first})"));
    let (ann, bob) = (app.sign_up("ann"), app.sign_up("bob"));
    ann.follow(&bob);
    let there = node.see(&ann);
    soon(Vec::<i64>::new(), || there.feed_ids());

    let locks = format!(
        "FROM pg_locks WHERE locktype = 'advisory' AND objid = {deaf} AND database = \
         (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    let space = app.sql(&format!("SELECT classid::bigint AS n {locks}"));
    let mut session = app.session();
    let thief = thread::spawn(move || {
        let lock = format!("SELECT pg_advisory_lock({space}, {deaf})");
        session.batch_execute(&lock).expect("the name of the node");
        session
    });
    // It stands in line before the node can try again.
    soon(1, || app.sql(&format!("SELECT count(*) AS n {locks} AND NOT granted")));
    app.sql_list(&format!(
        "SELECT pg_terminate_backend(pid)::int::bigint AS n {locks} AND granted"
    ));
    let thief = thief.join().unwrap();
    soon(Some(0.0), || node.metric("roost_bus_listening"));
    let mut posted: Vec<i64> = Vec::new();
    for round in 0..3 {
        posted.insert(0, id(&bob.tweet(&format!("round {round}"))));
        soon(posted.clone(), || there.feed_ids());
        posted.insert(0, id(&there.tweet("and from there")));
        assert_eq!(there.feed_ids(), posted, "it shows its own writes at once");
        soon(posted.clone(), || ann.feed_ids());
    }
    drop(thief);
    soon(Some(1.0), || node.metric("roost_bus_listening"));
    everything_shows(&app, &node, 0);
    app.quiesce();
    app.assert_check_passes();
}
