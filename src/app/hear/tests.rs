//! Each kind of news against the cache it is meant for: warm, changed behind its back as another
//! node would, then told.

use std::time::Duration;

use super::*;
use crate::accounts::rules::Rules;
use crate::accounts::{Accounts, Kind, Settings, TokenHash, token_hash};
use crate::bus::{Bus, decode, encode};
use crate::config::Length;
use crate::counter::{Changes, LikeKey, LikeKind};
use crate::fanout::{Delivered, Effects, Removed};
use crate::hydration::followings::Followings;
use crate::hydration::liked::LikedFlags;
use crate::hydration::tweets::Tweets;
use crate::hydration::users::Users;
use crate::media::Media;
use crate::notifications::Notifications;
use crate::redis_tier::RedisTier;
use crate::store::counts::{TweetCounts, tests::add_tweet};
use crate::store::testing::{TestDb, sqlite};
use crate::store::{Conn, friendships, likes, newsfeeds, profiles};
use crate::time::{Clock, Timestamp};
use crate::timeline::{Entry, EntryStore, Range, TimelineKey, Timelines, TimelinesConfig};

const PASSWORD: &str = "correct horse";

/// A node's caches, and two users.
struct Node {
    test: TestDb,
    ear: Ear,
    ann: i64,
    bob: i64,
    session: TokenHash,
}

impl Node {
    async fn open() -> Node {
        let test = sqlite();
        let db = test.db.clone();
        let limits = TimelinesConfig {
            list_limit: 100,
            resident_entries: 10_000,
            idle: Duration::from_secs(3_600),
        };
        let rules =
            Rules { username: Length { min: 3, max: 20 }, password: Length { min: 8, max: 128 } };
        let settings = Settings { rules, trusted_for: Duration::from_secs(60) };
        let accounts = Accounts::new(db.clone(), Clock::system(), settings).unwrap();
        let ann = accounts.sign_up("ann", "ann@example.com", PASSWORD).await.unwrap();
        let bob = accounts.sign_up("bob", "bob@example.com", PASSWORD).await.unwrap();
        let tweets = Arc::new(Tweets::new(db.clone(), 100));
        let publisher = Publisher {
            timelines: Timelines::new(limits, Arc::new(EntryStore::new(db.clone()))),
            tweets: tweets.clone(),
            followings: Arc::new(Followings::new(db.clone())),
            liked: Arc::new(LikedFlags::new(db.clone(), 100)),
            users: Arc::new(Users::new(db.clone(), 100)),
            accounts: Arc::new(accounts),
            bus: Bus::alone(),
            redis: RedisTier::disabled(),
            media: Arc::new(Media::on(Arc::new(object_store::memory::InMemory::new()))),
            list_limit: 100,
        };
        let counts = CountTeller { tweets, notifications: Notifications::start(db) };
        let ear = Ear { publisher: Arc::new(publisher), counts };
        let session = token_hash(&ann.token).unwrap();
        Node { test, ear, ann: ann.user_id, bob: bob.user_id, session }
    }

    /// Writes as another node would: nothing of it is told here.
    fn elsewhere<T>(&self, body: impl Fn(&mut Conn<'_>) -> diesel::QueryResult<T>) -> T {
        self.test.db.write_blocking(|conn| Ok(body(conn)?)).unwrap()
    }

    /// Tells by way of the wire.
    fn tell(&self, news: &News) {
        for part in encode(77, 1, news) {
            let heard = decode(&part).unwrap();
            self.ear.hear(heard.node, heard.number, &heard.news);
        }
    }

    async fn feed(&self) -> Vec<i64> {
        let key = TimelineKey::Home(self.ann);
        let page = self.ear.publisher.timelines.page(key, Range::ALL, 10).await.unwrap();
        page.entries.iter().map(|entry| entry.tweet_id).collect()
    }

    async fn likes(&self) -> Option<i64> {
        self.ear.publisher.tweets.one(1).await.unwrap().map(|card| card.likes())
    }

    async fn has_liked(&self) -> bool {
        let liked = self.ear.publisher.liked.liked(self.ann, LikeKind::Tweet, &[1]).await.unwrap();
        liked == [true]
    }
}

fn at(moment: i64, tweet_id: i64) -> Entry {
    Entry { created_at: Timestamp(moment), tweet_id }
}

#[actix_rt::test]
async fn timelines_take_over_deliveries_removals_and_changes() {
    let node = Node::open().await;
    let put = |entry: Entry| {
        node.elsewhere(|conn| {
            newsfeeds::insert(conn, &[(node.ann, entry.created_at, entry.tweet_id)])
        });
    };
    put(at(10, 1));
    assert_eq!(node.feed().await, [1]);
    put(at(20, 2));
    assert_eq!(node.feed().await, [1], "warm, and nobody has told it");
    let delivered = Delivered { entry: at(20, 2), readers: vec![node.bob, node.ann] };
    node.tell(&News::of_effects(&Effects { deliveries: vec![delivered], ..Effects::default() }));
    assert_eq!(node.feed().await, [2, 1]);
    let pushes = vec![(TimelineKey::Home(node.ann), at(30, 3))];
    node.tell(&News::of_effects(&Effects { pushes, ..Effects::default() }));
    assert_eq!(node.feed().await, [3, 2, 1]);
    let removals = vec![Removed { tweet_id: 2, keys: vec![TimelineKey::Home(node.ann)] }];
    node.tell(&News::of_effects(&Effects { removals, ..Effects::default() }));
    assert_eq!(node.feed().await, [3, 1]);
    let changed = vec![TimelineKey::Home(node.ann)];
    node.tell(&News::of_effects(&Effects { changed, ..Effects::default() }));
    assert_eq!(node.feed().await, [2, 1], "as the database has it");
}

#[actix_rt::test]
async fn tweets_and_flags_take_over_counts_and_doubts() {
    let node = Node::open().await;
    node.elsewhere(|conn| add_tweet(conn, 1, node.bob));
    assert_eq!((node.likes().await, node.has_liked().await), (Some(0), false));
    let key = LikeKey { user_id: node.ann, kind: LikeKind::Tweet, object_id: 1 };
    node.elsewhere(|conn| likes::insert(conn, &[(key, Timestamp(5))]));
    assert!(!node.has_liked().await, "warm, and nobody has told it");
    let counted = |likes, version| {
        let tweets = vec![TweetCounts { id: 1, likes, comments: 0, version }];
        News::of_changes(&Changes { tweets, likes: vec![(key, true)], ..Changes::default() })
    };
    node.tell(&counted(3, 7));
    assert_eq!((node.likes().await, node.has_liked().await), (Some(3), true));
    node.tell(&counted(2, 6));
    assert_eq!(node.likes().await, Some(3), "an older version changes nothing");
    // A flag is never taken from the wire: of two nodes the slower would have the last word.
    node.elsewhere(|conn| likes::delete(conn, &[key]));
    node.tell(&counted(3, 8));
    assert!(!node.has_liked().await);
    let dead_tweets = vec![1];
    node.tell(&News::of_effects(&Effects { dead_tweets, ..Effects::default() }));
    assert_eq!(node.likes().await, None);
}

#[actix_rt::test]
async fn people_sessions_and_followings_are_asked_for_again() {
    let node = Node::open().await;
    let caches = node.ear.publisher.clone();
    let (ann, bob) = (node.ann, node.bob);
    let nickname = async || caches.users.one(bob).await.unwrap().unwrap().nickname.clone();
    let follows = async || !caches.followings.follows(ann, &[bob]).await.unwrap().is_empty();
    let logged_in = || caches.accounts.cached_session(Kind::Cookie, &node.session).is_some();
    caches.accounts.basic("bob", PASSWORD).await.unwrap();
    let proved = || caches.accounts.cached_basic("bob", PASSWORD).is_some();
    assert_eq!((nickname().await, follows().await), (None, false));
    assert!(logged_in() && proved());

    node.elsewhere(|conn| {
        let change = profiles::Change { nickname: Some("Robert".into()), avatar_url: None };
        profiles::change(conn, bob, &change)?;
        friendships::follow(conn, ann, bob, Timestamp(9))
    });
    assert_eq!((nickname().await, follows().await), (None, false), "nobody has told it");
    node.tell(&News::of_user(bob));
    let friendships = vec![(ann, bob)];
    node.tell(&News::of_effects(&Effects { friendships, ..Effects::default() }));
    assert_eq!((nickname().await.as_deref(), follows().await), (Some("Robert"), true));
    node.tell(&News::of_account(&[node.session], Some("bob")));
    assert!(!logged_in() && !proved());
}

#[actix_rt::test]
async fn distrust_and_a_new_epoch_reach_what_they_are_meant_for() {
    let node = Node::open().await;
    let logged_in =
        || node.ear.publisher.accounts.cached_session(Kind::Cookie, &node.session).is_some();
    assert_eq!(node.feed().await, [] as [i64; 0]);
    node.elsewhere(|conn| newsfeeds::insert(conn, &[(node.ann, Timestamp(10), 1)]));
    node.tell(&News::of_epoch(9));
    assert_eq!(node.ear.publisher.redis.epoch(), 9);
    assert_eq!(node.feed().await, [] as [i64; 0], "not from Redis: not in doubt");
    assert!(logged_in());
    node.tell(&News::of_everything());
    assert_eq!(node.feed().await, [1]);
    assert!(!logged_in());
}
