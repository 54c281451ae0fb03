//! `roost check`: the database against itself, and Redis against the database.

pub mod redis;

use std::collections::HashMap;

use crate::config::{FeedConfig, StorageConfig};
use crate::store::audit::{self, Check, Finding};
use crate::store::repair::{self, IdRange, Table};
use crate::store::tasks::TaskKind;
use crate::store::{Db, StoreError};
use crate::time::Timestamp;

use super::Status;
use super::output::say;
use super::progress::Progress;
use super::redis::Redis;

/// Users of one question. The feeds of so many are compared at once.
const USERS_PER_STEP: i64 = 2_000;

/// Tweets or comments of one question.
const OBJECTS_PER_STEP: i64 = 10_000;

/// Flags of `roost check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Differences printed of each kind; all are counted
    #[arg(long, default_value_t = 100, value_name = "LINES")]
    limit: usize,

    #[command(flatten)]
    feeds: FeedConfig,

    #[command(flatten)]
    storage: StorageConfig,
}

/// Checks everything and returns 0 when nothing is wrong, 1 otherwise.
///
/// # Errors
/// When a database or Redis cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Status> {
    let db = super::open_existing(&args.storage)?;
    // First: a Redis that does not answer is known before the long part.
    let redis = Redis::connect(&args.storage)?;
    let report = database(&db, args.feeds.remove_on_unfollow.is_on(), args.limit)?;
    let mut wrong = report.total();
    for line in unfinished(&db)? {
        say!("note: {line}");
    }
    for (check, total) in report.totals {
        say!("{total} x {}", title(check));
    }
    if let Some(Redis { runtime, tier }) = &redis {
        let limit = args.feeds.list_limit as usize;
        let compared = redis::compare(&db, tier, limit, args.limit, &redis::LOOKS_AFTER);
        let found = runtime.block_on(compared)?;
        say!("note: {} keys in Redis, {} lists void", found.keys, found.void);
        if found.strangers > 0 {
            say!("note: {} keys that only look like Roost's", found.strangers);
        }
        if found.differences > 0 {
            say!("{} x key in Redis", found.differences);
        }
        wrong += found.differences;
    }
    match wrong {
        0 => say!("No differences."),
        1 => say!("1 difference."),
        many => say!("{many} differences."),
    }
    Ok(Status::from(wrong > 0))
}

/// What a check of the database has found.
#[derive(Debug, Default)]
pub struct Report {
    /// Checks with differences, and how many.
    pub totals: Vec<(Check, u64)>,
    /// What was printed.
    pub printed: Vec<(Check, Finding)>,
}

impl Report {
    /// All differences.
    pub fn total(&self) -> u64 {
        self.totals.iter().map(|(_, total)| total).sum()
    }
}

/// Runs every check over the whole database, printing at most `limit` differences of each.
///
/// # Errors
/// When the database cannot be read.
pub fn database(db: &Db, strangers_leave: bool, limit: usize) -> Result<Report, StoreError> {
    let mut last_ids = HashMap::new();
    for table in [Table::Users, Table::Tweets, Table::Comments] {
        let last = db.read_blocking(|conn| Ok(repair::last_id(conn, table)?))?;
        last_ids.insert(table, last);
    }
    let checks: Vec<Check> =
        Check::ALL.into_iter().filter(|check| strangers_leave || !needs_sweep(*check)).collect();
    let ids = checks.iter().map(|check| last_ids[&check.table()] as u64).sum();
    let mut progress = Progress::start("ids checked", ids);
    let mut report = Report::default();
    for check in checks {
        let mut total = 0;
        let mut left = limit;
        for range in IdRange::steps(last_ids[&check.table()], step(check)) {
            let (findings, more) =
                db.read_blocking(|conn| Ok(audit::run(conn, check, range, left)?))?;
            left -= findings.len();
            total += more;
            for finding in findings {
                progress.print(&describe(check, &finding));
                report.printed.push((check, finding));
            }
            progress.advance(range.ids());
        }
        if total > 0 {
            report.totals.push((check, total));
        }
    }
    progress.finish();
    Ok(report)
}

/// Whether the check holds only where unfollowing takes entries out of a feed.
fn needs_sweep(check: Check) -> bool {
    matches!(check, Check::Strangers | Check::Ghosts)
}

fn step(check: Check) -> i64 {
    match check.table() {
        Table::Users => USERS_PER_STEP,
        Table::Tweets | Table::Comments => OBJECTS_PER_STEP,
    }
}

/// What is not wrong, but still to be done.
fn unfinished(db: &Db) -> Result<Vec<String>, StoreError> {
    let unfinished = db.read_blocking(|conn| Ok(audit::unfinished(conn)?))?;
    let mut lines = Vec::new();
    let mut note = |count: i64, what: &str| {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    };
    note(unfinished.uncounted_tweets, "tweets with counts not taken yet");
    note(unfinished.uncounted_comments, "comments with counts not taken yet");
    note(unfinished.outbox, "notifications on their way");
    for (kind, count) in unfinished.open_tasks {
        let label = i16::try_from(kind).ok().and_then(TaskKind::from_code).map(TaskKind::label);
        let label = label.unwrap_or("unknown");
        note(count, &format!("open tasks ({label}); what they are about was skipped"));
    }
    Ok(lines)
}

/// What a check is about, for people.
pub(super) fn title(check: Check) -> &'static str {
    match check {
        Check::TweetLikes => "likes_count of a tweet",
        Check::TweetComments => "comments_count of a tweet",
        Check::CommentLikes => "likes_count of a comment",
        Check::Followers => "followers_count of a profile",
        Check::Followings => "followings_count of a profile",
        Check::Tweets => "tweets_count of a profile",
        Check::FollowerSpans => "span of followers",
        Check::FollowingSpans => "span of followings",
        Check::FollowersOutsideSpans => "followers in no span",
        Check::FollowingsOutsideSpans => "followings in no span",
        Check::LostDeliveries => "tweet that nothing will deliver",
        Check::LostDeletions => "deleted tweet that nothing will clear away",
        Check::LostComments => "comment on a tweet that is gone",
        Check::LostLikes => "like of what is gone",
        Check::Duplicates => "tweet more than once in a feed",
        Check::Gaps => "tweet missing in a feed",
        Check::Strangers => "feed entry by somebody not followed",
        Check::Ghosts => "feed entry of a tweet that is gone",
    }
}

fn describe(check: Check, finding: &Finding) -> String {
    let Finding { subject, detail, expected, found, .. } = finding;
    let is = found.map_or("missing".to_owned(), |found| found.to_string());
    let should = expected.unwrap_or(0);
    match check {
        Check::TweetLikes => format!("tweet {subject}: likes_count is {is}, rows: {should}"),
        Check::TweetComments => format!("tweet {subject}: comments_count is {is}, rows: {should}"),
        Check::CommentLikes => format!("comment {subject}: likes_count is {is}, rows: {should}"),
        Check::Followers => format!("user {subject}: followers_count is {is}, rows: {should}"),
        Check::Followings => format!("user {subject}: followings_count is {is}, rows: {should}"),
        Check::Tweets => format!("user {subject}: tweets_count is {is}, rows: {should}"),
        Check::FollowerSpans => span(*subject, "followers", *detail, &is, should),
        Check::FollowingSpans => span(*subject, "followings", *detail, &is, should),
        Check::FollowersOutsideSpans => format!("user {subject}: {is} followers in no span"),
        Check::FollowingsOutsideSpans => format!("user {subject}: {is} followings in no span"),
        Check::LostDeliveries => format!("tweet {subject}: not delivered, and no task for it"),
        Check::LostDeletions => format!("tweet {subject}: deleted, and no task to clear it away"),
        Check::LostComments => format!("comment {subject}: its tweet {detail} does not exist"),
        Check::LostLikes => {
            let kind = if *found == Some(1) { "tweet" } else { "comment" };
            format!("like of user {subject}: {kind} {detail} does not exist")
        }
        Check::Duplicates => format!("feed of user {subject}: tweet {detail} is there {is} times"),
        Check::Gaps => format!("feed of user {subject}: tweet {detail} is missing"),
        Check::Strangers => format!(
            "feed of user {subject}: tweet {detail} by user {is}, whom the reader does not follow"
        ),
        Check::Ghosts => format!("feed of user {subject}: tweet {detail} does not exist any more"),
    }
}

fn span(user: i64, side: &str, start_at: i64, is: &str, should: i64) -> String {
    format!("user {user}: span of {side} from {} has {is}, rows: {should}", Timestamp(start_at))
}
