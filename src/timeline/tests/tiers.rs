//! The three tiers together: memory, a real Redis, and both databases.

use super::*;
use crate::redis_tier::testing::{PATIENCE, TestRedis};
use crate::redis_tier::{Found, ListKey, Owner, RedisConfig, RedisTier};
use crate::store::testing::TestDb;
use crate::store::{newsfeeds, testing};
use crate::timeline::{EntryStore, TieredSource};

/// A node's read path: with Redis on the second turn.
struct Node {
    test: TestDb,
    redis: RedisTier,
    _claim: Option<TestRedis>,
    limit: usize,
}

impl Node {
    fn timelines(&self) -> Timelines {
        let store = EntryStore::new(self.test.db.clone());
        let config = TimelinesConfig {
            list_limit: self.limit,
            resident_entries: 1_000_000,
            idle: Duration::from_secs(3600),
        };
        Timelines::new(config, Arc::new(TieredSource::new(store, self.redis.clone())))
    }

    /// A committed entry, told to Redis as the writer does.
    async fn commit(&self, new: Entry) {
        let row = [(1, new.created_at, new.tweet_id)];
        let permit = self.redis.begin_write().await;
        let inside = permit.clone();
        let result = self
            .test
            .db
            .write("test", move |conn| {
                inside.mark_dirty(conn)?;
                Ok(newsfeeds::insert(conn, &row)?)
            })
            .await;
        permit.resolve(&result);
        result.unwrap();
        self.redis.push(&[(ListKey::from(ME), new)], self.redis.epoch(), self.limit).await;
        permit.done();
    }

    /// What the Redis list holds, if there is one.
    async fn list(&self) -> Option<Vec<Entry>> {
        let key = ListKey::from(ME);
        match self.redis.inspect(key, self.redis.epoch(), self.limit).await.unwrap() {
            Found::List(list) => Some(list.entries),
            Found::Nothing => None,
            Found::Surprise(surprise) => panic!("{surprise:?}"),
        }
    }
}

/// SQLite, Postgres, and Postgres with Redis.
async fn nodes(limit: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = testing::databases()
        .into_iter()
        .map(|test| Node { test, redis: RedisTier::disabled(), _claim: None, limit })
        .collect();
    let test = testing::postgres();
    let claim = TestRedis::claim();
    let redis =
        RedisTier::start(RedisConfig::new(&claim.url), test.db.clone(), Owner::nameless()).unwrap();
    assert!(redis.wait_until_up(PATIENCE).await);
    nodes.push(Node { test, redis, _claim: Some(claim), limit });
    nodes
}

#[actix_rt::test]
async fn push_before_first_read_loads_from_database() {
    for node in nodes(100).await {
        for at in 1..=3 {
            node.commit(entry(at)).await;
        }
        let timelines = node.timelines();
        node.commit(entry(4)).await;
        timelines.push(ME, entry(4));
        let page = timelines.page(ME, Range::ALL, 10).await.unwrap();
        assert_eq!(page.entries, entries([4, 3, 2, 1]), "{}", node.test.name);
        assert_eq!(page.from, LoadedFrom::Database);
        if node.redis.is_up() {
            assert_eq!(node.list().await, Some(entries([4, 3, 2, 1])), "the key exists");
            let elsewhere = node.timelines().page(ME, Range::ALL, 10).await.unwrap();
            assert_eq!((elsewhere.entries, elsewhere.from), (page.entries, LoadedFrom::Redis));
        }
    }
}

#[actix_rt::test]
async fn list_limit_holds_and_falls_back() {
    for node in nodes(20).await {
        let name = node.test.name;
        for at in 1..=45 {
            node.commit(entry(at)).await;
        }
        let timelines = node.timelines();
        assert_eq!(walk(&timelines, 10).await, entries((1..=45).rev()), "{name}");
        assert_eq!(timelines.resident_count(), (1, 20), "{name}: memory holds exactly the limit");
        if node.redis.is_up() {
            assert_eq!(node.list().await.map(|list| list.len()), Some(20));
        }

        node.commit(entry(46)).await;
        timelines.push(ME, entry(46));
        assert_eq!(walk(&timelines, 10).await, entries((1..=46).rev()), "{name}: after a push");
        assert_eq!(timelines.resident_count(), (1, 20), "{name}");
        if node.redis.is_up() {
            assert_eq!(node.list().await, Some(entries((27..=46).rev())));
            node.redis.drop_list(ListKey::from(ME)).await;
        }
        assert_eq!(walk(&timelines, 10).await, entries((1..=46).rev()), "{name}: list gone");
        let cold = node.timelines();
        assert_eq!(walk(&cold, 10).await, entries((1..=46).rev()), "{name}: cold again");
    }
}

/// What is in Redis under the wrong epoch, or behind the database, is not served.
#[actix_rt::test]
async fn a_list_that_lags_behind_the_database_is_not_served() {
    for node in nodes(20).await {
        node.commit(entry(1)).await;
        node.timelines().page(ME, Range::ALL, 5).await.unwrap();
        // A commit that Redis never hears of.
        let row = [(1, Timestamp(2), 20)];
        node.test.db.write("test", move |conn| Ok(newsfeeds::insert(conn, &row)?)).await.unwrap();
        let page = node.timelines().page(ME, Range::ALL, 5).await.unwrap();
        assert_eq!(page.entries, entries([2, 1]), "{}", node.test.name);
        assert_eq!(page.from, LoadedFrom::Database);
    }
}

#[actix_rt::test]
async fn what_came_from_redis_is_read_again_under_a_new_epoch() {
    let test = testing::postgres();
    let claim = TestRedis::claim();
    let config = crate::redis_tier::testing::config(&claim.url);
    let redis = RedisTier::start(config, test.db.clone(), Owner::nameless()).unwrap();
    assert!(redis.wait_until_up(PATIENCE).await);
    let node = Node { test, redis, _claim: Some(claim), limit: 100 };
    node.commit(entry(1)).await;
    node.commit(entry(2)).await;
    let first = node.timelines();
    assert_eq!(first.page(ME, Range::ALL, 10).await.unwrap().from, LoadedFrom::Database);

    // Another process loads the list that the first has stored, into which a gap has come.
    let second = node.timelines();
    let row = [(1, entry(3).created_at, entry(3).tweet_id)];
    node.test.db.write_blocking(|conn| Ok(newsfeeds::insert(conn, &row)?)).unwrap();
    node.commit(entry(4)).await;
    let with_gap = second.page(ME, Range::ALL, 10).await.unwrap();
    assert_eq!(with_gap.entries, [entry(4), entry(2), entry(1)], "what the epoch is there for");
    node.redis.learn_epoch(node.redis.epoch() + 1);
    let whole = second.page(ME, Range::ALL, 10).await.unwrap();
    assert_eq!(whole.entries, [entry(4), entry(3), entry(2), entry(1)]);
    let warm = first.page(ME, Range::ALL, 10).await.unwrap();
    assert_eq!(warm.from, LoadedFrom::Memory, "the database's word stays");
}
