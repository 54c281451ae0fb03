//! Authors, followers, a running service, and the raw rival beside it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::caller::Caller;
use super::list::List;
use super::rival::Rival;
use super::stream::Stream;
use super::wait;
use crate::Bench;
use crate::data::{Data, Setup};
use crate::process::Process;

/// The first follower that is a row only.
const FIRST: i64 = 10_000;

/// A reader with a session, who follows everybody but the small author, and comes after all
/// other followers in every delivery.
pub(super) const LAST_READER: i64 = 5_000_000;

/// Another one, who follows the small author only.
pub(super) const SMALL_READER: i64 = 5_000_001;

/// Readers who are asked for pages.
pub(super) const READERS: std::ops::RangeInclusive<i64> = 101..=150;

/// Least time between two looks at the metrics.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Who posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) id: i64,
    pub(super) followers: i64,
}

impl Author {
    /// Followed by 999 rows and the last reader.
    pub(super) const THOUSAND: Author = Author { id: 1, followers: 1_000 };
    /// Followed by ten rows and the small reader.
    pub(super) const SMALL: Author = Author { id: 2, followers: 11 };
}

/// Everything that is set up.
pub(super) struct Stage {
    /// By number of followers.
    pub(super) authors: Vec<Author>,
    data: Data,
    process: Process,
    watch: Caller,
    rival: Rival,
    /// Of the last reader.
    list: Option<List>,
}

impl Stage {
    /// Makes a database with an author for each of `sizes`, and starts the service on it.
    pub(super) fn set(bench: &Bench, setup: Setup, sizes: &[i64]) -> anyhow::Result<Stage> {
        let data = Data::empty(bench, setup)?;
        // The first start brings the schema.
        Process::roost(bench, &data, &[])?.stop()?;
        let authors: Vec<Author> = sizes
            .iter()
            .zip(11..)
            .map(|(followers, id)| Author { id, followers: *followers })
            .collect();
        bench.progress.step(&format!("followers: {sizes:?}"));
        data.execute(&people())?;
        for author in authors.iter().chain([&Author::THOUSAND, &Author::SMALL]) {
            data.execute(&followers(*author))?;
        }
        let rival = Rival::new(&data)?;
        let stage = Stage::start(bench, authors, data, rival)?;
        match stage.data.redis.clone() {
            Some(url) => stage.with_last_list(bench, &url),
            None => Ok(stage),
        }
    }

    fn start(
        bench: &Bench,
        authors: Vec<Author>,
        data: Data,
        rival: Rival,
    ) -> anyhow::Result<Stage> {
        let process = Process::roost(bench, &data, &[])?;
        let watch = Caller::new(process.address, String::new())?;
        Ok(Stage { authors, data, process, watch, rival, list: None })
    }

    /// Brings the last reader's list into Redis: it has an entry then, and a service that has just
    /// started loads it.
    fn with_last_list(mut self, bench: &Bench, url: &str) -> anyhow::Result<Stage> {
        let cookie = self.cookie(Author::THOUSAND.id)?;
        let mut last = self.stream(LAST_READER)?;
        let (tweet, _) = Caller::new(self.address(), cookie)?.post()?;
        last.wait_for(tweet)?;
        self.wait_until_idle()?;
        let Stage { authors, data, process, rival, .. } = self;
        process.stop()?;
        let mut stage = Stage::start(bench, authors, data, rival)?;
        // Before that nothing is put into it.
        stage.wait_for_gauge("roost_redis_up", 1.0)?;
        Caller::new(stage.address(), stage.cookie(LAST_READER)?)?.feed()?;
        let mut list = List::of(LAST_READER, url)?;
        list.wait_for(tweet)?;
        stage.list = Some(list);
        Ok(stage)
    }

    /// The event stream of `user`.
    pub(super) fn stream(&self, user: i64) -> anyhow::Result<Stream> {
        Stream::open(self.address(), &self.cookie(user)?)
    }

    pub(super) fn setup(&self) -> Setup {
        self.data.setup
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// A session of `user`.
    pub(super) fn cookie(&self, user: i64) -> anyhow::Result<String> {
        self.data.log_in(user..=user)?.pop().context("a session")
    }

    /// Sessions of `users`.
    pub(super) fn cookies(
        &self,
        users: std::ops::RangeInclusive<i64>,
    ) -> anyhow::Result<Vec<String>> {
        self.data.log_in(users)
    }

    /// Stops the service.
    pub(super) fn leave(self) -> anyhow::Result<Data> {
        self.process.stop()?;
        Ok(self.data)
    }

    /// Posts, and tells how long it took from the 201 until the last of the followers was told.
    /// Deliveries go by id, so that everybody else has it then; with a Redis, until his list has
    /// it, too, which comes last in the same way.
    pub(super) fn deliver(&mut self, author: Author) -> anyhow::Result<Duration> {
        let mut caller = Caller::new(self.address(), self.cookie(author.id)?)?;
        let mut last = self.stream(LAST_READER)?;
        // The author's session is known then.
        caller.feed()?;
        self.wait_until_idle()?;
        let delivered = self.watch.deliveries()?;
        let all = delivered + author.followers as f64;
        let (tweet, answered) = caller.post()?;
        let mut seen = last.wait_for(tweet)?;
        if let Some(list) = &mut self.list {
            seen = list.wait_for(tweet)?;
        }
        self.wait_until_idle()?;
        let delivered = self.watch.deliveries()?;
        ensure!(delivered >= all, "{delivered} entries are delivered, and not {all}");
        Ok(seen.duration_since(answered))
    }

    /// Waits until no task is open.
    pub(super) fn wait_until_idle(&mut self) -> anyhow::Result<()> {
        self.wait_for_gauge("roost_fanout_tasks_open", 0.0)
    }

    fn wait_for_gauge(&mut self, name: &str, value: f64) -> anyhow::Result<()> {
        let is_so = || Ok(self.watch.gauge(name)? == Some(value));
        wait::until(format_args!("{name} is {value}"), LOOK_EVERY, is_so).map(drop)
    }

    /// The same rows in one statement.
    pub(super) fn raw(&mut self, author: Author) -> anyhow::Result<Duration> {
        self.rival.deliver(author)
    }

    /// Runs `work` while the rival makes one such statement after the other.
    pub(super) fn beside_raw<T>(
        &mut self,
        author: Author,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (over, rival) = (AtomicBool::new(false), &mut self.rival);
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| -> anyhow::Result<()> {
                while !over.load(Ordering::Relaxed) {
                    rival.deliver(author)?;
                }
                Ok(())
            });
            let result = work();
            over.store(true, Ordering::Relaxed);
            busy.join().map_err(|_| anyhow::anyhow!("the rival panicked"))??;
            result
        })
    }
}

/// Authors and readers; the other followers are rows of `friendships` only.
fn people() -> String {
    let ids: Vec<i64> = (1..=200).chain([LAST_READER, SMALL_READER]).collect();
    let users: Vec<String> =
        ids.iter().map(|id| format!("({id},'user{id}','user{id}@example.com','-',0)")).collect();
    let profiles: Vec<String> = ids.iter().map(|id| format!("({id})")).collect();
    format!(
        "INSERT INTO users (id, username, email, password_hash, created_at) VALUES {}; \
         INSERT INTO profiles (user_id) VALUES {}",
        users.join(","),
        profiles.join(",")
    )
}

fn followers(author: Author) -> String {
    let Author { id, followers } = author;
    let real = if author == Author::SMALL { SMALL_READER } else { LAST_READER };
    let rows = followers - 1;
    let mut statements = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
         INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         SELECT {FIRST} + i, {id}, i + 1 FROM n; \
         UPDATE profiles SET followers_count = {followers} WHERE user_id = {id}"
    );
    statements += &format!(
        "; INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         VALUES ({real}, {id}, {followers})"
    );
    if author == Author::SMALL {
        let all: Vec<String> =
            READERS.map(|reader| format!("({reader}, {id}, {})", reader + 1_000)).collect();
        statements += &format!(
            "; INSERT INTO friendships (from_user_id, to_user_id, created_at) VALUES {}",
            all.join(",")
        );
    }
    statements
}
