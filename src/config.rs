//! Every setting: a flag and an environment variable, with its default and unit.

mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

pub use values::{Length, LogFormat, Switch};
use values::{parse_positive, parse_testing};

use crate::store::DbConfig;

/// The settings of a node.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, env = "ROOST_LISTEN", default_value = "127.0.0.1:8000", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// Another address for /metrics, which then leaves the main one
    #[arg(long, env = "ROOST_METRICS_LISTEN", value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// HTTP worker threads; 0: one per core
    #[arg(long, env = "ROOST_WORKERS", default_value_t = 0, value_name = "THREADS")]
    pub workers: usize,

    /// Requests worked on at a time; more are answered 503 at once
    #[arg(long, env = "ROOST_MAX_IN_FLIGHT", default_value_t = 1024, value_name = "REQUESTS",
          value_parser = parse_positive)]
    pub max_in_flight: usize,

    /// Open connections of clients; the limit of open files may allow fewer
    #[arg(long, env = "ROOST_MAX_CONNECTIONS", default_value_t = 25_000, value_name = "CONNECTIONS",
          value_parser = parse_positive)]
    pub max_connections: usize,

    /// Longest time for the body of a request to arrive, in milliseconds
    #[arg(long, env = "ROOST_BODY_MS", default_value_t = 30_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub body_ms: u64,

    /// Items on a page when the client asks for no page_size
    #[arg(long, env = "ROOST_PAGE_SIZE", default_value_t = 20, value_name = "ITEMS",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub page_size: u32,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub feeds: FeedConfig,

    /// How long a cached list lives in Redis, in seconds
    #[arg(long, env = "ROOST_LIST_TTL_S", default_value_t = 604_800, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub list_ttl_s: u64,

    /// Entries kept in memory over all timelines, each counted as 96 more; the least recently
    /// used timelines go first
    #[arg(
        long,
        env = "ROOST_RESIDENT_ENTRIES",
        default_value_t = 20_000_000,
        value_name = "ENTRIES"
    )]
    pub resident_entries: usize,

    /// A timeline not read for so long leaves memory, in seconds
    #[arg(long, env = "ROOST_TIMELINE_IDLE_S", default_value_t = 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub timeline_idle_s: u64,

    /// Tweets kept in the in-process cache
    #[arg(long, env = "ROOST_TWEET_CACHE", default_value_t = 200_000, value_name = "TWEETS")]
    pub tweet_cache: usize,

    /// Memory for first pages that are asked for again and again, in MiB; 0: none are kept
    #[arg(long, env = "ROOST_PAGE_CACHE_MB", default_value_t = 128, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub page_cache_mb: u32,

    /// The followee's latest tweets that appear in the feed on follow
    #[arg(long, env = "ROOST_BACKFILL", default_value_t = 20, value_name = "TWEETS",
          value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub backfill: u32,

    /// How long finished fan-out tasks are kept, in seconds
    #[arg(long, env = "ROOST_KEEP_TASKS_S", default_value_t = 86_400, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    pub keep_tasks_s: u64,

    /// Entries kept of each feed in the database, at least ROOST_LIST_LIMIT; 0: all
    #[arg(long, env = "ROOST_FEED_RETENTION", default_value_t = 0, value_name = "ENTRIES",
          value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub feed_retention: u64,

    /// How long after one trimming of the feeds has ended the next one begins, in seconds
    #[arg(long, env = "ROOST_TRIM_EVERY_S", default_value_t = 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub trim_every_s: u64,

    /// Length of a user name
    #[arg(long, env = "ROOST_USERNAME_LENGTH", default_value = "3..20", value_name = "MIN..MAX")]
    pub username_length: Length,

    /// Length of a password
    #[arg(long, env = "ROOST_PASSWORD_LENGTH", default_value = "8..128", value_name = "MIN..MAX")]
    pub password_length: Length,

    /// Length of a tweet, in code points
    #[arg(long, env = "ROOST_TWEET_LENGTH", default_value = "1..255", value_name = "MIN..MAX")]
    pub tweet_length: Length,

    /// Length of a comment, in code points
    #[arg(long, env = "ROOST_COMMENT_LENGTH", default_value = "1..140", value_name = "MIN..MAX")]
    pub comment_length: Length,

    /// Rate limits per address and account; off for load tests
    #[arg(
        long,
        env = "ROOST_RATE_LIMITS",
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    pub rate_limits: Switch,

    /// Proxies (addresses or networks, comma separated) whose X-Forwarded-For and -Proto count
    #[arg(long, env = "ROOST_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR,...")]
    pub trusted_proxies: Vec<String>,

    /// Origins whose pages may use the API from a browser, with cookies; * lets all in, without
    #[arg(long, env = "ROOST_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGIN,...")]
    pub cors_origins: Vec<String>,

    /// Packs pages with gzip for clients that ask; off behind a proxy that does it
    #[arg(
        long,
        env = "ROOST_GZIP",
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    pub gzip: Switch,

    /// 1 allows clearing Redis; for tests only
    #[arg(long, env = "ROOST_TESTING", value_name = "1", action = clap::ArgAction::Set, value_parser = parse_testing,
          default_value = "0", hide_default_value = true)]
    pub testing: bool,

    /// Form of the log on standard error
    #[arg(long, env = "ROOST_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// URL of an OTLP/HTTP collector to export traces to (cargo feature otel)
    #[arg(long, env = "ROOST_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// What to log: a level, or levels by module: warn,roost::fanout=debug
    #[arg(long, env = "ROOST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    // Last, since each has a heading of its own, which holds for all that follows.
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub storage: StorageConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's own help")]
    pub limits: crate::limits::Settings,
}

impl Config {
    /// Entries kept of each feed; `None`: all.
    pub fn retention(&self) -> Option<u64> {
        (self.feed_retention > 0).then_some(self.feed_retention)
    }

    /// Bytes of first pages that are kept.
    pub fn page_cache_bytes(&self) -> u64 {
        u64::from(self.page_cache_mb) * 1024 * 1024
    }

    /// What one setting alone cannot tell.
    ///
    /// # Errors
    /// When settings contradict each other; the text names them.
    pub fn check(&self) -> anyhow::Result<()> {
        let list_limit = u64::from(self.feeds.list_limit);
        // What is cached of a feed must be there in the database.
        anyhow::ensure!(
            self.retention().is_none_or(|keep| keep >= list_limit),
            "ROOST_FEED_RETENTION must be 0 or at least ROOST_LIST_LIMIT ({list_limit})"
        );
        Ok(())
    }
}

/// What belongs in a feed; shared with the commands that look at feeds.
#[derive(Debug, Clone, Args)]
pub struct FeedConfig {
    /// Entries cached per timeline, in memory and in Redis
    #[arg(long, env = "ROOST_LIST_LIMIT", default_value_t = 1000, value_name = "ENTRIES",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub list_limit: u32,

    /// Whether the followee's tweets leave the feed on unfollow
    #[arg(
        long,
        env = "ROOST_REMOVE_ON_UNFOLLOW",
        default_value = "on",
        value_name = "on|off",
        hide_possible_values = true
    )]
    pub remove_on_unfollow: Switch,
}

/// Where data lives; shared by every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database, Redis and photos")]
pub struct StorageConfig {
    /// Folder of the SQLite file and the photos; made if missing
    #[arg(long, env = "ROOST_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// postgres://... or sqlite:PATH; unset: SQLite in the data directory
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// redis://...; unset: no Redis tier
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,

    /// Folder or s3://bucket URL (cargo feature s3) of photos; unset: media in the data directory
    #[arg(long, env = "ROOST_MEDIA_URL", value_name = "URL")]
    pub media_url: Option<String>,

    /// Database connections for reading
    #[arg(long, env = "ROOST_DB_READERS", default_value_t = 8, value_name = "CONNECTIONS",
          value_parser = clap::value_parser!(u32).range(1..=500))]
    pub db_readers: u32,

    /// Database connections for writing (Postgres; SQLite has one writer)
    #[arg(long, env = "ROOST_DB_WRITERS", default_value_t = 6, value_name = "CONNECTIONS",
          value_parser = clap::value_parser!(u32).range(2..=500))]
    pub db_writers: u32,

    /// Longest wait for a database connection, or for a locked SQLite file, in milliseconds
    #[arg(long, env = "ROOST_DB_WAIT_MS", default_value_t = 2000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub db_wait_ms: u64,

    /// Longest run of one SQL statement, in milliseconds (Postgres)
    #[arg(long, env = "ROOST_DB_STATEMENT_MS", default_value_t = 5000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub db_statement_ms: u64,

    /// Longest wait for one answer of Redis, in milliseconds
    #[arg(long, env = "ROOST_REDIS_TIMEOUT_MS", default_value_t = 100, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub redis_timeout_ms: u64,
}

impl StorageConfig {
    /// The database, as the store wants it.
    pub fn database(&self) -> DbConfig {
        let url = match self.database_url.as_deref() {
            Some(url) if !url.is_empty() => url.to_owned(),
            _ => format!("sqlite:{}", self.data_dir.join("roost.db").display()),
        };
        DbConfig {
            url,
            read_connections: self.db_readers,
            write_connections: self.db_writers,
            acquire_timeout: Duration::from_millis(self.db_wait_ms),
            statement_timeout: Duration::from_millis(self.db_statement_ms),
            max_waiting: 4096,
        }
    }

    /// The Redis URL, if the tier is configured.
    pub fn redis(&self) -> Option<&str> {
        self.redis_url.as_deref().filter(|url| !url.is_empty())
    }
}
