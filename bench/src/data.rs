//! Databases to measure on, and sessions in them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use roost::accounts::sessions::{LIFETIME, new_token};

use crate::Bench;
use crate::process::without_settings;

/// What the service keeps its data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// A SQLite file, synchronous=FULL.
    Sqlite,
    /// PostgreSQL with fsync on.
    Postgres,
    /// The same with Redis in front.
    PostgresRedis,
}

/// A database of a part's own. It stays until the run ends, unless [`Data::discard`] is called.
#[derive(Debug, Clone)]
pub struct Data {
    /// On what.
    pub setup: Setup,
    /// The data directory: the SQLite file and photos.
    pub folder: PathBuf,
    /// Of the PostgreSQL database.
    pub postgres: Option<String>,
    /// Of the Redis database.
    pub redis: Option<String>,
}

impl Data {
    /// A database without a schema; the service brings it at its start.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn empty(bench: &Bench, setup: Setup) -> anyhow::Result<Data> {
        let postgres = match setup {
            Setup::Sqlite => None,
            Setup::Postgres | Setup::PostgresRedis => Some(bench.new_postgres(None)?),
        };
        Data::around(bench, setup, postgres)
    }

    /// A database filled by `roost seed` with `flags`, such as `["--users", "1000"]`.
    ///
    /// # Errors
    /// When seeding fails.
    pub fn seeded(bench: &Bench, setup: Setup, flags: &[&str]) -> anyhow::Result<Data> {
        let data = Data::empty(bench, setup)?;
        bench.progress.step(&format!("seeding {}", flags.join(" ")));
        let output = without_settings(&bench.roost)
            .arg("seed")
            .args(flags)
            .envs(data.environment())
            .stdout(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "roost seed {flags:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if let Some(url) = &data.postgres {
            // What autovacuum would do sooner or later, done before and not while measuring.
            PgConnection::establish(url)?.batch_execute("VACUUM ANALYZE")?;
        }
        Ok(data)
    }

    /// A copy, made by the server or the file system; nobody may be connected.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copy(&self, bench: &Bench) -> anyhow::Result<Data> {
        let postgres = match &self.postgres {
            Some(url) => Some(bench.new_postgres(Some(url))?),
            None => None,
        };
        let copy = Data::around(bench, self.setup, postgres)?;
        if self.setup == Setup::Sqlite {
            for entry in std::fs::read_dir(&self.folder)? {
                let file = entry?.path();
                if file.is_file() {
                    let name = file.file_name().context("a file without a name")?;
                    std::fs::copy(&file, copy.folder.join(name))?;
                }
            }
        }
        Ok(copy)
    }

    /// Removes it, to give its space back before the run ends.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn discard(self, bench: &Bench) -> anyhow::Result<()> {
        if let Some(url) = &self.postgres {
            bench.drop_postgres(url)?;
        }
        std::fs::remove_dir_all(&self.folder).context("cannot remove a data directory")
    }

    /// The settings that make the service use it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("ROOST_DATA_DIR", self.folder.display().to_string())];
        all.extend(self.postgres.clone().map(|url| ("DATABASE_URL", url)));
        all.extend(self.redis.clone().map(|url| ("REDIS_URL", url)));
        all
    }

    /// The SQLite file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("roost.db")
    }

    /// Opens a session for each of `users`, straight in the database: a login costs a password
    /// hash, which is not what is measured. Returns `sessionid=TOKEN` for each.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn log_in(&self, users: RangeInclusive<i64>) -> anyhow::Result<Vec<String>> {
        const ROWS: usize = 1_000;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
        let ends = now + LIFETIME.as_micros();
        let mut cookies = Vec::new();
        let mut rows = Vec::with_capacity(ROWS);
        let bytes = match self.setup {
            Setup::Sqlite => |hex: &str| format!("X'{hex}'"),
            Setup::Postgres | Setup::PostgresRedis => |hex: &str| format!("'\\x{hex}'"),
        };
        let last = *users.end();
        for user in users {
            let (token, hash) = new_token().context("no randomness")?;
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            rows.push(format!("({},{user},1,{now},{ends})", bytes(&hex)));
            cookies.push(format!("sessionid={token}"));
            if rows.len() == ROWS || user == last {
                self.execute(&format!(
                    "INSERT INTO sessions (token_hash, user_id, kind, created_at, expires_at) \
                     VALUES {}",
                    rows.join(",")
                ))?;
                rows.clear();
            }
        }
        Ok(cookies)
    }

    /// Runs statements straight on the database.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn execute(&self, statements: &str) -> anyhow::Result<()> {
        match &self.postgres {
            Some(url) => PgConnection::establish(url)?.batch_execute(statements)?,
            None => {
                let mut connection = SqliteConnection::establish(&path_text(&self.file())?)?;
                connection.batch_execute("PRAGMA busy_timeout = 10000")?;
                connection.batch_execute(statements)?;
            }
        }
        Ok(())
    }

    /// The service's own way to the database, for parts that measure without HTTP. Its schema
    /// must be there.
    ///
    /// # Errors
    /// When the URL is refused.
    pub fn open(&self) -> anyhow::Result<roost::store::Db> {
        let url = match &self.postgres {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", path_text(&self.file())?),
        };
        roost::store::Db::open(&roost::store::DbConfig {
            url,
            read_connections: 8,
            write_connections: 6,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            max_waiting: 4096,
        })
    }

    fn around(bench: &Bench, setup: Setup, postgres: Option<String>) -> anyhow::Result<Data> {
        let redis = (setup == Setup::PostgresRedis).then(|| bench.new_redis());
        Ok(Data { setup, folder: bench.new_folder()?, postgres, redis })
    }
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).context("the path is not UTF-8")
}
