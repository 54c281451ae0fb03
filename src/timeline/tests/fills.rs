//! Memory, Redis and Postgres together, step by step.

use super::*;
use crate::redis_tier::testing::{TestRedis, config as redis_config, up};
use crate::redis_tier::{ListKey, RedisTier};
use crate::store::newsfeeds;
use crate::store::testing::{TestDb, postgres};
use crate::timeline::{EntryReader, EntryStore, Head, TieredSource};

/// The database, with breakpoints.
#[derive(Clone)]
struct Gated {
    store: EntryStore,
    stage: Arc<Stage>,
}

impl EntryReader for Gated {
    async fn head(&self, key: TimelineKey, want: usize) -> Result<Head, StoreError> {
        if want == 1 {
            self.stage.pass(Point::Comparing).await?;
            return self.store.head(key, want).await;
        }
        self.stage.pass(Point::LoadStarted).await?;
        let head = self.store.head(key, want).await?;
        self.stage.pass(Point::RowsRead).await?;
        Ok(head)
    }

    async fn range(
        &self,
        key: TimelineKey,
        range: Range,
        want: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.store.range(key, range, want).await
    }
}

struct House {
    test: TestDb,
    redis: TestRedis,
    tier: RedisTier,
    stage: Arc<Stage>,
    timelines: Timelines,
}

impl House {
    async fn open(rows: i64) -> House {
        let (test, redis) = (postgres(), TestRedis::claim());
        let tier = up(redis_config(&redis.url), &test.db).await;
        let stage = Arc::new(Stage::default());
        let store = Gated { store: EntryStore::new(test.db.clone()), stage: stage.clone() };
        let timelines = Timelines::new(config(), Arc::new(TieredSource::new(store, tier.clone())));
        let house = House { test, redis, tier, stage, timelines };
        house.insert(1..=rows);
        house
    }

    fn insert(&self, moments: std::ops::RangeInclusive<i64>) {
        let rows: Vec<_> = moments.map(|at| (1, Timestamp(at), at * 10)).collect();
        self.test.db.write_blocking(|conn| Ok(newsfeeds::insert(conn, &rows)?)).unwrap();
    }

    /// A commit, and what follows from it.
    async fn post(&self, at: i64) {
        self.insert(at..=at);
        self.timelines.push(ME, entry(at));
        self.tier.push(&[(ListKey::from(ME), entry(at))], self.tier.epoch(), LIMIT).await;
    }

    /// A deletion, and what follows from it.
    async fn delete(&self, at: i64) {
        let rows = [Timestamp(at)];
        self.test.db.write_blocking(|conn| Ok(newsfeeds::remove(conn, 1, &rows)?)).unwrap();
        self.timelines.remove(ME, at * 10);
        self.tier.remove(&[ListKey::from(ME)]).await;
        self.timelines.remove(ME, at * 10);
    }

    /// What another node, or this one after a restart, reads; and which tier it came from.
    async fn elsewhere(&self) -> (Vec<Entry>, LoadedFrom) {
        let store = EntryStore::new(self.test.db.clone());
        let source = TieredSource::new(store, self.tier.clone());
        let page = Timelines::new(config(), Arc::new(source)).page(ME, Range::ALL, 100).await;
        let page = page.unwrap();
        (page.entries, page.from)
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        redis::cmd(words[0]).arg(&words[1..]).query(&mut self.redis.connect()).unwrap()
    }

    fn length(&self) -> usize {
        self.ask(&["LLEN", KEY])
    }
}

const KEY: &str = "user_newsfeeds:1";

fn descending(newest: i64) -> Vec<Entry> {
    (1..=newest).rev().map(entry).collect()
}

/// A key that goes away before a push stays away, and has a time to live whenever it is there.
#[actix_rt::test]
async fn failure_mode_05_a_list_never_lives_for_ever() {
    let house = House::open(5).await;
    for at in 6..=12 {
        all(&house.timelines).await;
        house.ask::<i64>(&["DEL", KEY]);
        house.post(at).await;
        assert_eq!(house.length(), 0, "a push makes no list");
        house.timelines.passivate(ME);
        assert_eq!(all(&house.timelines).await, descending(at));
        assert!(house.ask::<i64>(&["PTTL", KEY]) > 0);
    }
}

/// What is committed and pushed between a loader's SELECT and its write is not overwritten.
#[actix_rt::test]
async fn failure_mode_03_a_push_between_select_and_fill() {
    let house = House::open(5).await;
    house.stage.hold(Point::RowsRead);
    let reader = reading(&house.timelines);
    house.stage.reached(Point::RowsRead).await;
    house.post(6).await;
    house.stage.open(Point::RowsRead);
    reader.await.unwrap();
    assert_eq!(house.length(), 0, "the old list is not stored");
    assert_eq!(all(&house.timelines).await, descending(6));
    assert_eq!(house.elsewhere().await, (descending(6), LoadedFrom::Database));
    assert_eq!(house.elsewhere().await, (descending(6), LoadedFrom::Redis));
}

/// A removal does not show in a list's head: the lease keeps the old list out.
#[actix_rt::test]
async fn failure_mode_10_a_removal_between_select_and_fill() {
    let house = House::open(5).await;
    house.stage.hold(Point::RowsRead);
    let reader = reading(&house.timelines);
    house.stage.reached(Point::RowsRead).await;
    house.delete(3).await;
    house.stage.open(Point::RowsRead);
    reader.await.unwrap();
    let rest = entries([5, 4, 2, 1]);
    assert_eq!(house.length(), 0, "the old list is not stored");
    assert_eq!(all(&house.timelines).await, rest);
    assert_eq!(house.elsewhere().await, (rest, LoadedFrom::Database));
}

/// A removal that lands when the list has been read and the timeline is not yet there.
#[actix_rt::test]
async fn failure_mode_10_a_removal_while_a_timeline_activates_from_redis() {
    let house = House::open(5).await;
    house.elsewhere().await;
    house.stage.hold(Point::Comparing);
    let reader = reading(&house.timelines);
    house.stage.reached(Point::Comparing).await;
    house.delete(3).await;
    house.stage.open(Point::Comparing);
    reader.await.unwrap();
    assert_eq!(all(&house.timelines).await, entries([5, 4, 2, 1]));
}

/// A commit that Redis never hears of, right before the list is written: the look at the
/// database after the fill finds out.
#[actix_rt::test]
async fn failure_mode_03_a_list_is_verified_after_it_was_written() {
    let house = House::open(5).await;
    house.stage.hold(Point::Comparing);
    let reader = reading(&house.timelines);
    house.stage.reached(Point::Comparing).await;
    assert_eq!(house.length(), 5, "the list has been written");
    house.insert(6..=6);
    house.stage.open(Point::Comparing);
    assert_eq!(reader.await.unwrap(), descending(5), "as of the load");
    assert_eq!(house.length(), 0, "and has gone");
    assert_eq!(house.elsewhere().await, (descending(6), LoadedFrom::Database));
}

/// The same when a timeline activates from a list.
#[actix_rt::test]
async fn failure_mode_03_a_list_is_verified_before_it_is_served() {
    let house = House::open(5).await;
    house.elsewhere().await;
    house.stage.hold(Point::Comparing);
    let reader = reading(&house.timelines);
    house.stage.reached(Point::Comparing).await;
    house.insert(6..=6);
    house.stage.open(Point::Comparing);
    assert_eq!(reader.await.unwrap(), descending(6));
    assert_eq!(house.elsewhere().await, (descending(6), LoadedFrom::Redis), "and filled anew");
}

/// A follow or unfollow has been answered; Redis has not followed, and its head tells nothing.
#[actix_rt::test]
async fn failure_mode_21_a_change_is_read_at_once_while_redis_still_has_the_old_list() {
    let house = House::open(5).await;
    house.elsewhere().await;
    let rows = [Timestamp(3)];
    house.test.db.write_blocking(|conn| Ok(newsfeeds::remove(conn, 1, &rows)?)).unwrap();
    let hold = house.tier.hold(vec![ListKey::from(ME)]);
    house.timelines.forget(ME);
    let rest = entries([5, 4, 2, 1]);
    assert_eq!(all(&house.timelines).await, rest);
    house.tier.remove(hold.keys()).await;
    drop(hold);
    house.timelines.passivate(ME);
    assert_eq!(all(&house.timelines).await, rest);
    assert_eq!(house.elsewhere().await, (rest, LoadedFrom::Redis), "lists are used again");
}

/// A list that cannot be verified is not kept; who asked gets what was read.
#[actix_rt::test]
async fn a_failure_after_the_fill_costs_the_list_and_no_answer() {
    let house = House::open(5).await;
    house.stage.plan(Point::Comparing, Plan::Fail);
    assert_eq!(all(&house.timelines).await, descending(5));
    assert_eq!(house.length(), 0);
}

/// Planned failures at every other step: an error, nothing in Redis, and then the truth.
#[actix_rt::test]
async fn a_failure_before_the_fill_stores_nothing() {
    for point in [Point::LoadStarted, Point::RowsRead] {
        let house = House::open(5).await;
        house.stage.plan(point, Plan::Fail);
        assert!(house.timelines.page(ME, Range::ALL, 5).await.is_err(), "{point:?}");
        assert_eq!(house.length(), 0, "{point:?}");
        house.timelines.passivate(ME);
        assert_eq!(all(&house.timelines).await, descending(5), "{point:?}");
        assert_eq!(house.length(), 5, "{point:?}");
    }
}

/// Whatever somebody has made of the key: a miss, and then a sound list again.
#[actix_rt::test]
async fn failure_mode_04_whatever_stands_under_the_key_the_feed_is_whole() {
    let house = House::open(30).await;
    let spoils: [&[&str]; 6] = [
        &["SET", KEY, "text"],
        &["PERSIST", KEY],
        &["RPUSH", KEY, "rubbish"],
        &["LTRIM", KEY, "1", "-1"],
        &["LPUSH", KEY, "0.31.310"],
        &["DEL", KEY],
    ];
    for spoil in spoils {
        house.elsewhere().await;
        assert_eq!(house.elsewhere().await.1, LoadedFrom::Database, "older ones are not listed");
        house.ask::<redis::Value>(spoil);
        house.timelines.passivate(ME);
        assert_eq!(all(&house.timelines).await, descending(30), "{spoil:?}");
        assert_eq!(house.length(), LIMIT, "{spoil:?}");
        assert!(house.ask::<i64>(&["PTTL", KEY]) > 0, "{spoil:?}");
    }
}
