//! What Redis holds against the database: every list and count must be equal or void.
//!
//! Redis follows a commit a moment later, so beside a running service a difference counts only
//! if it is still there after a while.

use std::time::Duration;

use crate::cli::progress::Progress;
use crate::redis_tier::{CountKind, Family, Found, ListKey, ListKind, RedisTier, Surprise};
use crate::store::repair::Table;
use crate::store::{Db, audit, cache_state, newsfeeds, tweets};
use crate::timeline::{Entry, Range};

/// Before each look at what seemed wrong at the last one.
pub const LOOKS_AFTER: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_500),
];

/// What was found in Redis.
#[derive(Debug, Default)]
pub struct RedisReport {
    /// Differences.
    pub differences: u64,
    /// The first of them, in words.
    pub printed: Vec<String>,
    /// Keys looked at.
    pub keys: u64,
    /// Lists of another epoch, which nobody will read.
    pub void: u64,
    /// Keys that begin like Roost's but are none of its own.
    pub strangers: u64,
}

/// A walk over all keys.
struct Walk<'a> {
    db: &'a Db,
    tier: &'a RedisTier,
    list_limit: usize,
    report: RedisReport,
    print_limit: usize,
    looks_after: &'a [Duration],
}

/// Compares everything in Redis with the database, printing at most `print_limit` differences.
/// `looks_after` says how long to wait before each look at a key; [`LOOKS_AFTER`] beside a
/// running service.
///
/// # Errors
/// When the database or Redis cannot be read.
pub async fn compare(
    db: &Db,
    tier: &RedisTier,
    list_limit: usize,
    print_limit: usize,
    looks_after: &[Duration],
) -> anyhow::Result<RedisReport> {
    let report = RedisReport::default();
    let mut walk = Walk { db, tier, list_limit, report, print_limit, looks_after };
    for family in Family::ALL {
        walk.family(family).await?;
    }
    Ok(walk.report)
}

impl Walk<'_> {
    async fn family(&mut self, family: Family) -> anyhow::Result<()> {
        let mut progress = Progress::start(family.prefix(), 0);
        let mut cursor = 0;
        loop {
            let page = self.tier.scan(family, cursor).await?;
            self.report.strangers += page.strangers as u64;
            self.report.keys += page.ids.len() as u64;
            progress.advance(page.ids.len() as u64);
            let mut suspects = page.ids;
            let mut wrong = Vec::new();
            for pause in self.looks_after {
                tokio::time::sleep(*pause).await;
                wrong = self.wrong(family, &suspects).await?;
                suspects = wrong.iter().map(|(id, _)| *id).collect();
                if suspects.is_empty() {
                    break;
                }
            }
            self.report.differences += wrong.len() as u64;
            let left = self.print_limit.saturating_sub(self.report.printed.len());
            for (_, line) in wrong.into_iter().take(left) {
                progress.print(&line);
                self.report.printed.push(line);
            }
            match page.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        progress.finish();
        Ok(())
    }

    /// Those of `ids` whose key is wrong now, and how.
    async fn wrong(&mut self, family: Family, ids: &[i64]) -> anyhow::Result<Vec<(i64, String)>> {
        let mut wrong = match family {
            Family::Newsfeeds => self.lists(ListKind::Newsfeed, ids).await?,
            Family::Tweets => self.lists(ListKind::Author, ids).await?,
            Family::TweetCounts => self.counts(CountKind::Tweet, ids).await?,
            Family::CommentCounts => self.counts(CountKind::Comment, ids).await?,
        };
        for id in self.tier.without_expiry(family, ids).await? {
            wrong.push((id, format!("Redis {}{id}: lives for ever", family.prefix())));
        }
        wrong.sort_by_key(|(id, _)| *id);
        wrong.dedup_by_key(|(id, _)| *id);
        Ok(wrong)
    }

    async fn lists(&mut self, kind: ListKind, ids: &[i64]) -> anyhow::Result<Vec<(i64, String)>> {
        let mut wrong = Vec::new();
        for id in ids {
            if let Some(how) = self.list(ListKey { kind, user_id: *id }).await? {
                wrong.push((*id, format!("Redis {}{id}: {how}", kind.family().prefix())));
            }
        }
        Ok(wrong)
    }

    async fn list(&mut self, key: ListKey) -> anyhow::Result<Option<String>> {
        let epoch = self.db.read("check_epoch", |conn| Ok(cache_state::epoch(conn)?)).await?;
        let list = match self.tier.inspect(key, epoch, self.list_limit).await? {
            Found::Nothing => return Ok(None),
            Found::Surprise(Surprise::ForeignEpoch) => {
                self.report.void += 1;
                return Ok(None);
            }
            Found::Surprise(surprise) => return Ok(Some(surprise.label().replace('_', " "))),
            Found::List(list) => list,
        };
        // One more shows whether there are older ones.
        let want = list.entries.len() + 1;
        let rows = self
            .db
            .read("check_list", move |conn| {
                Ok(match key.kind {
                    ListKind::Newsfeed => newsfeeds::page(conn, key.user_id, Range::ALL, want)?,
                    ListKind::Author => tweets::page(conn, key.user_id, Range::ALL, want)?,
                })
            })
            .await?;
        Ok(difference(&list.entries, list.complete, &rows))
    }

    async fn counts(&self, kind: CountKind, ids: &[i64]) -> anyhow::Result<Vec<(i64, String)>> {
        let epoch = self.db.read("check_epoch", |conn| Ok(cache_state::epoch(conn)?)).await?;
        let cached = self.tier.read_counts(kind, ids, epoch).await?;
        let asked = ids.to_vec();
        let rows = self
            .db
            .read("check_counts", move |conn| {
                let table = match kind {
                    CountKind::Tweet => Table::Tweets,
                    CountKind::Comment => Table::Comments,
                };
                Ok(audit::counts_of(conn, table, &asked)?)
            })
            .await?;
        let mut wrong = Vec::new();
        for (id, cached) in ids.iter().zip(cached) {
            // What is gone or was never counted cannot be shown wrong.
            let (Some(cached), Some(row)) = (cached, rows.get(id)) else { continue };
            let stored = (cached.likes, cached.comments);
            if stored != (row.likes, row.comments) || cached.version > row.version {
                wrong.push((
                    *id,
                    format!(
                        "Redis {}{id}: {} likes, {} comments at version {}; \
                         database: {}, {} at version {}",
                        kind.family().prefix(),
                        cached.likes,
                        cached.comments,
                        cached.version,
                        row.likes,
                        row.comments,
                        row.version,
                    ),
                ));
            }
        }
        Ok(wrong)
    }
}

/// How a cached list differs from the newest rows, of which one more was read than it has.
fn difference(cached: &[Entry], complete: bool, rows: &[Entry]) -> Option<String> {
    if let Some(place) = (0..cached.len()).find(|place| rows.get(*place) != cached.get(*place)) {
        return Some(format!("entry {} of {} is not the database's", place + 1, cached.len()));
    }
    (complete && rows.len() > cached.len())
        .then(|| "says that nothing is older, and something is".into())
}

#[cfg(test)]
mod tests;
