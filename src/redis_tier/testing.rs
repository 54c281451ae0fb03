//! Redis for tests: a database number of the shared server, or a server of one's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Client, Cmd, Commands, Connection, FromRedisValue};

use super::{Owner, RedisConfig, RedisTier};
use crate::store::testing::TestDb;
use crate::store::{Db, cache_state, nodes};

/// How long a test waits for a state before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A claim outlives a killed test run by so long.
const CLAIM_S: u64 = 600;

/// Database numbers of the shared server; 0 holds the claims.
const NUMBERS: std::ops::Range<u32> = 1..512;

/// An empty Redis database that nobody else uses.
pub(crate) struct TestRedis {
    pub(crate) url: String,
    claims: Connection,
    number: u32,
}

impl TestRedis {
    /// Claims an empty database of the shared server.
    ///
    /// # Panics
    /// When ROOST_TEST_REDIS is unset: `./scripts/test` starts a server and sets it.
    pub(crate) fn claim() -> TestRedis {
        let server = std::env::var("ROOST_TEST_REDIS")
            .expect("ROOST_TEST_REDIS is not set: run the tests with ./scripts/test");
        let server = server.trim_end_matches('/');
        let mut claims = connect(&format!("{server}/0"));
        let number = NUMBERS
            .into_iter()
            .find(|number| {
                let mut claim = redis::cmd("SET");
                claim.arg(claim_of(*number)).arg(std::process::id()).arg("NX");
                claim.arg("EX").arg(CLAIM_S).query::<bool>(&mut claims).unwrap()
            })
            .expect("a free database number");
        let redis = TestRedis { url: format!("{server}/{number}"), claims, number };
        redis::cmd("FLUSHDB").exec(&mut redis.connect()).unwrap();
        redis
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> Connection {
        connect(&self.url)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = self.claims.del::<_, ()>(claim_of(self.number));
    }
}

fn claim_of(number: u32) -> String {
    format!("roost-test-claim:{number}")
}

fn connect(url: &str) -> Connection {
    Client::open(url).unwrap().get_connection().expect("the test server answers")
}

/// A server of the test's own, to be frozen, filled up and killed.
pub(crate) struct PrivateRedis {
    pub(crate) url: String,
    folder: tempfile::TempDir,
    server: Child,
}

impl PrivateRedis {
    /// Starts one on a Unix socket.
    ///
    /// # Panics
    /// When ROOST_TEST_REDIS_SERVER is unset.
    pub(crate) fn start() -> PrivateRedis {
        let folder = tempfile::tempdir().unwrap();
        let server = spawn(&folder.path().join("redis.sock"), folder.path());
        let url = format!("redis+unix://{}", folder.path().join("redis.sock").display());
        let redis = PrivateRedis { url, folder, server };
        redis.await_answer();
        redis
    }

    fn await_answer(&self) {
        let deadline = Instant::now() + PATIENCE;
        while Client::open(self.url.as_str()).unwrap().get_connection().is_err() {
            assert!(Instant::now() < deadline, "the private server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> Connection {
        connect(&self.url)
    }

    /// Runs a command.
    pub(crate) fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut cmd = Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        cmd.query(&mut self.connect()).unwrap()
    }

    /// Stops answering without closing anything.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Answers again.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.server.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Dies, and starts again with what the snapshot in the folder holds.
    pub(crate) fn crash_and_restart(&mut self) {
        self.kill();
        self.server = spawn(&self.folder.path().join("redis.sock"), self.folder.path());
        self.await_answer();
    }

    fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(socket: &std::path::Path, folder: &std::path::Path) -> Child {
    let binary: PathBuf = std::env::var_os("ROOST_TEST_REDIS_SERVER")
        .expect("ROOST_TEST_REDIS_SERVER is not set: run the tests with ./scripts/test")
        .into();
    let _ = std::fs::remove_file(socket);
    Command::new(binary)
        .args(["--port", "0", "--save", "", "--dir"])
        .arg(folder)
        .arg("--unixsocket")
        .arg(socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("the server's binary runs")
}

/// Settings for tests: impatient upkeep, patient calls (the machine may be busy).
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig {
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        probe_every: Duration::from_millis(10),
        clean_every: Duration::from_millis(20),
        testing: true,
        ..RedisConfig::new(url)
    }
}

/// A tier that is up.
pub(crate) async fn up(config: RedisConfig, db: &Db) -> RedisTier {
    let tier = RedisTier::start(config, db.clone(), Owner::nameless()).unwrap();
    assert!(tier.wait_until_up(PATIENCE).await, "the tier comes up");
    tier
}

/// Waits until `holds` does.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "does not happen: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The cache state in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheState {
    pub(crate) epoch: i64,
    pub(crate) dirty: bool,
}

/// The epoch, and whether the nameless node is dirty.
pub(crate) fn state(test: &TestDb) -> CacheState {
    test.db
        .read_blocking(|conn| {
            let dirty = nodes::is_dirty(conn, nodes::NAMELESS)?;
            Ok(CacheState { epoch: cache_state::epoch(conn)?, dirty })
        })
        .unwrap()
}
