//! A PostgreSQL or a Redis of the test's own, for what the shared ones must not suffer: to be
//! stopped, killed, frozen, filled up and started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use rand::RngExt;
use tempfile::TempDir;

use super::database::server_url;
use super::signals;

const READY_WITHIN: Duration = Duration::from_secs(30);
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// A process that the test can end, freeze and start again on the same port.
struct Server {
    child: Option<Child>,
}

impl Server {
    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Sends a signal that ends the process, and waits for its end.
    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        signals::send(signal, child.id());
        let asked = Instant::now();
        while child.try_wait().expect("wait for the server").is_none() {
            if asked.elapsed() > GONE_WITHIN {
                let _ = child.kill();
                panic!("the server outlived SIG{signal} by {GONE_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts `command` and waits for `ready`; false when the process has ended before that,
    /// as when the port is taken.
    fn start(&mut self, command: &mut Command, mut ready: impl FnMut() -> bool) -> bool {
        assert!(self.child.is_none(), "still running");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let begun = Instant::now();
        while !ready() {
            if child.try_wait().expect("wait for the server").is_some() {
                return false;
            }
            assert!(begun.elapsed() < READY_WITHIN, "{command:?}: not ready in {READY_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        true
    }
}

/// A port outside the range that the kernel hands out, where nobody else comes by chance.
fn random_port() -> u16 {
    rand::rng().random_range(10_000..20_000)
}

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

/// How PostgreSQL is asked to stop; `pg_ctl` knows them by the same names.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Sessions are ended, transactions rolled back.
    Fast,
    /// Without a checkpoint: the next start recovers as after a crash.
    Immediate,
}

/// A PostgreSQL of the test's own. What it has confirmed, it has handed to the kernel: it may
/// be killed, though not the machine under it.
pub struct PostgresServer {
    server: Server,
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
}

impl PostgresServer {
    /// Makes a cluster and starts it with `settings` (`name=value`).
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("make a temporary directory");
        lend(folder.path());
        let output = as_account("initdb")
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .arg("--no-sync")
            .output()
            .expect("run initdb");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {said}");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let server = Server { child: None };
        let mut postgres = Self { server, port: random_port(), folder, settings };
        while !postgres.try_start() {
            postgres.port = random_port();
        }
        postgres
    }

    fn try_start(&mut self) -> bool {
        let mut command = as_account("postgres");
        command.arg("-D").arg(self.folder.path().join("data"));
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c"]);
        command.arg(format!("unix_socket_directories={}", self.folder.path().display()));
        command.args(["-c", "fsync=off", "-c", "max_connections=60"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let (url, folder) = (self.url("postgres"), self.folder.path().join("data"));
        let ours = format!(
            "DO $$ BEGIN IF current_setting('data_directory') <> '{}' THEN RAISE 'another''s'; \
             END IF; END $$",
            folder.display()
        );
        self.server.start(&mut command, || {
            PgConnection::establish(&url).is_ok_and(|mut link| link.batch_execute(&ours).is_ok())
        })
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops it.
    pub fn stop(&mut self, how: Stop) {
        self.server.end(match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        });
    }

    /// Starts it again on the same data and port.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "the port of the private PostgreSQL is taken");
    }

    /// Stops all of its processes where they are (SIGSTOP); the postmaster first, which makes
    /// the others.
    pub fn freeze(&self) {
        let pid = self.server.pid();
        assert!(signals::send("STOP", pid));
        for child in signals::children(pid) {
            signals::send("STOP", child);
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        let pid = self.server.pid();
        for child in signals::children(pid) {
            signals::send("CONT", child);
        }
        assert!(signals::send("CONT", pid));
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.server.child.is_some() {
            self.thaw();
        }
        self.server.end("QUIT");
    }
}

/// A program of PostgreSQL. It refuses to run as root, so root lends it another account, as
/// `scripts/servers` does.
fn as_account(program: &str) -> Command {
    let program = PathBuf::from(server_url("ROOST_TEST_PG_BIN")).join(program);
    match account() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.arg("--clear-groups").arg(program);
            command
        }
    }
}

/// Gives a folder to the account that PostgreSQL runs under.
pub fn lend(folder: &Path) {
    if let Some((user, group)) = account() {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("chown");
    }
}

/// The account lent, if this is root: user and group.
fn account() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().expect("run id");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    let name = if number(&["-u", "postgres"]).is_some() { "postgres" } else { "nobody" };
    number(&["-u", name]).zip(number(&["-g", name]))
}
