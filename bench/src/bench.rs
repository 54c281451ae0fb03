//! What every part is given.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use anyhow::Context;
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use crate::progress::Progress;

/// How much time the figures may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Everything in under three minutes: enough to see that it works.
    Quick,
    /// Everything in under thirty minutes: figures to be written down.
    Full,
}

/// The servers, programs and folders of one run.
pub struct Bench {
    /// How much time the figures may take.
    pub effort: Effort,
    /// What is going on, on standard error.
    pub progress: Progress,
    /// The service, built as its users build it.
    pub roost: PathBuf,
    /// The bare handler.
    pub bare: PathBuf,
    /// What counts the bytes of a timeline.
    pub weigh: PathBuf,
    /// Where the report goes, and everything that is thrown away below it.
    pub folder: PathBuf,
    /// URL of PostgreSQL's superuser; fsync is on.
    postgres: String,
    /// `redis://127.0.0.1:PORT`, with 512 databases.
    redis: String,
    last: Cell<usize>,
}

impl Bench {
    /// Takes the servers from the environment, as `scripts/servers` exports them, and the
    /// programs from the folder of this one.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn from_environment(effort: Effort, folder: PathBuf) -> anyhow::Result<Bench> {
        let variable = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set: use scripts/bench"))
        };
        let own = std::env::current_exe()?;
        let programs = own.parent().context("this program lies in no folder")?;
        let program = |name: &str| -> anyhow::Result<PathBuf> {
            let path = programs.join(name);
            anyhow::ensure!(path.exists(), "{} is not built: use scripts/bench", path.display());
            Ok(path)
        };
        let bench = Bench {
            effort,
            progress: Progress::default(),
            roost: program("roost")?,
            bare: program("roost-bare")?,
            weigh: program("roost-weigh")?,
            folder,
            postgres: variable("ROOST_TEST_POSTGRES")?,
            redis: variable("ROOST_TEST_REDIS")?,
            last: Cell::new(0),
        };
        std::fs::create_dir_all(bench.scratch())?;
        Ok(bench)
    }

    /// One value for a quick run and one for a full one: rounds, seconds, sizes.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// The folder of what is thrown away after the run.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// A new folder below [`Bench::scratch`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.scratch().join(format!("{}", self.number()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The URL of a new, empty PostgreSQL database, or of a copy of `template`, which nobody
    /// may be connected to.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn new_postgres(&self, template: Option<&str>) -> anyhow::Result<String> {
        let name = format!("bench_{}_{}", std::process::id(), self.number());
        let template = template.and_then(|url| url.rsplit('/').next());
        let from = template.map(|name| format!(" TEMPLATE {name}")).unwrap_or_default();
        self.admin(&format!("CREATE DATABASE {name}{from}"))?;
        let server = self.postgres.rsplit_once('/').map_or("", |(server, _)| server);
        Ok(format!("{server}/{name}"))
    }

    /// Drops a database made by [`Bench::new_postgres`].
    ///
    /// # Errors
    /// When the server refuses.
    pub fn drop_postgres(&self, url: &str) -> anyhow::Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.admin(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    }

    /// The URL of a Redis database that nothing else uses in this run.
    pub fn new_redis(&self) -> String {
        format!("{}/{}", self.redis, self.number() % 512)
    }

    /// Runs a statement as the superuser, outside a transaction.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn admin(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::establish(&self.postgres)?;
        connection.batch_execute(statement).with_context(|| statement.to_owned())
    }

    /// Where the service writes its log.
    pub fn log(&self, of: &Path) -> PathBuf {
        let name = of.file_name().map_or("log".into(), |name| name.to_string_lossy().into_owned());
        self.scratch().join(format!("{name}.log"))
    }

    fn number(&self) -> usize {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }
}
