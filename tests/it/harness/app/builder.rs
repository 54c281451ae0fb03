//! How a Roost of the test's own comes to be.

use std::collections::BTreeMap;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::App;
use crate::harness::Setup;
use crate::harness::database::Database;
use crate::harness::process::{Process, roost_command};
use crate::harness::proxy::Proxy;
use crate::harness::redis_tier::RedisTier;
use crate::harness::servers::{PostgresServer, RedisServer};

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
    log: Option<PipeWriter>,
}

impl Builder {
    pub(super) fn new(setup: Setup) -> Builder {
        Builder {
            setup,
            environment: BTreeMap::new(),
            before: None,
            postgres: None,
            redis: None,
            proxied: false,
            data: None,
            tablespace: None,
            open_files: None,
            log: None,
        }
    }

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

    /// Lets the first process write its log into a pipe.
    pub fn log_into(mut self, pipe: PipeWriter) -> Self {
        self.log = Some(pipe);
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
        let process = match self.log {
            Some(pipe) => Process::start_on(pipe.into(), &environment, &log, self.open_files),
            None => Process::start(&environment, &log, self.open_files),
        };
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
