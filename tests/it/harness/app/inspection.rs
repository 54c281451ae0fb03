//! What a test sees of an app behind its back: the database, Redis, metrics, commands.

use std::process::Output;
use std::time::{Duration, Instant};

use diesel::PgConnection;

use super::{App, QUIET_WITHIN};
use crate::harness::process::roost_command;
use crate::harness::redis_tier::RedisTier;

/// Gauges that are zero when nothing works in the background.
const BACKGROUND: [&str; 2] = ["roost_fanout_tasks_open", "roost_notifications_pending"];

/// What a command has said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: Option<i32>,
    /// Its standard output.
    pub text: String,
    /// Its standard error.
    pub errors: String,
}

impl App {
    /// A session of the test's own on PostgreSQL, which lasts as long as the value.
    pub fn session(&self) -> PgConnection {
        self.database.session()
    }

    /// Runs a command of the binary on the app's data; what it printed and how it ended.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        roost_command().args(arguments).envs(environment).output().expect("run roost")
    }

    /// Fails unless `roost check` finds everything in order.
    #[track_caller]
    pub fn assert_check_passes(&self) {
        let Output { status, stdout, stderr } = self.run(&["check"]);
        let (said, log) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "roost check: {status}\n{said}\n{log}");
    }

    /// What is in the log so far. The server writes it beside its work: a line that must be
    /// there is waited for ([`App::wait_for_log`]), and all lines are there once it has ended.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// The log, once it holds what is looked for.
    #[track_caller]
    pub fn wait_for_log(&self, holds: impl Fn(&str) -> bool) -> String {
        let asked = Instant::now();
        loop {
            let log = self.log_text();
            if holds(&log) {
                return log;
            }
            assert!(
                asked.elapsed() < QUIET_WITHIN,
                "not in the log after {QUIET_WITHIN:?}:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The single number that a query gives in its column `n`.
    pub fn sql(&self, query: &str) -> i64 {
        let numbers = self.database.numbers(query);
        assert_eq!(numbers.len(), 1, "{query} gave {numbers:?}");
        numbers[0]
    }

    /// All numbers that a query gives in its column `n`, in its order.
    pub fn sql_list(&self, query: &str) -> Vec<i64> {
        self.database.numbers(query)
    }

    /// All texts that a query gives in its column `t`, in its order.
    pub fn sql_texts(&self, query: &str) -> Vec<String> {
        self.database.texts(query)
    }

    /// Changes the data behind the server's back, as time or an operator would.
    pub fn sql_execute(&self, statement: &str) {
        self.database.execute(statement);
    }

    /// Cuts the server off from PostgreSQL, or lets them find each other again.
    pub fn set_database_reachable(&self, reachable: bool) {
        self.database.set_reachable(reachable);
    }

    /// Ends all sessions of PostgreSQL on the test's database, the server's and the test's.
    pub fn end_database_sessions(&self) {
        self.database.end_sessions();
    }

    /// The test's own connection to the Redis tier, where there is one.
    pub fn redis(&self) -> Option<redis::Connection> {
        self.redis.as_ref().map(RedisTier::connect)
    }

    /// Empties the Redis tier, as a restart of Redis without persistence would.
    pub fn flush_redis(&self) {
        if let Some(mut link) = self.redis() {
            redis::cmd("FLUSHDB").exec(&mut link).expect("FLUSHDB");
        }
    }

    /// The same as text.
    pub fn roost(&self, args: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.run(args);
        Ran {
            status: status.code(),
            text: String::from_utf8_lossy(&stdout).into_owned(),
            errors: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// The current value of a Prometheus gauge or counter without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        metric_in(&self.anonymous().get("/metrics").text(), name)
    }

    /// Waits until nothing is left to deliver: every fan-out and notification is done.
    pub fn quiesce(&self) {
        let asked = Instant::now();
        loop {
            let open = BACKGROUND.map(|name| (name, self.metric(name)));
            if open.iter().all(|(_, value)| *value == Some(0.0)) {
                return;
            }
            assert!(asked.elapsed() < QUIET_WITHIN, "busy after {QUIET_WITHIN:?}: {open:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails unless every denormalised count equals the number of rows it counts.
    #[track_caller]
    pub fn assert_counts_match_rows(&self) {
        let wrong = |table: &str, count: &str, rows: &str| {
            let deleted = if table == "tweets" { "deleted_at IS NULL AND" } else { "" };
            let query = format!(
                "SELECT count(*) AS n FROM {table} o WHERE {deleted} coalesce({count}, 0) <> \
                 (SELECT count(*) FROM {rows})"
            );
            assert_eq!(self.sql(&query), 0, "{table} with a wrong {count}");
        };
        wrong("tweets", "comments_count", "comments c WHERE c.tweet_id = o.id");
        wrong("tweets", "likes_count", "likes l WHERE l.kind = 1 AND l.object_id = o.id");
        wrong("comments", "likes_count", "likes l WHERE l.kind = 2 AND l.object_id = o.id");
    }
}

/// The value of a sample without labels in Prometheus text.
pub(in crate::harness) fn metric_in(text: &str, name: &str) -> Option<f64> {
    let mut samples = text.lines().filter_map(|line| line.split_once(' '));
    samples.find(|(sample, _)| *sample == name).map(|(_, value)| value.parse().expect("a number"))
}
