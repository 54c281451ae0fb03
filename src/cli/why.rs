//! `roost why`: why a tweet is, or is not, in a feed.

mod node;
mod verdict;

use std::net::SocketAddr;

use anyhow::Context;

use self::verdict::Verdict;
use super::Status;
use super::output::say;
use super::redis::Redis;
use crate::config::{FeedConfig, StorageConfig};
use crate::redis_tier::{Found, ListKey, ListKind};
use crate::store::explain::{self, Facts, TaskFacts};
use crate::store::{Db, cache_state};
use crate::timeline::Peeked;

/// Flags of `roost why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The reader: an id, a name, or @name
    #[arg(value_name = "USER")]
    user: String,

    /// The tweet's id
    #[arg(value_name = "TWEET", value_parser = clap::value_parser!(i64).range(1..))]
    tweet: i64,

    /// Metrics address of a running node, to look into its memory
    #[arg(long, env = "ROOST_METRICS_LISTEN", value_name = "ADDR:PORT")]
    node: Option<SocketAddr>,

    #[command(flatten)]
    feeds: FeedConfig,

    #[command(flatten)]
    storage: StorageConfig,
}

/// Explains, and returns 0 when the tweet is in the feed, 1 when it is not.
///
/// # Errors
/// When there is no such user, or the database cannot be read. Redis and the node are looked at
/// if they answer.
pub fn run(args: &Args) -> anyhow::Result<Status> {
    let db = super::open_existing(&args.storage)?;
    let (reader, name) = db
        .read_blocking(|conn| Ok(explain::user(conn, &args.user)?))?
        .with_context(|| format!("there is no user {}", args.user))?;
    let facts = db.read_blocking(|conn| Ok(explain::facts(conn, reader, args.tweet)?))?;
    say!("Tweet {} in the feed of {name} ({reader})", args.tweet);
    let verdict = verdict::judge(&facts, args.feeds.remove_on_unfollow.is_on());
    say!("{}: {}", if verdict.is_there { "It is there" } else { "It is not there" }, verdict);
    say!("");
    tiers(args, &db, &facts);
    tasks(&facts);
    Ok(Status::from(!verdict.is_there))
}

/// What each tier has.
fn tiers(args: &Args, db: &Db, facts: &Facts) {
    let database = match facts.entries.as_slice() {
        [] => "no".to_owned(),
        [at] => format!("yes, entry {} ({at})", at.micros()),
        several => format!("{} times, which is wrong: see roost check", several.len()),
    };
    say!("database  {database}");
    say!("Redis     {}", in_redis(args, db, facts));
    say!("memory    {}", in_memory(args, facts));
}

fn in_redis(args: &Args, db: &Db, facts: &Facts) -> String {
    let look = || -> anyhow::Result<Option<(Found, i64)>> {
        let Some(Redis { runtime, tier }) = Redis::connect(&args.storage)? else { return Ok(None) };
        let epoch = db.read_blocking(|conn| Ok(cache_state::epoch(conn)?))?;
        let key = ListKey { kind: ListKind::Newsfeed, user_id: facts.reader };
        Ok(Some((
            runtime.block_on(tier.inspect(key, epoch, args.feeds.list_limit as usize))?,
            epoch,
        )))
    };
    match look() {
        Ok(None) => "not configured".to_owned(),
        Ok(Some((Found::Nothing, _))) => "no list of this feed".to_owned(),
        Ok(Some((Found::Surprise(surprise), _))) => {
            format!("a list that nobody will read ({})", surprise.label())
        }
        Ok(Some((Found::List(list), _))) => {
            let holds = list.entries.iter().any(|entry| entry.tweet_id == args.tweet);
            let oldest = list.entries.last().map(|entry| entry.created_at);
            let covers = list.complete
                || facts.entries.iter().any(|at| oldest.is_some_and(|oldest| *at >= oldest));
            held(holds, covers, list.entries.len(), facts)
        }
        Err(error) => format!("not looked at: {error:#}"),
    }
}

fn in_memory(args: &Args, facts: &Facts) -> String {
    let Some(node) = args.node else {
        return "not looked at: --node names the metrics address of a node".to_owned();
    };
    match node::peek(node, facts.reader, args.tweet) {
        Ok(Peeked::Cold) => format!("this feed is not in the memory of {node}"),
        Ok(Peeked::Busy) => format!("the feed's actor on {node} does not answer in time"),
        Ok(Peeked::Held(peek)) => {
            let covers = peek.complete || facts.entries.iter().any(|at| at.micros() >= peek.oldest);
            held(peek.holds, covers, peek.entries, facts)
        }
        Err(error) => format!("not looked at: {error:#}"),
    }
}

/// What a cached part of the feed has. `covers`: if the database has the entry, so should it.
fn held(holds: bool, covers: bool, entries: usize, facts: &Facts) -> String {
    let of = format!("among the newest {entries}");
    match (holds, facts.entries.is_empty()) {
        (true, false) => format!("yes, {of}"),
        (true, true) => format!("yes, {of}, unlike the database: look again, then roost check"),
        (false, false) if covers => {
            format!("no, {of}, unlike the database: look again, then roost check")
        }
        (false, _) => format!("no, not {of}"),
    }
}

/// The tasks that have to do with it.
fn tasks(facts: &Facts) {
    for task in facts.of_tweet.iter().chain(&facts.of_pair) {
        say!("task      {}", describe(task));
    }
}

fn describe(task: &TaskFacts) -> String {
    let TaskFacts { id, kind, rows_done, created_at, work_us, .. } = task;
    let work_ms = work_us / 1_000;
    let state = match task.finished_at {
        Some(at) => format!("finished {at}"),
        None => format!("open, {}", verdict::health(task)),
    };
    format!("{id} {}: added {created_at}, {state}, {rows_done} rows, {work_ms} ms", kind.label())
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}
