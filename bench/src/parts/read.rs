//! Pages of timelines: warm ones against the bare handler, cold ones beside warm ones.

use anyhow::{Context, ensure};

use super::pairs;
use crate::Bench;
use crate::data::{Data, Setup};
use crate::figures::{Figure, Goal, Plot, Section};
use crate::load::{self, Arrivals, Outcome, Request, Shape, Traffic};
use crate::process::{Answer, Process};

/// After everything that was seeded.
const LATER: &str = "2027-01-01T00:00:00.000000Z";

/// Where entries begin that are put below the seeded ones.
const LONG_AGO: i64 = 1_500_000_000_000_000;

/// Readers whose newsfeeds go on below the list limit.
const DEEP_READERS: i64 = 200;

/// Entries that are put below their seeded ones.
const DEEP_ENTRIES: i64 = 1_500;

/// Authors whose lists are read.
const AUTHORS: usize = 2_000;

/// A kind of page.
struct Kind {
    name: &'static str,
    requests: Vec<Request>,
    goal: Option<Goal>,
    rounds: usize,
}

/// Measures it.
///
/// # Errors
/// When something cannot be measured.
pub fn run(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::default();
    let users: u32 = bench.pick(2_000, 10_000);
    let data = seeded(bench, users)?;
    data.execute(&format!(
        "INSERT INTO newsfeeds (user_id, created_at, tweet_id) \
         SELECT reader, {LONG_AGO} + n, 1 + n % 5000 \
         FROM generate_series(1, {DEEP_READERS}) reader, generate_series(1, {DEEP_ENTRIES}) n"
    ))?;
    data.execute("VACUUM ANALYZE newsfeeds")?;
    let cookies = data.log_in(1..=i64::from(users))?;
    let process = Process::roost(bench, &data, &[])?;
    for kind in kinds(bench, &process, &cookies)? {
        compare(bench, &process, kind, &mut section)?;
    }
    latencies(bench, &process, &cookies, &mut section)?;
    process.stop()?;
    cold(bench, &data, &cookies, &mut section)?;
    data.discard(bench)?;
    section.remark(format!(
        "PostgreSQL and Redis, {users} users, a random one of them per request, keep-alive on 32 \
         connections, 20 items a page. The bare handler sends the bytes of a page of average \
         length, headers included. Rate limits are off unless said otherwise."
    ));
    Ok(section)
}

/// Authors with more than a page of tweets each, and feeds of about a hundred entries.
fn seeded(bench: &Bench, users: u32) -> anyhow::Result<Data> {
    let (tweets, entries) = ((users * 30).to_string(), (users * 130).to_string());
    let users = users.to_string();
    let flags =
        ["--users", &users, "--tweets", &tweets, "--feed-entries", &entries, "--likes", "50000"];
    Data::seeded(bench, Setup::PostgresRedis, &flags)
}

fn get(path: &str, cookies: &[String]) -> Vec<Request> {
    cookies.iter().map(|cookie| Request::get(path, Some(cookie))).collect()
}

/// What is compared. Only readers with a full page and a next one take part.
fn kinds(bench: &Bench, process: &Process, cookies: &[String]) -> anyhow::Result<Vec<Kind>> {
    bench.progress.step("reading every page once");
    let first = get("/api/newsfeeds/", cookies);
    let mut cursors = vec![None; first.len()];
    load::each(process.address, &first, |place, body| {
        if body.starts_with(b"{\"has_next_page\":true") {
            cursors[place] = last_cursor(body);
        }
    })?;
    let full = |place: &usize| cursors[*place].is_some();
    let readers: Vec<usize> = (0..first.len()).filter(full).collect();
    ensure!(readers.len() * 2 > first.len(), "only {} readers have a full page", readers.len());
    let second = readers.iter().filter_map(|place| {
        let cursor = cursors[*place].as_ref()?;
        let path = format!("/api/newsfeeds/?created_at__lt={cursor}");
        Some(Request::get(&path, cookies.get(*place).map(String::as_str)))
    });
    let poll = format!("/api/newsfeeds/?created_at__gt={LATER}");
    // 1,020 entries above the oldest: below the thousand that are kept.
    let depth = LONG_AGO + DEEP_ENTRIES - 1_020;
    let deep = format!("/api/newsfeeds/?created_at__lt={}", moment(depth));
    let authors = authors(process, cookies)?;
    let kind = |name, requests, goal, rounds| Kind { name, requests, goal, rounds };
    let page = Some(Goal::AtLeast(0.75));
    let (many, few) = bench.pick((2, 1), (5, 3));
    Ok(vec![
        kind("newsfeed", readers.iter().map(|at| first[*at].clone()).collect(), page, many),
        kind("author list", authors, page, many),
        kind("empty poll", get(&poll, cookies), Some(Goal::AtLeast(0.85)), many),
        kind("newsfeed, page 2 by cursor", second.collect(), None, few),
        kind(
            "newsfeed, beyond the list limit",
            get(&deep, &cookies[..DEEP_READERS as usize]),
            None,
            few,
        ),
    ])
}

/// Author lists with a full page, asked for by somebody who is logged in.
fn authors(process: &Process, cookies: &[String]) -> anyhow::Result<Vec<Request>> {
    let of = |author: usize| {
        let reader = &cookies[author * 7 % cookies.len()];
        Request::get(&format!("/api/tweets/?user_id={}", author + 1), Some(reader))
    };
    // So few that their tweets stay in the cache beside those of the newsfeeds.
    let all: Vec<Request> = (0..cookies.len().min(AUTHORS)).map(of).collect();
    let mut full = Vec::new();
    load::each(process.address, &all, |place, body| {
        if body.starts_with(b"{\"has_next_page\":true") {
            full.push(all[place].clone());
        }
    })?;
    ensure!(full.len() > 10, "only {} authors have a full page", full.len());
    Ok(full)
}

/// The time of the last entry of a newsfeed page.
fn last_cursor(body: &[u8]) -> Option<String> {
    let page: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(page["results"].as_array()?.last()?["created_at"].as_str()?.to_owned())
}

fn moment(micros: i64) -> String {
    roost::time::Timestamp(micros).to_string()
}

/// A reply of about the average length, for the bare handler.
fn average(process: &Process, requests: &[Request]) -> anyhow::Result<load::Reply> {
    let sample: Vec<Request> = requests.iter().step_by(requests.len() / 200 + 1).cloned().collect();
    let mut lengths = Vec::with_capacity(sample.len());
    load::each(process.address, &sample, |_, body| lengths.push(body.len()))?;
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    let nearest = (0..sample.len()).min_by_key(|place| lengths[*place].abs_diff(mean));
    load::call(process.address, &sample[nearest.context("no request")?])
}

/// One measurement: the replies per second and the processor time of the server per reply.
struct Measured {
    outcome: Outcome,
    cpu_us: f64,
}

fn measure(process: &Process, shape: Shape, requests: &dyn Traffic) -> anyhow::Result<Measured> {
    let before = process.cpu()?;
    let outcome = load::closed(process.address, shape, requests)?.without_failures()?;
    let used = process.cpu()? - before;
    // The warm-up is not counted and costs the same per request.
    let counted = shape.time.as_secs_f64() / (shape.time + shape.warm_up).as_secs_f64();
    let cpu_us = used.as_secs_f64() * 1e6 * counted / outcome.requests as f64;
    Ok(Measured { outcome, cpu_us })
}

fn compare(
    bench: &Bench,
    process: &Process,
    kind: Kind,
    section: &mut Section,
) -> anyhow::Result<()> {
    let Kind { name, requests, goal, rounds } = kind;
    let shape = Shape::for_seconds(bench.pick(0.7, 3.5));
    let reply = average(process, &requests)?;
    let bare = Process::bare(bench, &reply, Answer::SameBytes)?;
    let rounds = pairs(
        bench,
        name,
        rounds,
        || measure(process, shape, &requests),
        || measure(&bare, shape, &requests),
    )?;
    let of = |pick: fn(&Measured) -> f64| {
        rounds.iter().map(|(ours, theirs)| (pick(ours), pick(theirs))).collect::<Vec<_>>()
    };
    let mut figure =
        Figure::paired(name, "requests/s", "bare handler", &of(|one| one.outcome.rate()));
    figure.goal = goal;
    section.add(figure);
    let cpu = format!("{name}: processor time of the server");
    section.add(Figure::paired(cpu, "us", "bare handler", &of(|one| one.cpu_us)));
    if name == "newsfeed" {
        extremes(bench, process, &requests, &reply, section)?;
    }
    section.remark(format!("{name}: {} bytes a reply.", reply.bytes.len()));
    Ok(())
}

/// The newsfeed once more: against the body alone, and with rate limits on.
fn extremes(
    bench: &Bench,
    process: &Process,
    requests: &dyn Traffic,
    reply: &load::Reply,
    section: &mut Section,
) -> anyhow::Result<()> {
    let shape = Shape::for_seconds(bench.pick(0.7, 3.5));
    let bare = Process::bare(bench, reply, Answer::BodyOnly)?;
    let rate = |process: &Process| Ok(measure(process, shape, requests)?.outcome.rate());
    let name = "newsfeed, the service's headers left to it";
    let rounds = pairs(bench, name, bench.pick(1, 5), || rate(process), || rate(&bare))?;
    section.add(Figure::paired(name, "requests/s", "bare handler, body only", &rounds));
    Ok(())
}

/// Latencies at a rate that leaves both half idle.
fn latencies(
    bench: &Bench,
    process: &Process,
    cookies: &[String],
    section: &mut Section,
) -> anyhow::Result<()> {
    let requests = get("/api/newsfeeds/", cookies);
    let reply = average(process, &requests)?;
    let bare = Process::bare(bench, &reply, Answer::SameBytes)?;
    let capacity = section.figures.first().map_or(10_000.0, |figure| figure.value.median);
    let rate = (capacity * 0.4).round();
    let arrivals = Arrivals {
        rate,
        connections: 64,
        threads: 1,
        warm_up: std::time::Duration::from_millis(500),
        time: std::time::Duration::from_secs(bench.pick(1, 6)),
    };
    let at =
        |process: &Process| load::open(process.address, arrivals, &requests)?.without_failures();
    let rounds = pairs(bench, "latency", bench.pick(1, 3), || at(process), || at(&bare))?;
    let mut plot = Plot::of_latency(format!("Newsfeed page at {rate:.0} requests/s, open loop"));
    for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
        let mut pairs = Vec::new();
        for (ours, theirs) in &rounds {
            pairs.push((ours.ms(quantile)?, theirs.ms(quantile)?));
        }
        let name = format!("newsfeed at 40 % of capacity, open loop: {name}");
        section.add(Figure::paired(name, "ms", "bare handler", &pairs));
    }
    if let Some((ours, theirs)) = rounds.last() {
        plot.latency("Roost", &ours.all()?);
        plot.latency("bare handler", &theirs.all()?);
    }
    section.plots.push(plot);
    Ok(())
}

/// First reads by readers whose session is known and nothing else: from Redis, whose lists the
/// run so far has filled, and from the database.
fn cold(
    bench: &Bench,
    data: &Data,
    cookies: &[String],
    section: &mut Section,
) -> anyhow::Result<()> {
    let readers = &cookies[cookies.len() / 2..][..bench.pick(300, 2_000)];
    let pages = get("/api/newsfeeds/", readers);
    let without_redis = Data { setup: Setup::Postgres, redis: None, ..data.clone() };
    for (name, data, source) in [
        ("Redis", data, "source=\"redis\""),
        ("the database", &without_redis, "source=\"database\""),
    ] {
        let rounds = bench.pick(1, 3);
        let mut pairs = Vec::with_capacity(rounds);
        for round in 0..rounds {
            bench.progress.round(&format!("cold pages from {name}"), round, rounds);
            let process = Process::roost(bench, data, &[])?;
            load::each(process.address, &get("/api/accounts/login_status/", readers), |_, _| {})?;
            let cold = load::each(process.address, &pages, |_, _| {})?;
            let loads = process.metric("roost_timeline_loads_total", source)?;
            ensure!(loads == pages.len() as f64, "{loads} of {} loads from {name}", pages.len());
            let warm = load::each(process.address, &pages, |_, _| {})?;
            pairs.push((cold.ms(0.5)?, warm.ms(0.5)?));
            process.stop()?;
        }
        let name = format!("newsfeed, cold, from {name}: median, one after the other");
        section.add(Figure::paired(name, "ms", "the same page warm", &pairs));
    }
    Ok(())
}
