//! A Roost of the test's own, from start to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use diesel::PgConnection;
use tempfile::TempDir;

use super::client::Client;
use super::database::Database;
use super::node::Node;
use super::process::{Process, roost_command, tail};
use super::proxy::Proxy;
use super::redis_tier::RedisTier;
use super::servers::{PostgresServer, RedisServer};
use super::{Setup, Value, json};

const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// Gauges that are zero when nothing works in the background.
const BACKGROUND: [&str; 2] = ["roost_fanout_tasks_open", "roost_notifications_pending"];
/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

/// An app that is still to be started.
pub struct Builder {
    setup: Setup,
    environment: BTreeMap<String, String>,
    before: Option<String>,
    postgres: Option<PostgresServer>,
    redis: Option<RedisServer>,
    proxied: bool,
    data: Option<PathBuf>,
    tablespace: Option<PathBuf>,
    open_files: Option<u32>,
}

impl Builder {
    /// Starts on a database as the first release would have left it: its schema, and the data
    /// that these statements put in.
    pub fn on_first_schema(mut self, data: String) -> Self {
        self.before = Some(data);
        self
    }

    /// Sets one environment variable of the server.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts on a database that `roost copy` has filled from another app's.
    pub fn copied_from(self, source: &App) -> App {
        self.start_after(|target| {
            let copied = roost_command()
                .args(["copy", "--to", target])
                .envs(source.environment.iter().cloned())
                .output()
                .expect("run roost copy");
            let said = String::from_utf8_lossy(&copied.stdout);
            let errors = String::from_utf8_lossy(&copied.stderr);
            assert!(copied.status.success(), "{said}{errors}");
            assert!(said.contains("no differences"), "{said}");
        })
    }

    /// Runs on a PostgreSQL of the test's own, where the set-up has one, with these settings.
    pub fn own_postgres(mut self, settings: &[&str]) -> Self {
        let wanted = self.setup != Setup::Sqlite;
        self.postgres = wanted.then(|| PostgresServer::start(settings));
        self
    }

    /// Runs on a Redis of the test's own, where the set-up has one.
    pub fn own_redis(mut self) -> Self {
        self.redis = (self.setup == Setup::PostgresRedis).then(RedisServer::start);
        self
    }

    /// Keeps what grows on another file system: the data directory, and with PostgreSQL (of the
    /// test's own) the database.
    pub fn stored_on(mut self, folder: &Path) -> Self {
        self.data = Some(folder.join("data"));
        self.tablespace = self.postgres.is_some().then(|| folder.join("tablespace"));
        self
    }

    /// Gives the server a limit of open files, which it cannot raise.
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Puts a proxy in front of PostgreSQL and one in front of Redis, where there are any.
    pub fn behind_proxies(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> App {
        self.start_after(|_| ())
    }

    /// Starts the server once `prepare` has done what it wants with the database of this URL.
    fn start_after(self, prepare: impl FnOnce(&str)) -> App {
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        let database = match (self.setup, &self.postgres) {
            (Setup::Sqlite, _) => Database::Sqlite { folder: data.clone() },
            (_, Some(server)) => Database::on(server, self.tablespace.as_deref()),
            (_, None) if self.before.is_some() => Database::empty(),
            (_, None) => Database::postgres(),
        };
        let redis = (self.setup == Setup::PostgresRedis).then(|| match &self.redis {
            Some(server) => RedisTier::of(server),
            None => RedisTier::fresh(),
        });
        let link = |url: String| match self.proxied {
            true => {
                let (proxy, through) = Proxy::to_url(&url);
                (Some(proxy), through)
            }
            false => (None, url),
        };
        if let Some(data) = &self.before {
            database.make_first_schema(data);
        }
        let file = || format!("sqlite:{}", data.join("roost.db").display());
        prepare(&database.url().unwrap_or_else(file));
        let mut environment = BTreeMap::from([
            ("ROOST_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("ROOST_DATA_DIR".to_owned(), data.to_string_lossy().into_owned()),
            ("ROOST_RATE_LIMITS".to_owned(), "off".to_owned()),
            ("ROOST_TESTING".to_owned(), "1".to_owned()),
        ]);
        let (database_link, database_url) = database.url().map(link).unzip();
        let (redis_link, redis_url) = redis.as_ref().map(RedisTier::url).map(link).unzip();
        environment.extend(database_url.map(|url| ("DATABASE_URL".to_owned(), url)));
        environment.extend(redis_url.map(|url| ("REDIS_URL".to_owned(), url)));
        environment.extend(self.environment);
        let environment: Vec<_> = environment.into_iter().collect();
        let log = folder.path().join("roost.log");
        let process = Process::start(&environment, &log, self.open_files);
        App {
            setup: self.setup,
            base: Arc::new(RwLock::new(process.url.clone())),
            process: Some(process),
            environment,
            open_files: self.open_files,
            database_link: database_link.flatten(),
            redis_link: redis_link.flatten(),
            redis,
            database,
            redis_server: self.redis,
            postgres_server: self.postgres,
            data,
            folder,
        }
    }
}

/// A running server with everything that belongs to it. Fields drop in order: the
/// process first, then what it was using.
pub struct App {
    /// What it runs on, for the few checks that must know.
    pub setup: Setup,
    process: Option<Process>,
    pub(super) base: Arc<RwLock<String>>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
    database_link: Option<Proxy>,
    redis_link: Option<Proxy>,
    redis: Option<RedisTier>,
    database: Database,
    redis_server: Option<RedisServer>,
    postgres_server: Option<PostgresServer>,
    data: PathBuf,
    folder: TempDir,
}

impl App {
    /// The way to an app with settings of its own.
    pub fn on(setup: Setup) -> Builder {
        let environment = BTreeMap::new();
        let (postgres, redis) = (None, None);
        let (data, tablespace, open_files) = (None, None, None);
        Builder {
            setup,
            environment,
            before: None,
            postgres,
            redis,
            proxied: false,
            data,
            tablespace,
            open_files,
        }
    }

    /// Where it listens, without a slash at the end.
    pub fn base_url(&self) -> String {
        self.base.read().unwrap().clone()
    }

    /// The data directory: the SQLite file and the photos.
    pub fn data_dir(&self) -> PathBuf {
        self.data.clone()
    }

    /// The environment of the server, for commands that work beside it.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Somebody who has not logged in.
    pub fn anonymous(&self) -> Client {
        Client::new(Arc::clone(&self.base))
    }

    /// Somebody who has just signed up and holds the session that came with it.
    pub fn sign_up(&self, username: &str) -> Client {
        let mut client = self.anonymous();
        let email = format!("{username}@example.com");
        let body = json!({"username": username, "email": email, "password": PASSWORD});
        let reply = client.post("/api/accounts/signup/", body).expect(201);
        client.id = reply["user"]["id"].as_i64().expect("the new user's id");
        client.username = username.to_owned();
        client
    }

    /// Stops politely and starts again on the same data; clients keep their cookies and
    /// find the new address by themselves.
    pub fn restart(&mut self) {
        assert_eq!(self.sigterm(), Some(0), "exit code after SIGTERM");
        self.start_again();
    }

    /// Sets one environment variable for the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(held, _)| held != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts again after [`App::kill9`] or [`App::sigterm`].
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "still running");
        let process = Process::start(&self.environment, &self.log(), self.open_files);
        *self.base.write().unwrap() = process.url.clone();
        self.process = Some(process);
    }

    /// Ends the process with no chance to clean up.
    pub fn kill9(&mut self) {
        self.process.take().expect("a running process").kill9();
    }

    /// Waits until PostgreSQL has seen that a killed server's connections are gone. Until then
    /// a commit that had been asked for may still go through.
    pub fn wait_until_disconnected(&self) {
        if self.setup == Setup::Sqlite {
            return;
        }
        let asked = Instant::now();
        let others = "SELECT count(*) AS n FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while self.sql(others) > 0 {
            assert!(asked.elapsed() < QUIET_WITHIN, "still connected after {QUIET_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the process to stop and waits for it; its exit code.
    pub fn sigterm(&mut self) -> Option<i32> {
        self.begin_sigterm();
        self.wait_for_exit()
    }

    /// Sends SIGTERM and does not wait: for tests that watch what happens meanwhile.
    pub fn begin_sigterm(&self) {
        self.process.as_ref().expect("a running process").sigterm();
    }

    /// Waits for the end after [`App::begin_sigterm`]; the exit code.
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        self.process.take().expect("a running process").wait()
    }

    /// The server's resident memory, in KiB (Linux).
    pub fn memory_kib(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    /// The most resident memory that the server has ever had, in KiB (Linux).
    pub fn peak_memory_kib(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    fn memory_of(&self, what: &str) -> u64 {
        let id = self.process.as_ref().expect("a running process").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The proxy between it and PostgreSQL; see [`Builder::behind_proxies`].
    #[track_caller]
    pub fn database_link(&self) -> &Proxy {
        self.database_link.as_ref().expect("a proxy in front of PostgreSQL")
    }

    /// The proxy between it and Redis; see [`Builder::behind_proxies`].
    #[track_caller]
    pub fn redis_link(&self) -> &Proxy {
        self.redis_link.as_ref().expect("a proxy in front of Redis")
    }

    /// The test's own PostgreSQL; see [`Builder::own_postgres`].
    #[track_caller]
    pub fn postgres_server(&mut self) -> &mut PostgresServer {
        self.postgres_server.as_mut().expect("a PostgreSQL of the test's own")
    }

    /// The test's own Redis; see [`Builder::own_redis`].
    #[track_caller]
    pub fn redis_server(&mut self) -> &mut RedisServer {
        self.redis_server.as_mut().expect("a Redis of the test's own")
    }

    /// Starts another node on the same database, Redis and folder of photos.
    pub fn another_node(&self) -> Node {
        self.another_node_without("")
    }

    /// The same without one of the variables of the environment.
    pub fn another_node_without(&self, variable: &str) -> Node {
        static LAST: AtomicUsize = AtomicUsize::new(1);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| name != variable);
        Node::start(&environment, self.folder.path().join(format!("node{number}.log")))
    }

    /// A session of the test's own on PostgreSQL, which lasts as long as the value.
    pub fn session(&self) -> PgConnection {
        self.database.session()
    }

    /// Runs a command of the binary on the app's data; what it printed and how it ended.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        roost_command().args(arguments).envs(environment).output().expect("run roost")
    }

    /// Fails unless `roost check` finds everything in order.
    #[track_caller]
    pub fn assert_check_passes(&self) {
        let Output { status, stdout, stderr } = self.run(&["check"]);
        let (said, log) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "roost check: {status}\n{said}\n{log}");
    }

    /// What the server has logged so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// The single number that a query gives in its column `n`.
    pub fn sql(&self, query: &str) -> i64 {
        let numbers = self.database.numbers(query);
        assert_eq!(numbers.len(), 1, "{query} gave {numbers:?}");
        numbers[0]
    }

    /// All numbers that a query gives in its column `n`, in its order.
    pub fn sql_list(&self, query: &str) -> Vec<i64> {
        self.database.numbers(query)
    }

    /// All texts that a query gives in its column `t`, in its order.
    pub fn sql_texts(&self, query: &str) -> Vec<String> {
        self.database.texts(query)
    }

    /// Changes the data behind the server's back, as time or an operator would.
    pub fn sql_execute(&self, statement: &str) {
        self.database.execute(statement);
    }

    /// Cuts the server off from PostgreSQL, or lets them find each other again.
    pub fn set_database_reachable(&self, reachable: bool) {
        self.database.set_reachable(reachable);
    }

    /// Ends all sessions of PostgreSQL on the test's database, the server's and the test's.
    pub fn end_database_sessions(&self) {
        self.database.end_sessions();
    }

    /// The test's own connection to the Redis tier, where there is one.
    pub fn redis(&self) -> Option<redis::Connection> {
        self.redis.as_ref().map(RedisTier::connect)
    }

    /// Empties the Redis tier, as a restart of Redis without persistence would.
    pub fn flush_redis(&self) {
        if let Some(mut link) = self.redis() {
            redis::cmd("FLUSHDB").exec(&mut link).expect("FLUSHDB");
        }
    }

    /// The same as text.
    pub fn roost(&self, args: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.run(args);
        Ran {
            status: status.code(),
            text: String::from_utf8_lossy(&stdout).into_owned(),
            errors: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// The current value of a Prometheus gauge or counter without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric_in(&self.anonymous().get("/metrics").text(), name)
    }

    /// Waits until nothing is left to deliver: every fan-out and notification is done.
    pub fn quiesce(&self) {
        let asked = Instant::now();
        loop {
            let open = BACKGROUND.map(|name| (name, self.metric(name)));
            if open.iter().all(|(_, value)| *value == Some(0.0)) {
                return;
            }
            assert!(asked.elapsed() < QUIET_WITHIN, "busy after {QUIET_WITHIN:?}: {open:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails unless every denormalised count equals the number of rows it counts.
    #[track_caller]
    pub fn assert_counts_match_rows(&self) {
        let wrong = |table: &str, count: &str, rows: &str| {
            let deleted = if table == "tweets" { "deleted_at IS NULL AND" } else { "" };
            let query = format!(
                "SELECT count(*) AS n FROM {table} o WHERE {deleted} coalesce({count}, 0) <> \
                 (SELECT count(*) FROM {rows})"
            );
            assert_eq!(self.sql(&query), 0, "{table} with a wrong {count}");
        };
        wrong("tweets", "comments_count", "comments c WHERE c.tweet_id = o.id");
        wrong("tweets", "likes_count", "likes l WHERE l.kind = 1 AND l.object_id = o.id");
        wrong("comments", "likes_count", "likes l WHERE l.kind = 2 AND l.object_id = o.id");
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("roost.log")
    }
}

/// What a command has said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: Option<i32>,
    /// Its standard output.
    pub text: String,
    /// Its standard error.
    pub errors: String,
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the server's log ---\n{}", tail(&self.log()));
        }
    }
}

/// The value of a sample without labels in Prometheus text.
pub(super) fn metric_in(text: &str, name: &str) -> Option<f64> {
    let mut samples = text.lines().filter_map(|line| line.split_once(' '));
    samples.find(|(sample, _)| *sample == name).map(|(_, value)| value.parse().expect("a number"))
}

/// The ids of list items, in order; `field` names the way to it, such as `tweet.id`.
pub fn ids(items: &Value, field: &str) -> Vec<i64> {
    let pointer = format!("/{}", field.replace('.', "/"));
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    let id = |item: &Value| item.pointer(&pointer).and_then(Value::as_i64);
    items.iter().map(|item| id(item).unwrap_or_else(|| panic!("no {field} in {item}"))).collect()
}
