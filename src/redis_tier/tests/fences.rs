//! Fills against pushes and removals that come between the SELECT and the write.

use super::*;

/// A loader with a lease; what happens then; the outcome of its fill.
async fn outcome_after(room: &Room, between: impl AsyncFnOnce()) -> FillOutcome {
    let lease = room.tier.generation(feed(1)).await.expect("a lease");
    between().await;
    room.tier.fill(feed(1), lease, room.epoch(), &entries(&[20, 10]), true).await
}

#[tokio::test]
async fn a_push_between_select_and_fill_is_not_overwritten() {
    let room = Room::open().await;
    let outcome = outcome_after(&room, async || room.push(feed(1), 30).await).await;
    assert_eq!(outcome, FillOutcome::Fenced);
    assert_eq!(room.read(feed(1)).await, None);
}

#[tokio::test]
async fn a_large_push_voids_the_leases_of_lists_that_do_not_exist_either() {
    let room = Room::open().await;
    let users = [1, 16, 17, 1_024, 1_025, 2_500];
    room.fill(feed(18), &[10], true).await;
    let mut leases = Vec::new();
    for user in users {
        leases.push((user, room.tier.generation(feed(user)).await.expect("a lease")));
    }
    let pushes: Vec<_> = (1..=2_500).map(|user| (feed(user), entry(30))).collect();
    room.tier.push(&pushes, room.epoch(), LIMIT).await;
    for (user, lease) in leases {
        let read_before = entries(&[20, 10]);
        let outcome = room.tier.fill(feed(user), lease, room.epoch(), &read_before, true).await;
        assert_eq!(outcome, FillOutcome::Fenced, "user {user}");
        assert_eq!(room.read(feed(user)).await, None, "user {user}");
    }
    assert_eq!(room.read(feed(18)).await, Some((vec![30, 10], true)));
}

#[tokio::test]
async fn a_push_to_a_list_that_another_loader_has_filled_is_not_overwritten() {
    let room = Room::open().await;
    let first = room.tier.generation(feed(1)).await.unwrap();
    let second = room.tier.generation(feed(1)).await.unwrap();
    assert_eq!(first, second, "loaders at the same time share a lease");
    let fill =
        async |lease| room.tier.fill(feed(1), lease, room.epoch(), &entries(&[20, 10]), true).await;
    assert_eq!(fill(first).await, FillOutcome::Stored);
    room.push(feed(1), 30).await;
    assert_eq!(fill(second).await, FillOutcome::Fenced, "the first fill has used the lease up");
    assert_eq!(room.read(feed(1)).await, Some((vec![30, 20, 10], true)));
}

#[tokio::test]
async fn a_removal_between_select_and_fill_leaves_no_ghost() {
    let room = Room::open().await;
    let outcome = outcome_after(&room, async || room.tier.remove(&[feed(1)]).await).await;
    assert_eq!(outcome, FillOutcome::Fenced);
    assert_eq!(room.read(feed(1)).await, None);
    room.fill(feed(1), &[20], true).await;
    assert_eq!(room.read(feed(1)).await, Some((vec![20], true)), "the next loader may fill");
}

#[tokio::test]
async fn a_removal_deletes_the_lists_it_names_and_no_other() {
    let room = Room::open().await;
    for user in 1..=600 {
        room.raw::<i64>(&["RPUSH", &format!("user_newsfeeds:{user}"), "x"]);
    }
    room.raw::<i64>(&["RPUSH", "user_tweets:1", "x"]);
    let keys: Vec<_> = (2..=600).map(feed).collect();
    room.tier.remove(&keys).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "user_newsfeeds:1", "user_tweets:1"]), 2);
    assert_eq!(room.raw::<i64>(&["DBSIZE"]), 2 + 1, "these, and the server's name");
}

#[tokio::test]
async fn a_flush_or_a_lease_gone_by_between_select_and_fill_stores_nothing() {
    let room = Room::open().await;
    let flush = async || room.raw::<()>(&["FLUSHDB"]);
    assert_eq!(outcome_after(&room, flush).await, FillOutcome::Fenced);
    let lapse = async || {
        let _: i64 = room.raw(&["PEXPIRE", "{user_newsfeeds:1}:gen", "1"]);
        testing::until("the lease lapses", || {
            room.raw::<i64>(&["EXISTS", "{user_newsfeeds:1}:gen"]) == 0
        })
        .await;
    };
    assert_eq!(outcome_after(&room, lapse).await, FillOutcome::Fenced);
}

#[tokio::test]
async fn a_lease_expires_and_is_not_left_behind() {
    let room = Room::open().await;
    room.tier.generation(feed(1)).await.unwrap();
    let ttl: i64 = room.raw(&["PTTL", "{user_newsfeeds:1}:gen"]);
    assert!((1..=60_000).contains(&ttl), "{ttl} ms");
    room.fill(feed(1), &[10], true).await;
    assert_eq!(room.raw::<i64>(&["EXISTS", "{user_newsfeeds:1}:gen"]), 0);
}

/// 8 writers and 4 loaders on one list, with a chaos task that deletes the key: no list ever
/// served lacks a committed push below its head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_never_has_a_hole() {
    let room = std::sync::Arc::new(Room::open().await);
    // What is committed; its lock stands for the one ordered writer.
    let committed = std::sync::Arc::new(tokio::sync::Mutex::new(vec![1_i64]));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (room, committed) = (room.clone(), committed.clone());
        tasks.spawn(async move {
            for _ in 0..100 {
                let mut rows = committed.lock().await;
                let next = rows[0] + 1;
                rows.insert(0, next);
                room.push(feed(1), next).await;
            }
        });
    }
    for _ in 0..4 {
        let (room, committed) = (room.clone(), committed.clone());
        tasks.spawn(async move {
            for round in 0..100 {
                if round % 7 == 0 {
                    room.tier.remove(&[feed(1)]).await;
                }
                let Some(lease) = room.tier.generation(feed(1)).await else { continue };
                // The SELECT sees a commit before its push has reached Redis.
                let rows: Vec<i64> = committed.lock().await.iter().copied().take(LIMIT).collect();
                let complete = rows.len() < LIMIT;
                tokio::task::yield_now().await;
                room.tier.fill(feed(1), lease, room.epoch(), &entries(&rows), complete).await;
                if let Some((seen, _)) = room.read(feed(1)).await {
                    let newest = seen[0];
                    let whole: Vec<i64> = (newest - seen.len() as i64 + 1..=newest).rev().collect();
                    assert_eq!(seen, whole, "no hole below the head");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let rows = committed.lock().await;
    if let Some((seen, _)) = room.read(feed(1)).await {
        assert_eq!(seen[0], rows[0], "after quiescence the head is the newest");
    }
}
