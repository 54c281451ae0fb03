//! A PostgreSQL of the test's own, and the account that it runs under.

use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use tempfile::TempDir;

use super::{Server, random_port};
use crate::harness::database::server_url;
use crate::harness::signals;

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
