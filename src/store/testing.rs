//! Fresh databases for tests of queries, one per engine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use super::{Db, DbConfig, Engine, migrations};

/// A migrated database that goes away with this value.
pub(crate) struct TestDb {
    pub(crate) name: &'static str,
    pub(crate) db: Db,
    /// How it was opened.
    pub(crate) config: DbConfig,
    /// The folder of a SQLite file, or the admin URL and name of a Postgres database.
    #[expect(dead_code, reason = "removed when dropped")]
    place: Place,
}

enum Place {
    Folder(#[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir),
    Server { admin: String, name: String },
}

impl TestDb {
    /// The same engine where nobody answers.
    pub(crate) fn unreachable(&self) -> Db {
        let url = match self.db.engine() {
            Engine::Postgres => "postgres://nobody@127.0.0.1:1/nothing",
            Engine::Sqlite => "sqlite:/nowhere/at/all.db",
        };
        let acquire_timeout = Duration::from_millis(100);
        let config = DbConfig { url: url.into(), acquire_timeout, ..self.config.clone() };
        Db::open(&config).expect("nothing is connected to yet")
    }
}

/// One fresh database per engine.
///
/// # Panics
/// When ROOST_TEST_POSTGRES is unset: `./scripts/test` starts a server and sets it.
pub(crate) fn databases() -> Vec<TestDb> {
    vec![sqlite(), postgres()]
}

/// A fresh SQLite file.
pub(crate) fn sqlite() -> TestDb {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    open("sqlite", config(url), Place::Folder(folder))
}

/// A fresh database on the test server.
pub(crate) fn postgres() -> TestDb {
    let EmptyDb { config, place } = empty_postgres();
    open("postgres", config, place)
}

/// A database on the test server without tables, which goes away with this value.
pub(crate) struct EmptyDb {
    pub(crate) config: DbConfig,
    place: Place,
}

/// A fresh database without tables.
pub(crate) fn empty_postgres() -> EmptyDb {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let admin = std::env::var("ROOST_TEST_POSTGRES")
        .expect("ROOST_TEST_POSTGRES is not set: run the tests with ./scripts/test");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roost_unit_{}_{number}", std::process::id());
    let mut conn = PgConnection::establish(&admin).expect("the test server answers");
    conn.batch_execute(&format!("CREATE DATABASE {name}")).expect("a fresh database");
    let (base, query) = match admin.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (admin.as_str(), String::new()),
    };
    let server = base.rsplit_once('/').expect("a URL with a database name").0;
    let url = format!("{server}/{name}{query}");
    EmptyDb { config: config(url), place: Place::Server { admin, name } }
}

fn config(url: String) -> DbConfig {
    DbConfig {
        url,
        read_connections: 4,
        write_connections: 4,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
        max_waiting: 10_000,
    }
}

fn open(name: &'static str, config: DbConfig, place: Place) -> TestDb {
    migrations::run(&config).expect("migrations run");
    let db = Db::open(&config).expect("a valid URL");
    TestDb { name, db, config, place }
}

impl TestDb {
    /// A session of the test's own, on Postgres.
    pub(crate) fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.config.url).expect("the test server answers")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Server { admin, name } = self
            && let Ok(mut conn) = PgConnection::establish(admin)
        {
            let _ = conn.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}
