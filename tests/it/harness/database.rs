//! A database per test, and the sight of it that checks need.
//!
//! PostgreSQL: the migrations run once per test process into a template, and each test
//! gets a copy of it, which takes tens of milliseconds. SQLite: the server makes the
//! file itself, in the test's own directory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::process::roost_command;
use super::servers::{PostgresServer, lend};

/// Where one test's data is.
pub enum Database {
    /// The data directory: the file's name in it is the server's own business.
    Sqlite { folder: PathBuf },
    /// A database of its own; `admin` is the URL of another one on the same server. Dropped
    /// with this value, unless the server goes with the test, too.
    Postgres { name: String, admin: String, lasting: bool },
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    t: String,
}

enum Link {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    /// A fresh, migrated PostgreSQL database.
    pub fn postgres() -> Self {
        Self::copy_of(template())
    }

    /// A fresh PostgreSQL database without tables.
    pub fn empty() -> Self {
        Self::copy_of("template0")
    }

    fn copy_of(template: &str) -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("roost_it_{}_{number}", std::process::id());
        let admin = admin_url();
        run(&admin, &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self::Postgres { name, admin, lasting: true }
    }

    /// A fresh, empty database on a server of the test's own, with its files in a folder of
    /// their own.
    pub fn on(server: &PostgresServer, folder: Option<&Path>) -> Self {
        let (name, admin) = ("roost_it".to_owned(), server.url("postgres"));
        let mut place = String::new();
        if let Some(folder) = folder {
            std::fs::create_dir(folder).expect("make the folder of the tablespace");
            lend(folder);
            run(&admin, &format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
            place = "TABLESPACE small".to_owned();
        }
        run(&admin, &format!("CREATE DATABASE {name} {place}"));
        Self::Postgres { name, admin, lasting: false }
    }

    /// Makes the tables of the first release, where there are none, and fills them.
    pub fn make_first_schema(&self, data: &str) {
        let tables = match self {
            Self::Sqlite { folder } => {
                std::fs::create_dir_all(folder).expect("make the data directory");
                // Where the server looks for its file when it is told nothing else.
                let file = folder.join("roost.db");
                let mut link =
                    SqliteConnection::establish(&file.to_string_lossy()).expect("make a file");
                link.batch_execute("PRAGMA journal_mode = WAL").expect("a file as the server's");
                include_str!("../../../migrations/sqlite/2026-11-01-000000_initial/up.sql")
            }
            Self::Postgres { .. } => {
                include_str!("../../../migrations/postgres/2026-11-01-000000_initial/up.sql")
            }
        };
        let noted = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY \
             NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
             INSERT INTO __diesel_schema_migrations (version) VALUES ('20261101000000');";
        self.execute(&format!("BEGIN; {tables} {noted} {data}; COMMIT"));
    }

    /// The URL to give to the server; None where it finds its file itself.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { name, admin, .. } => Some(url_of(admin, name)),
        }
    }

    /// The numbers in the column `n` of a query.
    pub fn numbers(&self, query: &str) -> Vec<i64> {
        let rows: Result<Vec<Number>, _> = match self.connect() {
            Link::Sqlite(mut link) => sql_query(query).load(&mut link),
            Link::Postgres(mut link) => sql_query(query).load(&mut link),
        };
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().map(|row| row.n).collect()
    }

    /// The texts in the column `t` of a query.
    pub fn texts(&self, query: &str) -> Vec<String> {
        let rows: Result<Vec<Line>, _> = match self.connect() {
            Link::Sqlite(mut link) => sql_query(query).load(&mut link),
            Link::Postgres(mut link) => sql_query(query).load(&mut link),
        };
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().map(|row| row.t).collect()
    }

    /// Runs a statement behind the server's back.
    pub fn execute(&self, statement: &str) {
        let done = match self.connect() {
            Link::Sqlite(mut link) => link.batch_execute(statement),
            Link::Postgres(mut link) => link.batch_execute(statement),
        };
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// Makes PostgreSQL refuse every connection to this database, or accept them again.
    pub fn set_reachable(&self, reachable: bool) {
        let Self::Postgres { name, admin, .. } = self else {
            panic!("SQLite has no connection to lose");
        };
        run(admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {reachable}"));
        if !reachable {
            self.end_sessions();
        }
    }

    /// Ends all sessions of PostgreSQL on this database.
    pub fn end_sessions(&self) {
        let Self::Postgres { name, admin, .. } = self else { panic!("SQLite has no sessions") };
        run(
            admin,
            &format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ),
        );
    }

    /// A session on PostgreSQL.
    pub fn session(&self) -> PgConnection {
        match self.connect() {
            Link::Postgres(link) => link,
            Link::Sqlite(_) => panic!("SQLite has no sessions"),
        }
    }

    fn connect(&self) -> Link {
        match self {
            Self::Sqlite { folder } => {
                let file = sqlite_file(folder);
                let mut link =
                    SqliteConnection::establish(&file.to_string_lossy()).expect("open SQLite");
                // The server may be writing: wait for it as any second process would.
                link.batch_execute("PRAGMA busy_timeout = 10000").expect("set busy_timeout");
                Link::Sqlite(link)
            }
            Self::Postgres { name, admin, .. } => Link::Postgres(
                PgConnection::establish(&url_of(admin, name)).expect("connect to PostgreSQL"),
            ),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { name, admin, lasting: true } = self {
            // While a failed test unwinds, a second panic here would hide the first.
            if let Ok(mut link) = PgConnection::establish(admin) {
                let _ = link.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            }
        }
    }
}

/// The one SQLite file in the data directory, told by its first bytes.
fn sqlite_file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("list the data directory");
    let is_database = |path: &PathBuf| {
        path.is_file()
            && std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"))
    };
    let mut files = entries.map(|entry| entry.expect("directory entry").path()).filter(is_database);
    let file = files.next().expect("a SQLite file in the data directory");
    assert_eq!(files.next(), None, "more than one SQLite file in the data directory");
    file
}

/// The name of the migrated template, made by the first test that asks.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let name = format!("roost_it_template_{}", std::process::id());
        let admin = admin_url();
        run(&admin, &format!("CREATE DATABASE {name}"));
        let output = roost_command()
            .arg("migrate")
            .env("DATABASE_URL", url_of(&admin, &name))
            .output()
            .expect("run roost migrate");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "roost migrate failed: {log}");
        name
    })
}

fn run(admin: &str, statement: &str) {
    let mut link = PgConnection::establish(admin).expect("connect to PostgreSQL");
    link.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn admin_url() -> String {
    server_url("ROOST_TEST_POSTGRES")
}

/// The server's URL with another database at its end.
fn url_of(admin: &str, database: &str) -> String {
    let (server, _) = admin.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{database}")
}

/// A server that the tests need. They never skip: a suite that passes by not running is a lie.
pub fn server_url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with ./scripts/test"))
}
