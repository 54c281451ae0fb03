//! Two writers on one Postgres database at once.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::{Desk, add_users, entries};
use crate::store::testing::{self, TestDb};
use crate::store::{clock, newsfeeds, on};
use crate::time::{Clock, Timestamp};
use crate::timeline::TimelineKey;

const POSTS: usize = 40;

/// Both nodes post and both carry out every task they find; an observer polls meanwhile.
#[test]
fn two_nodes_deliver_exactly_once_and_in_order() {
    let test = testing::postgres();
    add_users(&test, 12);
    actix_rt::System::new().block_on(async {
        let nodes = [Desk::open(&test), Desk::open(&test)];
        for reader in 3..=9 {
            nodes[0].follow(reader, 1).await;
            nodes[0].follow(reader, 2).await;
        }
        let busy = |node: usize| {
            let desk = &nodes[node];
            async move {
                for _ in 0..POSTS {
                    desk.post(1 + node as i64).await;
                    desk.round().await;
                }
                while desk.round().await {}
            }
        };
        let mut polled: Vec<i64> = Vec::new();
        let mut newest = Timestamp::MIN;
        let mut poll = || {
            let feed = entries(&test, TimelineKey::Home(5));
            let new = feed.iter().filter(|entry| entry.created_at > newest);
            polled.extend(new.map(|entry| entry.tweet_id));
            newest = feed.first().map_or(newest, |entry| entry.created_at);
        };
        let work = futures_util::future::join(busy(0), busy(1));
        futures_util::pin_mut!(work);
        while futures_util::FutureExt::now_or_never(&mut work).is_none() {
            poll();
            tokio::task::yield_now().await;
        }
        poll();
        assert_eq!(polled.len(), 2 * POSTS, "an observer sees each entry exactly once");
        assert_eq!(polled.iter().collect::<HashSet<_>>().len(), 2 * POSTS);
        for reader in 3..=9 {
            assert_eq!(nodes[0].feed_set(reader).len(), 2 * POSTS, "{reader}");
        }
    });
}

/// Failure mode 6. A transaction takes its moment and then takes its time: one that begins
/// later waits, so nothing becomes visible below what a reader has seen.
#[test]
fn failure_mode_06_a_slow_transaction_is_not_overtaken() {
    let test = testing::postgres();
    add_users(&test, 3);
    let (held, holding) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            test.db.write_blocking(|conn| {
                let at = clock::reserve(conn, Clock::system().now(), 1)?.take();
                held.send(()).expect("the other one waits for it");
                wait_for_a_waiter(&test);
                Ok(newsfeeds::insert(conn, &[(1, at, 777)])?)
            })
        });
        holding.recv().expect("the clock is held");
        actix_rt::System::new().block_on(async {
            let desk = Desk::open(&test);
            let tweet = desk.post(1).await;
            assert_eq!(desk.feed(1), [tweet, 777]);
        });
        slow.join().unwrap().unwrap();
    });
}

/// Waits until some transaction waits for a lock.
fn wait_for_a_waiter(test: &TestDb) {
    #[derive(QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = BigInt)]
        waiting: i64,
    }
    let begun = std::time::Instant::now();
    let count = || {
        super::read(test, |conn| {
            let query = diesel::sql_query(
                "SELECT count(*) AS waiting FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            );
            Ok(on!(conn, |c| query.get_result::<Waiting>(c))?.waiting)
        })
    };
    while count() == 0 {
        assert!(begun.elapsed().as_secs() < 30, "nobody waits for the clock");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
