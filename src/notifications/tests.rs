use std::time::Duration;

use super::*;
use crate::store::notifications::{Filter, Verb, count, put_in_outbox};
use crate::store::testing;
use crate::time::Timestamp;

fn fill(db: &Db, rows: i64) {
    db.write_blocking(|conn| {
        for n in 0..rows {
            put_in_outbox(conn, 1, Verb::LikedTweet, n, Timestamp(n))?;
        }
        Ok(())
    })
    .unwrap();
}

fn delivered(db: &Db) -> i64 {
    db.read_blocking(|conn| Ok(count(conn, 1, Filter::All)?)).unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn rows_left_by_a_crash_are_delivered_at_start() {
    for test in testing::databases() {
        fill(&test.db, 3);
        let handle = Notifications::start(test.db.clone());
        eventually("delivered at start", || delivered(&test.db) == 3).await;
        drop(handle);
    }
}

#[tokio::test]
async fn a_drain_moves_more_than_a_chunk_exactly_once_beside_the_worker() {
    for test in testing::databases() {
        let handle = Notifications::start(test.db.clone());
        let rows = CHUNK as i64 * 2 + 5;
        fill(&test.db, rows);
        handle.kick();
        handle.drain().await.unwrap();
        assert_eq!(delivered(&test.db), rows, "{}", test.name);
        assert_eq!(handle.shared.pending.lock().rows, 0, "{}", test.name);
    }
}

/// Two nodes on one Postgres: every row becomes one notification.
#[tokio::test]
async fn two_workers_share_an_outbox() {
    let test = testing::postgres();
    fill(&test.db, 5_000);
    let nodes = [Notifications::start(test.db.clone()), Notifications::start(test.db.clone())];
    for node in &nodes {
        node.drain().await.unwrap();
    }
    eventually("all delivered", || delivered(&test.db) == 5_000).await;
    for node in &nodes {
        node.drain().await.unwrap();
    }
    assert_eq!(delivered(&test.db), 5_000, "exactly once");
}

#[test]
fn a_round_that_began_before_a_kick_does_not_hide_it() {
    let mut pending = Pending::default();
    let before = pending.kicks;
    pending.kicked();
    pending.counted(0, before);
    assert_eq!(pending.rows, 1);
    pending.counted(0, pending.kicks);
    assert_eq!(pending.rows, 0);
}
