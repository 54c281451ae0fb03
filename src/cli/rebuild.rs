//! `roost rebuild`: counts again, beside the running service, in small steps, and drops what
//! Redis holds of it after each.
//!
//! Without Redis, or when it goes away meanwhile, the epoch is advanced instead: nodes then
//! believe nothing that is in Redis from before.

use anyhow::ensure;

use super::output::say;
use super::progress::Progress;
use super::redis::Redis;
use crate::config::StorageConfig;
use crate::redis_tier::{CountKind, ListKey, ListKind};
use crate::store::repair::{self, IdRange, Table};
use crate::store::{Conn, Db, StoreError, cache_state};

/// Profiles of one transaction. The ordered writer waits meanwhile, so there are few.
const USERS_PER_STEP: i64 = 50;

/// Tweets or comments of one transaction.
const OBJECTS_PER_STEP: i64 = 500;

/// A transaction that lost against another one is run again this many times.
const CONFLICT_RETRIES: usize = 3;

/// Flags of `roost rebuild`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,

    #[command(flatten)]
    storage: StorageConfig,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The user's profile, lists, tweets and comments
    #[arg(long, value_name = "NAME|ID")]
    user: Option<String>,

    /// Everybody's
    #[arg(long)]
    all: bool,
}

/// How many rows had a wrong count or none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Repaired {
    /// Profiles.
    pub profiles: usize,
    /// Tweets.
    pub tweets: usize,
    /// Comments.
    pub comments: usize,
}

/// Counts again and says what was wrong.
///
/// # Errors
/// When there is no such user, or a database cannot be reached.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let db = super::open_existing(&args.storage)?;
    let redis = Redis::connect(&args.storage)?;
    let user = args.whom.user.as_deref().map(|user| super::user::find(&db, user)).transpose()?;
    let repaired = rebuild(&db, redis.as_ref(), user.map(|account| account.id))?;
    let Repaired { profiles, tweets, comments } = repaired;
    say!("Counts put right: {profiles} profiles, {tweets} tweets, {comments} comments.");
    Ok(())
}

/// Rebuilds one user's counts, or everybody's, and drops what Redis holds of them.
///
/// # Errors
/// When there is no such user, or the database cannot be reached.
pub(super) fn rebuild(
    db: &Db,
    redis: Option<&Redis>,
    user: Option<i64>,
) -> anyhow::Result<Repaired> {
    let rebuild = Rebuild { db, redis };
    let repaired = match user {
        Some(user) => rebuild.one(user)?,
        None => rebuild.all()?,
    };
    if redis.is_none_or(|redis| !redis.tier.is_up()) {
        db.write_blocking(|conn| Ok(cache_state::advance_epoch(conn)?))?;
    }
    // What running nodes have in memory is no better than what has been repaired.
    db.write_blocking(|conn| Ok(super::tell_nodes(conn)?))?;
    Ok(repaired)
}

struct Rebuild<'a> {
    db: &'a Db,
    redis: Option<&'a Redis>,
}

impl Rebuild<'_> {
    fn one(&self, user: i64) -> anyhow::Result<Repaired> {
        let found = self
            .db
            .read_blocking(|conn| Ok(repair::ids_of_user(conn, Table::Users, user, 0, 1)?))?;
        ensure!(!found.is_empty(), "there is no user {user}");
        Ok(Repaired {
            profiles: self.people(IdRange::one(user))?,
            tweets: self.objects_of(user, CountKind::Tweet)?,
            comments: self.objects_of(user, CountKind::Comment)?,
        })
    }

    fn all(&self) -> Result<Repaired, StoreError> {
        let last = |table| self.db.read_blocking(move |conn| Ok(repair::last_id(conn, table)?));
        let mut repaired = Repaired::default();
        let users = last(Table::Users)?;
        let mut progress = Progress::start("users", users as u64);
        for range in IdRange::steps(users, USERS_PER_STEP) {
            repaired.profiles += self.people(range)?;
            progress.advance(range.ids());
        }
        progress.finish();
        repaired.tweets = self.objects("tweets", CountKind::Tweet, last(Table::Tweets)?)?;
        repaired.comments = self.objects("comments", CountKind::Comment, last(Table::Comments)?)?;
        Ok(repaired)
    }

    fn people(&self, range: IdRange) -> Result<usize, StoreError> {
        let profiles = step(self.db, |conn| Ok(repair::profiles(conn, range)?))?;
        step(self.db, |conn| Ok(repair::spans(conn, range)?))?;
        if let Some(Redis { runtime, tier }) = self.redis {
            let keys: Vec<ListKey> = range
                .all()
                .flat_map(|user_id| {
                    [ListKind::Newsfeed, ListKind::Author].map(|kind| ListKey { kind, user_id })
                })
                .collect();
            runtime.block_on(tier.remove(&keys));
        }
        Ok(profiles)
    }

    fn objects(&self, what: &'static str, kind: CountKind, last: i64) -> Result<usize, StoreError> {
        let mut progress = Progress::start(what, last as u64);
        let mut repaired = 0;
        for range in IdRange::steps(last, OBJECTS_PER_STEP) {
            repaired += step(self.db, |conn| Ok(recount(conn, kind, range)?))?;
            self.forget(kind, &range.all().collect::<Vec<_>>());
            progress.advance(range.ids());
        }
        progress.finish();
        Ok(repaired)
    }

    fn objects_of(&self, user: i64, kind: CountKind) -> Result<usize, StoreError> {
        let table = match kind {
            CountKind::Tweet => Table::Tweets,
            CountKind::Comment => Table::Comments,
        };
        let limit = OBJECTS_PER_STEP as usize;
        let mut repaired = 0;
        let mut after = 0;
        loop {
            let ids = self
                .db
                .read_blocking(|conn| Ok(repair::ids_of_user(conn, table, user, after, limit)?))?;
            repaired += step(self.db, |conn| {
                let mut repaired = 0;
                for id in &ids {
                    repaired += recount(conn, kind, IdRange::one(*id))?;
                }
                Ok(repaired)
            })?;
            self.forget(kind, &ids);
            match ids.last() {
                Some(last) if ids.len() == limit => after = *last,
                _ => return Ok(repaired),
            }
        }
    }

    /// Drops counts in Redis, after their recount has been committed.
    fn forget(&self, kind: CountKind, ids: &[i64]) {
        if let Some(Redis { runtime, tier }) = self.redis {
            runtime.block_on(tier.remove_counts(kind, ids));
        }
    }
}

fn recount(conn: &mut Conn<'_>, kind: CountKind, range: IdRange) -> diesel::QueryResult<usize> {
    match kind {
        CountKind::Tweet => repair::tweets(conn, range),
        CountKind::Comment => repair::comments(conn, range),
    }
}

/// One transaction, again if it lost against another one.
fn step<T>(
    db: &Db,
    mut work: impl FnMut(&mut Conn<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 0..CONFLICT_RETRIES {
        match db.write_blocking(&mut work) {
            Err(StoreError::Conflict(_)) => {}
            other => return other,
        }
    }
    db.write_blocking(work)
}
