//! A Roost of the test's own, from start to stop.

mod builder;
mod inspection;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use self::builder::Builder;
pub(super) use self::inspection::metric_in;
use super::client::Client;
use super::database::Database;
use super::node::Node;
use super::process::{Process, tail};
use super::proxy::Proxy;
use super::redis_tier::RedisTier;
use super::servers::{PostgresServer, RedisServer};
use super::{Setup, Value, json};

/// Longest wait for what goes on in the background to end.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait of a server that has started for its Redis.
const REDIS_WITHIN: Duration = Duration::from_secs(10);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

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
        Builder::new(setup)
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

    /// Waits until the server has found its Redis, if it has one: it does not wait for that when it
    /// starts.
    pub fn wait_for_redis(&self) {
        let asked = Instant::now();
        while self.setup == Setup::PostgresRedis && self.metric("roost_redis_up") != Some(1.0) {
            assert!(asked.elapsed() < REDIS_WITHIN, "no Redis within {REDIS_WITHIN:?}");
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

    /// Lets the peak begin anew; the memory that the server has now, in KiB.
    pub fn begin_peak(&self) -> u64 {
        let id = self.process.as_ref().expect("a running process").id();
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").expect("/proc");
        self.memory_kib()
    }

    /// The most resident memory that the server has had, ever or since [`App::begin_peak`], in
    /// KiB (Linux).
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

    fn log(&self) -> PathBuf {
        self.folder.path().join("roost.log")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the server's log ---\n{}", tail(&self.log()));
        }
    }
}

/// The ids of list items, in order; `field` names the way to it, such as `tweet.id`.
pub fn ids(items: &Value, field: &str) -> Vec<i64> {
    let pointer = format!("/{}", field.replace('.', "/"));
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    let id = |item: &Value| item.pointer(&pointer).and_then(Value::as_i64);
    items.iter().map(|item| id(item).unwrap_or_else(|| panic!("no {field} in {item}"))).collect()
}
