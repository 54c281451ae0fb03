//! Authors, followers, a running service, and the raw rival beside it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use tokio::runtime::Runtime;

use crate::Bench;
use crate::data::{Data, Setup};
use crate::load::{Connection, Request};
use crate::process::Process;

/// The first follower that is a row only.
const FIRST: i64 = 10_000;

/// A reader with a session, who comes after all other followers in every delivery.
pub(super) const LAST_READER: i64 = 5_000_000;

/// Another one, who follows the small author only.
pub(super) const SMALL_READER: i64 = 5_000_001;

/// Readers who are asked for pages.
pub(super) const READERS: std::ops::RangeInclusive<i64> = 101..=150;

/// A delivery that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// Entries delivered so far.
const DELIVERIES: &str = "roost_fanout_deliveries_total";

/// Between two looks at whether something has happened.
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
    next_moment: i64,
}

enum Rival {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
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
        let mut rival = match &data.postgres {
            Some(url) => Rival::Postgres(PgConnection::establish(url)?),
            None => {
                let file = data.file();
                let path = file.to_str().context("the path is not UTF-8")?;
                Rival::Sqlite(SqliteConnection::establish(path)?)
            }
        };
        rival.prepare()?;
        let process = Process::roost(bench, &data, &[])?;
        let watch = Caller::new(process.address, String::new())?;
        Ok(Stage { authors, data, process, watch, rival, next_moment: 1 })
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

    /// Posts, and tells how long the delivery took from the 201 on.
    pub(super) fn deliver(&mut self, author: Author) -> anyhow::Result<Duration> {
        let mut caller = Caller::new(self.address(), self.cookie(author.id)?)?;
        // The session is known then.
        caller.feed()?;
        self.wait_until_idle()?;
        let delivered = self.watch.gauge(DELIVERIES)?.unwrap_or(0.0);
        let all = delivered + author.followers as f64;
        let (_, answered) = caller.post()?;
        while self.watch.gauge(DELIVERIES)?.unwrap_or(0.0) < all {
            ensure!(answered.elapsed() < LIMIT, "not delivered within {LIMIT:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(answered.elapsed())
    }

    /// Waits until no task is open.
    pub(super) fn wait_until_idle(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.watch.gauge("roost_fanout_tasks_open")? != Some(0.0) {
            ensure!(begun.elapsed() < LIMIT, "not delivered within {LIMIT:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The same rows in one statement.
    pub(super) fn raw(&mut self, author: Author) -> anyhow::Result<Duration> {
        let moment = self.next_moment;
        self.next_moment += 1;
        let begun = Instant::now();
        self.rival.run(&format!(
            "INSERT INTO raw_feeds (user_id, created_at, tweet_id) \
             SELECT from_user_id, {moment}, {moment} FROM friendships WHERE to_user_id = {}",
            author.id
        ))?;
        Ok(begun.elapsed())
    }
}

impl Rival {
    fn prepare(&mut self) -> anyhow::Result<()> {
        match self {
            Rival::Postgres(_) => self.run(
                "CREATE TABLE raw_feeds (LIKE newsfeeds INCLUDING ALL); VACUUM ANALYZE friendships",
            ),
            // The settings of the service.
            Rival::Sqlite(_) => self.run(
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; \
                 CREATE TABLE raw_feeds (user_id BIGINT NOT NULL, created_at BIGINT NOT NULL, \
                     tweet_id BIGINT NOT NULL, PRIMARY KEY (user_id, created_at)) WITHOUT ROWID",
            ),
        }
    }

    fn run(&mut self, statements: &str) -> anyhow::Result<()> {
        // One by one: Postgres puts statements that come together into one transaction.
        for statement in statements.split(';') {
            match self {
                Rival::Postgres(connection) => connection.batch_execute(statement)?,
                Rival::Sqlite(connection) => connection.batch_execute(statement)?,
            }
        }
        Ok(())
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
    let real = match author {
        Author::THOUSAND => Some(LAST_READER),
        Author::SMALL => Some(SMALL_READER),
        _ => None,
    };
    let rows = followers - i64::from(real.is_some());
    let mut statements = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
         INSERT INTO friendships (from_user_id, to_user_id, created_at) \
         SELECT {FIRST} + i, {id}, i + 1 FROM n; \
         UPDATE profiles SET followers_count = {followers} WHERE user_id = {id}"
    );
    if let Some(reader) = real {
        statements += &format!(
            "; INSERT INTO friendships (from_user_id, to_user_id, created_at) \
             VALUES ({reader}, {id}, {followers})"
        );
    }
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

/// One user on one connection.
pub(super) struct Caller {
    runtime: Runtime,
    connection: Connection,
    post: Request,
    feed: Request,
    metrics: Request,
}

impl Caller {
    pub(super) fn new(address: SocketAddr, cookie: String) -> anyhow::Result<Caller> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(Connection::open(address))?;
        let cookie = (!cookie.is_empty()).then_some(cookie.as_str());
        Ok(Caller {
            runtime,
            connection,
            post: Request::post("/api/tweets/", cookie, "{\"content\":\"to everybody\"}"),
            feed: Request::get("/api/newsfeeds/?page_size=1", cookie),
            metrics: Request::get("/metrics", None),
        })
    }

    fn call(&mut self, which: fn(&Caller) -> &Request) -> anyhow::Result<String> {
        let request = which(self).clone();
        let head = self.runtime.block_on(self.connection.call(request.bytes()))?;
        let body = String::from_utf8_lossy(self.connection.body(head)).into_owned();
        ensure!((200..300).contains(&head.status), "{}: {body}", head.status);
        Ok(body)
    }

    /// Posts a tweet: its id, and when the answer came.
    pub(super) fn post(&mut self) -> anyhow::Result<(i64, Instant)> {
        let body = self.call(|caller| &caller.post)?;
        let answered = Instant::now();
        let tweet: serde_json::Value = serde_json::from_str(&body)?;
        Ok((tweet["id"].as_i64().context("a tweet without an id")?, answered))
    }

    /// The newest tweet of the feed.
    pub(super) fn feed(&mut self) -> anyhow::Result<Option<i64>> {
        let page: serde_json::Value = serde_json::from_str(&self.call(|caller| &caller.feed)?)?;
        Ok(page["results"][0]["tweet"]["id"].as_i64())
    }

    /// Reads until the tweet is the newest one of the feed, and tells when that was.
    pub(super) fn wait_for(&mut self, tweet: i64) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if self.feed()? == Some(tweet) {
                return Ok(Instant::now());
            }
            std::thread::sleep(LOOK_EVERY / 2);
        }
        bail!("tweet {tweet} is not visible within {LIMIT:?}")
    }

    /// Tasks that are open.
    pub(super) fn open_tasks(&mut self) -> anyhow::Result<f64> {
        Ok(self.gauge("roost_fanout_tasks_open")?.unwrap_or(0.0))
    }

    fn gauge(&mut self, name: &str) -> anyhow::Result<Option<f64>> {
        let text = self.call(|caller| &caller.metrics)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map(str::parse).transpose()?)
    }
}
