//! A Redis of the test's own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{Server, random_port};
use crate::harness::database::server_url;
use crate::harness::signals;

/// A Redis of the test's own, without persistence.
pub struct RedisServer {
    server: Server,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let mut redis = Self { server: Server { child: None }, port: random_port(), folder };
        while !redis.try_start() {
            redis.port = random_port();
        }
        redis
    }

    fn try_start(&mut self) -> bool {
        self.try_start_with(&[])
    }

    fn try_start_with(&mut self, arguments: &[&str]) -> bool {
        let mut command = Command::new(server_url("ROOST_TEST_REDIS_SERVER"));
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(arguments);
        let (url, folder) = (self.url(), self.folder.path().to_owned());
        self.server.start(&mut command, || {
            let Ok(mut link) = open(&url) else { return false };
            // Whoever answers must be ours, and not another test's on the same port.
            let ours: redis::RedisResult<(String, String)> =
                redis::cmd("CONFIG").arg("GET").arg("dir").query(&mut link);
            ours.is_ok_and(|(_, dir)| Path::new(&dir) == folder.canonicalize().expect("a folder"))
        })
    }

    /// The URL to give to the service.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> redis::Connection {
        open(&self.url()).expect("connect to the private Redis")
    }

    /// Runs one command, such as `["CONFIG", "SET", "maxmemory", "1mb"]`.
    pub fn run(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.exec(&mut self.connect()).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        self.server.end("KILL");
    }

    /// Starts it again on the same port: empty, since nothing was saved.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "the port of the private Redis is taken");
    }

    /// Saves a snapshot, made larger by so many keys of no meaning.
    pub fn save_with_ballast(&self, keys: usize) {
        let mut pipe = redis::pipe();
        for key in 0..keys {
            pipe.set(format!("ballast:{key}"), key).ignore();
        }
        pipe.exec(&mut self.connect()).expect("SET ballast");
        self.run(&["SAVE"]);
    }

    /// Starts it again on its snapshot; each key takes it `per_key` to load.
    pub fn start_loading(&mut self, per_key: Duration) {
        let per_key = per_key.as_micros().to_string();
        let arguments = ["--key-load-delay", &per_key, "--loading-process-events-interval-bytes"];
        let started = self.try_start_with(&[&arguments[..], &["1024"]].concat());
        assert!(started, "the port of the private Redis is taken");
    }

    /// Whether it is still loading its snapshot.
    pub fn is_loading(&self) -> bool {
        self.info("loading") == 1
    }

    /// A number from its INFO.
    pub fn info(&self, name: &str) -> u64 {
        let text: String = redis::cmd("INFO").query(&mut self.connect()).expect("INFO");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The type of a key, in its words; `none` when there is no such key.
    pub fn type_of(&self, key: &str) -> String {
        redis::cmd("TYPE").arg(key).query(&mut self.connect()).expect("TYPE")
    }

    /// Stops it in the middle of whatever it does (SIGSTOP).
    pub fn freeze(&self) {
        assert!(signals::send("STOP", self.server.pid()));
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        assert!(signals::send("CONT", self.server.pid()));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.server.end("KILL");
    }
}

fn open(url: &str) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))
}
