//! `roost seed`: a data set drawn from a number, written in bulk in one transaction.

mod draw;
mod plan;
mod relations;
mod texts;

use anyhow::{Context, anyhow, bail, ensure};
use argon2::password_hash::{PasswordHasher, SaltString};
use indicatif::HumanCount;

use self::draw::Draw;
use self::plan::Plan;
use super::output::say;
use super::progress::Progress;
use crate::config::StorageConfig;
use crate::store::bulk::{self, ROWS_PER_COPY};
use crate::store::repair::{self, IdRange};
use crate::store::{Conn, Db, StoreError, migrations, sole};
use crate::time::Timestamp;

/// The most of anything: indices fit in 32 bits and moments lie microseconds apart.
pub(super) const MOST: u32 = 200_000_000;

/// Feed entries, about, of one statement.
const ENTRIES_PER_STEP: u64 = 50_000;

/// Users whose spans one statement fills.
const USERS_PER_STEP: i64 = 2_000;

/// Flags of `roost seed`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accounts: user000001, user000002, ...
    #[arg(long, default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: u32,

    /// Friendships [default: 20 per user, at most a quarter of all pairs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST as i64))]
    follows: Option<u32>,

    /// Tweets [default: 5 per user, or as many as --feed-entries takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST as i64))]
    tweets: Option<u32>,

    /// Comments [default: as many as tweets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST as i64))]
    comments: Option<u32>,

    /// Likes, of tweets and, one in five, of comments [default: 4 per tweet]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST as i64))]
    likes: Option<u32>,

    /// Feed entries, about: the latest tweets are delivered to all followers, until so many
    /// entries exist; earlier ones date from before the follows [default: deliver every tweet]
    #[arg(long, value_name = "N")]
    feed_entries: Option<u64>,

    /// The number that everything is drawn from
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,

    /// The password of every account
    #[arg(long, default_value = "roost-demo", value_name = "PASSWORD")]
    password: String,

    /// The time of the latest tweets; the rest lies up to 120 days before
    #[arg(long, default_value = "2026-11-01T00:00:00Z", value_name = "TIME",
          value_parser = parse_time)]
    until: Timestamp,

    #[command(flatten)]
    storage: StorageConfig,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not of the form 2026-11-01T00:00:00Z".into())
}

/// How many of what, after the defaults.
#[derive(Debug)]
struct Sizes {
    users: u32,
    follows: usize,
    /// `None`: as many as fill the feeds.
    tweets: Option<u32>,
    comments: Option<u32>,
    likes: Option<u32>,
    /// Entries for followers, and for authors too unless `tweets` says how many these are.
    feed_entries: Option<u64>,
}

impl Sizes {
    fn of(args: &Args) -> anyhow::Result<Sizes> {
        let users = args.users;
        let pairs = u64::from(users) * u64::from(users - 1);
        let follows = match args.follows {
            Some(follows) => u64::from(follows),
            None => (u64::from(users) * 20).min(pairs / 4),
        };
        ensure!(follows <= pairs, "{users} users can have at most {pairs} follows");
        let tweets = match (args.tweets, args.feed_entries) {
            (Some(tweets), _) => Some(tweets),
            (None, Some(_)) => None,
            (None, None) => Some(users * 5),
        };
        let feed_entries = match (args.feed_entries, tweets) {
            (Some(entries), Some(tweets)) => Some(entries.checked_sub(u64::from(tweets)).context(
                "--feed-entries must be at least --tweets: authors see their own tweets",
            )?),
            (entries, _) => entries,
        };
        let (comments, likes) = (args.comments, args.likes);
        Ok(Sizes { users, follows: follows as usize, tweets, comments, likes, feed_entries })
    }

    fn comments(&self, tweets: u32) -> usize {
        if tweets == 0 { 0 } else { self.comments.unwrap_or(tweets) as usize }
    }

    /// Likes of tweets and of comments, no more than there are pairs.
    fn likes(&self, tweets: u32, comments: u32) -> (usize, usize) {
        let wanted = u64::from(self.likes.unwrap_or(tweets.saturating_mul(4)));
        let pairs = |objects: u32| u64::from(self.users) * u64::from(objects);
        let of_comments = (wanted / 5).min(pairs(comments) / 2);
        let of_tweets = (wanted - of_comments).min(pairs(tweets));
        (of_tweets as usize, of_comments as usize)
    }
}

/// Fills an empty database.
///
/// # Errors
/// When the database is not empty, a service is at work on its file, it cannot be reached, or the
/// numbers do not go together.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let sizes = Sizes::of(args)?;
    super::make_data_dir(&args.storage)?;
    let config = super::long_running(&args.storage);
    let _claim = sole::claim(&config)?;
    migrations::run(&config)?;
    let db = Db::open(&config)?;
    if !db.read_blocking(|conn| Ok(bulk::is_empty(conn)?))? {
        bail!("the database is not empty; seed fills an empty one only");
    }
    let hash = hash(&args.password, args.seed)?;
    let plan = Plan::draw(args.seed, args.until, &sizes);
    write(&db, &plan, &hash)?;
    say!(
        "Seeded {} users, {} follows, {} tweets, {} feed entries, {} comments, {} likes.",
        HumanCount(u64::from(plan.users)),
        HumanCount(plan.follows()),
        HumanCount(plan.tweets()),
        HumanCount(plan.feed_entries),
        HumanCount(plan.comments()),
        HumanCount(plan.likes()),
    );
    say!("Log in as user000001 to user{:06}, password {}", plan.users, args.password);
    Ok(())
}

/// The hash that all accounts share; the salt is drawn too, so that the rows are reproducible.
fn hash(password: &str, seed: u64) -> anyhow::Result<String> {
    let salt = SaltString::encode_b64(&Draw::new(seed, 0).bytes::<16>())
        .map_err(|error| anyhow!("no salt: {error}"))?;
    let hash = argon2::Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("the password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

/// Writes everything in one transaction: an interrupted seed leaves nothing behind.
fn write(db: &Db, plan: &Plan, hash: &str) -> Result<(), StoreError> {
    db.write_blocking(|conn| {
        bulk::prepare(conn)?;
        let users = u64::from(plan.users);
        insert(conn, "users", users, plan.user_rows(hash), bulk::insert_users)?;
        insert(conn, "profiles", users, plan.profile_rows(), bulk::insert_profiles)?;
        let follows = plan.follows();
        insert(conn, "follows", follows, plan.friendship_rows(), bulk::insert_friendships)?;
        insert(conn, "tweets", plan.tweets(), plan.tweet_rows(), bulk::insert_tweets)?;
        let comments = plan.comments();
        insert(conn, "comments", comments, plan.comment_rows(), bulk::insert_comments)?;
        insert(conn, "likes", plan.likes(), plan.like_rows(), bulk::insert_likes)?;
        bulk::analyze(conn)?;
        fill_spans(conn, plan)?;
        fill_feeds(conn, plan)?;
        let mut progress = Progress::start("notifications", 0);
        progress.advance(bulk::notify(conn)? as u64);
        progress.finish();
        bulk::finish(conn)?;
        Ok(super::tell_nodes(conn)?)
    })
}

/// Writes the rows of one table, chunk by chunk.
fn insert<R>(
    conn: &mut Conn<'_>,
    what: &'static str,
    total: u64,
    rows: impl Iterator<Item = R>,
    write: impl Fn(&mut Conn<'_>, &[R]) -> diesel::QueryResult<()>,
) -> diesel::QueryResult<()> {
    let mut progress = Progress::start(what, total);
    let mut rows = rows.fuse();
    loop {
        let chunk: Vec<R> = rows.by_ref().take(ROWS_PER_COPY).collect();
        if chunk.is_empty() {
            break;
        }
        write(conn, &chunk)?;
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    Ok(())
}

fn fill_spans(conn: &mut Conn<'_>, plan: &Plan) -> diesel::QueryResult<()> {
    let mut progress = Progress::start("follow spans", u64::from(plan.users));
    for range in IdRange::steps(i64::from(plan.users), USERS_PER_STEP) {
        repair::fill_spans(conn, range)?;
        progress.advance(range.ids());
    }
    progress.finish();
    Ok(())
}

fn fill_feeds(conn: &mut Conn<'_>, plan: &Plan) -> diesel::QueryResult<()> {
    let mut progress = Progress::start("feed entries", plan.feed_entries);
    let users = u64::from(plan.users);
    let step = (users * ENTRIES_PER_STEP / plan.feed_entries.max(1)).clamp(1, users);
    for range in IdRange::steps(i64::from(plan.users), step as i64) {
        progress.advance(bulk::deliver(conn, range)? as u64);
    }
    progress.finish();
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
