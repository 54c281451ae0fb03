//! `roost rebuild`: counts again, beside the running service, in small steps.

use anyhow::ensure;

use super::progress::Progress;
use crate::config::StorageConfig;
use crate::store::repair::{self, IdRange, Table};
use crate::store::{Conn, Db, StoreError};

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
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    user: Option<i64>,

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
    let repaired = match args.whom.user {
        Some(user) => one(&db, user)?,
        None => all(&db)?,
    };
    let Repaired { profiles, tweets, comments } = repaired;
    println!("Counts put right: {profiles} profiles, {tweets} tweets, {comments} comments.");
    Ok(())
}

/// Rebuilds one user's counts.
///
/// # Errors
/// When there is no such user, or the database cannot be reached.
pub fn one(db: &Db, user: i64) -> anyhow::Result<Repaired> {
    let found =
        db.read_blocking(|conn| Ok(repair::ids_of_user(conn, Table::Users, user, 0, 1)?))?;
    ensure!(!found.is_empty(), "there is no user {user}");
    let mut repaired =
        Repaired { profiles: people(db, IdRange::one(user))?, ..Repaired::default() };
    repaired.tweets = objects_of(db, user, Table::Tweets, repair::tweets)?;
    repaired.comments = objects_of(db, user, Table::Comments, repair::comments)?;
    Ok(repaired)
}

/// Rebuilds everybody's counts.
///
/// # Errors
/// When the database cannot be reached.
pub fn all(db: &Db) -> Result<Repaired, StoreError> {
    let last = |table| db.read_blocking(move |conn| Ok(repair::last_id(conn, table)?));
    let mut repaired = Repaired::default();
    let users = last(Table::Users)?;
    let mut progress = Progress::start("users", users as u64);
    for range in IdRange::steps(users, USERS_PER_STEP) {
        repaired.profiles += people(db, range)?;
        progress.advance(range.ids());
    }
    progress.finish();
    repaired.tweets = objects(db, "tweets", last(Table::Tweets)?, repair::tweets)?;
    repaired.comments = objects(db, "comments", last(Table::Comments)?, repair::comments)?;
    Ok(repaired)
}

type Recount = fn(&mut Conn<'_>, IdRange) -> diesel::QueryResult<usize>;

fn people(db: &Db, range: IdRange) -> Result<usize, StoreError> {
    let profiles = step(db, |conn| Ok(repair::profiles(conn, range)?))?;
    step(db, |conn| Ok(repair::spans(conn, range)?))?;
    Ok(profiles)
}

fn objects(db: &Db, what: &'static str, last: i64, recount: Recount) -> Result<usize, StoreError> {
    let mut progress = Progress::start(what, last as u64);
    let mut repaired = 0;
    for range in IdRange::steps(last, OBJECTS_PER_STEP) {
        repaired += step(db, |conn| Ok(recount(conn, range)?))?;
        progress.advance(range.ids());
    }
    progress.finish();
    Ok(repaired)
}

fn objects_of(db: &Db, user: i64, table: Table, recount: Recount) -> Result<usize, StoreError> {
    let mut repaired = 0;
    let mut after = 0;
    loop {
        let limit = OBJECTS_PER_STEP as usize;
        let ids =
            db.read_blocking(|conn| Ok(repair::ids_of_user(conn, table, user, after, limit)?))?;
        repaired += step(db, |conn| {
            let mut repaired = 0;
            for id in &ids {
                repaired += recount(conn, IdRange::one(*id))?;
            }
            Ok(repaired)
        })?;
        match ids.last() {
            Some(last) if ids.len() == limit => after = *last,
            _ => return Ok(repaired),
        }
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
