//! What a full timeline of 1,000 entries takes: of memory, and in Redis.

use anyhow::{Context, ensure};
use redis::Commands;

use super::{feeds, lengthen};
use crate::Bench;
use crate::data::Data;
use crate::figures::{Figure, Goal, Section};
use crate::load::{self, Request};
use crate::process::{Process, without_settings};

/// Entries of a full timeline.
const FULL: usize = 1_000;

/// A resident timeline, everything that belongs to it included.
const MOST_RESIDENT: f64 = 20.0 * 1024.0;

/// Its list in Redis.
const MOST_REDIS: f64 = 30.0 * 1024.0;

/// Measures it.
pub(super) fn run(bench: &Bench, data: &Data, section: &mut Section) -> anyhow::Result<()> {
    section.add(
        Figure::alone(
            "a resident timeline of 1,000 entries, by the allocator",
            "bytes",
            &allocated(bench)?,
        )
        .goal(Goal::AtMost(MOST_RESIDENT)),
    );
    let readers: usize = bench.pick(200, 2_000);
    bench.progress.step("filling feeds");
    data.execute("TRUNCATE newsfeeds")?;
    lengthen(data, readers as i64, 1_100)?;
    let cookies = data.log_in(1..=readers as i64)?;
    let process = Process::roost(bench, data, &[])?;
    bench.progress.step("memory of a process");
    load::each(process.address, &sessions(&cookies), |_, _| {})?;
    // The tweets and the way there are warm after the first hundred.
    let feeds = feeds(&cookies);
    let (first, rest) = feeds.split_at(100);
    load::each(process.address, first, |_, _| {})?;
    let before = process.resident_bytes()?;
    load::each(process.address, rest, |_, _| {})?;
    let grown = process.resident_bytes()?.saturating_sub(before);
    let each = grown as f64 / rest.len() as f64;
    section.add(
        Figure::alone(
            "a resident timeline of 1,000 entries and its reader's flags, by RSS",
            "bytes",
            &[each],
        )
        .goal(Goal::AtMost(MOST_RESIDENT)),
    );
    process.stop()?;
    in_redis(bench, data, section)
}

fn sessions(cookies: &[String]) -> Vec<Request> {
    let path = "/api/accounts/login_status/";
    cookies.iter().map(|cookie| Request::get(path, Some(cookie))).collect()
}

/// Bytes per timeline as a program of its own counts them, in which counting slows nothing else
/// that is measured.
fn allocated(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let count = bench.pick("500", "5000");
    let rounds = bench.pick(1, 3);
    (0..rounds)
        .map(|round| {
            bench.progress.round("bytes allocated", round, rounds);
            let output = without_settings(&bench.weigh).arg(count).output()?;
            ensure!(output.status.success(), "roost-weigh: {}", output.status);
            Ok(String::from_utf8(output.stdout)?.trim().parse()?)
        })
        .collect()
}

/// The list that the service has filled, against what the reference and others would keep.
fn in_redis(bench: &Bench, data: &Data, section: &mut Section) -> anyhow::Result<()> {
    bench.progress.step("bytes in Redis");
    let url = data.redis.as_deref().context("no Redis")?;
    let mut redis = redis::Client::open(url)?.get_connection()?;
    let weigh = |redis: &mut redis::Connection, key: &str| -> anyhow::Result<f64> {
        let bytes: u64 =
            redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query(redis)?;
        Ok(bytes as f64)
    };
    let mut lists = Vec::new();
    for key in (1..=50).map(|reader| format!("user_newsfeeds:{reader}")) {
        let length: usize = redis.llen(&key)?;
        if length >= FULL {
            lists.push(weigh(&mut redis, &key)?);
        }
    }
    ensure!(lists.len() >= 20, "only {} full lists in Redis", lists.len());
    for n in 0..FULL {
        let (id, tweet) = (1_000_000 + n, 500_000 + n);
        // As the reference keeps it: the serialised model.
        let json = format!(
            "[{{\"model\": \"newsfeeds.newsfeed\", \"pk\": {id}, \"fields\": {{\"user\": 12345, \
             \"tweet\": {tweet}, \"created_at\": \"2026-11-23T18:58:21.{n:06}Z\"}}}}]"
        );
        let () = redis.rpush("json_list", json)?;
        let () = redis.zadd("sorted_set", tweet, 1_795_460_301_000_000_u64 + n as u64)?;
    }
    for (rival, key) in [("a list of JSON", "json_list"), ("a sorted set of ids", "sorted_set")] {
        let theirs = weigh(&mut redis, key)?;
        let () = redis.del(key)?;
        let pairs: Vec<(f64, f64)> = lists.iter().map(|ours| (*ours, theirs)).collect();
        section.add(Figure::paired("a list of 1,000 entries in Redis", "bytes", rival, &pairs));
    }
    section.add(
        Figure::alone("a list of 1,000 entries in Redis", "bytes", &lists)
            .goal(Goal::AtMost(MOST_REDIS)),
    );
    Ok(())
}
