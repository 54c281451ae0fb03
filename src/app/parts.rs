//! The parts of a node, built in the order in which they depend on each other.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::web;

use super::counts::{CountTeller, RedisCounts, herald};
use super::hear::Ear;
use super::publish::Publisher;
use crate::accounts::Accounts;
use crate::bus::{Bus, News};
use crate::config::Config;
use crate::counter::{Counter, DbStore, Limits, Neighbours};
use crate::fanout::{Writer, WriterConfig};
use crate::http::admission::Admission;
use crate::http::cors::Origins;
use crate::http::friendships::FriendLists;
use crate::http::middleware::{Front, RequestIds};
use crate::http::proxies::TrustedProxies;
use crate::http::reading::Reading;
use crate::http::schema::Document;
use crate::http::stream::Streams;
use crate::hydration::followings::Followings;
use crate::hydration::kept::KeptPages;
use crate::hydration::liked::LikedFlags;
use crate::hydration::pages::Hydrator;
use crate::hydration::tweets::Tweets;
use crate::hydration::users::Users;
use crate::limits::RateLimits;
use crate::media::Media;
use crate::notifications::Notifications;
use crate::redis_tier::{Owner, RedisConfig, RedisTier};
use crate::store::{Conn, Db};
use crate::time::Clock;
use crate::timeline::{EntryStore, TieredSource, Timelines, TimelinesConfig};

/// Users kept in memory.
const CACHED_USERS: usize = 200_000;

/// Viewers whose likes are kept in memory, of tweets and of comments.
const CACHED_LIKES: usize = 200_000;

/// The parts; clones share them.
#[derive(Clone)]
pub struct Parts {
    /// Every setting.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// The process clock.
    pub clock: Clock,
    /// The other nodes.
    pub bus: Bus,
    /// The Redis tier.
    pub redis: RedisTier,
    /// Timeline actors.
    pub timelines: Timelines,
    /// The ordered writer.
    pub writer: Writer,
    /// Likes and comments.
    pub counter: Counter,
    /// The mover of notifications.
    pub notifications: Notifications,
    /// Users, sessions, tokens.
    pub accounts: Arc<Accounts>,
    /// Photos.
    pub media: Arc<Media>,
    /// Pages.
    pub hydrator: Arc<Hydrator>,
    /// Who follows whom.
    pub followings: Arc<Followings>,
    /// Proxies whose word counts.
    pub proxies: Arc<TrustedProxies>,
    /// Origins whose pages may use the API.
    pub origins: Arc<Origins>,
    /// What one address or account may do.
    pub limits: RateLimits,
    /// The description of the API.
    pub document: Arc<Document>,
    /// Open event streams.
    pub streams: Arc<Streams>,
}

impl Parts {
    /// Looks for settings that cannot be used, before anything is written.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(config: &Config) -> anyhow::Result<()> {
        config.check()?;
        config.storage.database().engine()?;
        TrustedProxies::parse(&config.trusted_proxies).map_err(anyhow::Error::msg)?;
        Origins::parse(&config.cors_origins).map_err(anyhow::Error::msg)?;
        RedisConfig::from_settings(config).as_ref().map_or(Ok(()), RedisTier::check)
    }

    /// Builds a node over a migrated database. Starts its actors.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub async fn build(config: &Arc<Config>) -> anyhow::Result<Parts> {
        let db = Db::open(&config.storage.database())?;
        let clock = Clock::system();
        let bus = Bus::new(&config.storage.database(), &db)?;
        let redis = match RedisConfig::from_settings(config) {
            Some(settings) => RedisTier::start(settings, db.clone(), owner(&bus))?,
            None => RedisTier::disabled_on(owner(&bus)),
        };
        let media = Arc::new(Media::open(&config.storage).await?);
        let source = TieredSource::new(EntryStore::new(db.clone()), redis.clone());
        let timelines = Timelines::new(timelines_config(config), Arc::new(source));
        let tweets = Arc::new(Tweets::new(db.clone(), config.tweet_cache));
        let users = Arc::new(Users::new(db.clone(), CACHED_USERS).telling(bus.clone()));
        let liked = Arc::new(LikedFlags::new(db.clone(), CACHED_LIKES));
        let followings = Arc::new(Followings::new(db.clone()));
        let notifications = Notifications::start(db.clone());
        let accounts = Accounts::new(db.clone(), clock.clone(), config.as_ref().into())?;
        let accounts = Arc::new(accounts.telling(bus.clone()));
        let publisher = Arc::new(Publisher {
            timelines: timelines.clone(),
            tweets: tweets.clone(),
            followings: followings.clone(),
            liked: liked.clone(),
            users: users.clone(),
            accounts: accounts.clone(),
            bus: bus.clone(),
            redis: redis.clone(),
            media: media.clone(),
            list_limit: config.feeds.list_limit as usize,
        });
        let teller = CountTeller { tweets: tweets.clone(), notifications: notifications.clone() };
        // Before anything is cached or written.
        let ear = Ear { publisher: publisher.clone(), counts: teller.clone() };
        bus.listen(Arc::new(ear), redis.clone())?;
        // The two writers share a thread of their own: they only wait.
        let writers = Arbiter::new().handle();
        let writer = Writer::start(
            db.clone(),
            clock.clone(),
            WriterConfig {
                backfill: config.backfill,
                remove_on_unfollow: config.feeds.remove_on_unfollow.is_on(),
                retention: config.retention(),
            },
            redis.clone(),
            publisher,
            writers.clone(),
        );
        let store = DbStore::new(db.clone(), clock.clone());
        let neighbours = Neighbours {
            store: Arc::new(store.announcing(herald(bus.clone(), redis.clone()))),
            sinks: vec![Arc::new(teller), liked.clone()],
            remote: Arc::new(RedisCounts(redis.clone())),
            guard: Arc::new(RedisCounts(redis.clone())),
        };
        let counter = Counter::start(neighbours, Limits::default(), writers);
        let kept = KeptPages::new(config.page_cache_bytes());
        let hydrator = Hydrator { timelines: timelines.clone(), tweets, users, liked, kept };
        let proxies = TrustedProxies::parse(&config.trusted_proxies).map_err(anyhow::Error::msg)?;
        let origins = Origins::parse(&config.cors_origins).map_err(anyhow::Error::msg)?;
        let limits = RateLimits::new(config.limits.clone(), redis.clone());
        Ok(Parts {
            config: config.clone(),
            db,
            clock,
            bus,
            redis,
            timelines,
            writer,
            counter,
            notifications,
            accounts,
            media,
            hydrator: Arc::new(hydrator),
            followings,
            proxies: Arc::new(proxies),
            origins: Arc::new(origins),
            limits,
            document: Arc::new(Document::new(config)),
            streams: Arc::new(Streams::default()),
        })
    }

    /// What the requests of one HTTP thread meet first.
    pub(super) fn front(&self, ids: RequestIds, admission: Arc<Admission>) -> Front {
        Front {
            ids,
            admission,
            limits: self.config.rate_limits.is_on().then(|| self.limits.clone()),
            proxies: self.proxies.clone(),
            origins: self.origins.clone(),
            gzip: self.config.gzip.is_on(),
        }
    }

    /// Makes the parts available to the handlers of one HTTP thread.
    pub fn configure(&self, cfg: &mut web::ServiceConfig) {
        let lists = FriendLists {
            db: self.db.clone(),
            users: self.hydrator.users.clone(),
            followings: self.followings.clone(),
        };
        let reading = Reading::new(&self.config, self.hydrator.clone(), self.writer.clone());
        cfg.app_data(web::Data::from(self.config.clone()))
            .app_data(web::Data::new(reading))
            .app_data(web::Data::new(self.db.clone()))
            .app_data(web::Data::new(self.clock.clone()))
            .app_data(web::Data::new(self.writer.clone()))
            .app_data(web::Data::new(self.counter.clone()))
            .app_data(web::Data::new(self.notifications.clone()))
            .app_data(web::Data::from(self.accounts.clone()))
            .app_data(web::Data::from(self.media.clone()))
            .app_data(web::Data::from(self.hydrator.clone()))
            .app_data(web::Data::from(self.hydrator.users.clone()))
            .app_data(web::Data::from(self.hydrator.liked.clone()))
            .app_data(web::Data::from(self.followings.clone()))
            .app_data(web::Data::from(self.proxies.clone()))
            .app_data(web::Data::from(self.origins.clone()))
            .app_data(web::Data::new(self.limits.clone()))
            .app_data(web::Data::from(self.document.clone()))
            .app_data(web::Data::from(self.streams.clone()))
            .app_data(web::Data::new(lists));
    }

    /// Writes what is under way and closes, in the order of dependence.
    pub async fn finish(&self) {
        self.counter.flush().await;
        self.writer.finish().await;
        if let Err(error) = self.notifications.drain().await {
            tracing::warn!(%error, "notifications wait in their outbox for the next start");
        }
        self.redis.shutdown().await;
        self.bus.leave().await;
    }
}

/// The node as the owner of its Redis tier.
fn owner(bus: &Bus) -> Owner {
    let (node, bus) = (bus.node(), bus.clone());
    let herald =
        move |conn: &mut Conn<'_>, epoch| bus.announce(conn, &News::of_epoch(epoch)).map(|_| ());
    Owner { node, herald: Arc::new(herald) }
}

fn timelines_config(config: &Config) -> TimelinesConfig {
    TimelinesConfig {
        list_limit: config.feeds.list_limit as usize,
        resident_entries: config.resident_entries,
        idle: Duration::from_secs(config.timeline_idle_s),
    }
}
