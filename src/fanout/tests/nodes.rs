//! Two writers on one Postgres database at once.

use std::collections::HashSet;

use super::{Desk, add_users, entries};
use crate::store::testing;
use crate::time::Timestamp;
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
