//! What a database URL means, and what is said to each new connection.

use std::time::Duration;

use super::log::COMMIT_COPIES_FROM;
use crate::store::Engine;

/// The engine that a database URL names.
pub(super) fn engine_of(url: &str) -> anyhow::Result<Engine> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(Engine::Postgres)
    } else if url.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty()) {
        Ok(Engine::Sqlite)
    } else {
        anyhow::bail!("DATABASE_URL must be postgres://... or sqlite:PATH")
    }
}

/// The file of a `sqlite:PATH` URL; `sqlite:///abs/path` is accepted too.
pub(in crate::store) fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

/// Parameters of libpq that Roost sets unless the operator has, in seconds (the last one in
/// milliseconds). Left alone, it waits without end for a connection, and for two hours or so for
/// an answer over a route that has gone dead: a thread and a connection each time.
const POSTGRES_PARAMETERS: [(&str, u32); 5] = [
    ("connect_timeout", 2),
    ("keepalives_idle", 5),
    ("keepalives_interval", 2),
    ("keepalives_count", 3),
    ("tcp_user_timeout", 10_000),
];

/// Adds [`POSTGRES_PARAMETERS`] to a URL.
pub(in crate::store) fn postgres_url(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in POSTGRES_PARAMETERS {
        if !url.contains(&format!("{name}=")) {
            let joint = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{joint}{name}={value}");
        }
    }
    url
}

/// The service looks rows up by their keys and nothing else, with plans that it keeps. Left to
/// itself Postgres reads the whole table for a thousand keys, up to some millions of rows: 90 ms
/// instead of 4 with 200,000 likes. It keeps for long what was a good plan when the table was
/// empty, and plans a statement anew each time when it takes its guess of the values for better.
/// The planner cannot know that the pages are in memory; a JIT compiler started on its inflated
/// costs would take longer than the query.
const BY_KEY: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; \
     SET enable_mergejoin = off; SET jit = off; SET plan_cache_mode = force_generic_plan;";

/// Says in `roost.life` which life of the server the connection belongs to. After a crash, and on a
/// replica that takes over, it is another one; after an orderly restart it is not. The server keeps
/// its statistics in just these cases ([The Cumulative Statistics System]): they tell by the moment
/// they were begun. A role that may not see them does without. See [`locks::fate_of`] for what it
/// is good for.
///
/// [The Cumulative Statistics System]: https://www.postgresql.org/docs/current/monitoring-stats.html
/// [`locks::fate_of`]: crate::store::locks::fate_of
const LIFE: &str = "DO $$ BEGIN PERFORM set_config('roost.life', (SELECT \
     coalesce(extract(epoch FROM stats_reset)::text, gen_random_uuid()::text) \
     FROM pg_stat_bgwriter), FALSE); EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;";

/// Without a limit it is the connection of a long command, which may read whole tables.
pub(super) fn postgres_setup(statement_timeout: Duration) -> String {
    let limit = statement_timeout.as_millis();
    let plans = if statement_timeout.is_zero() { "" } else { BY_KEY };
    format!(
        "SET application_name = 'roost'; {ENGLISH} {LIFE} SET statement_timeout = {limit}; \
         SET idle_in_transaction_session_timeout = {}; {plans}",
        limit * 2
    )
}

/// English messages: some conditions can be told apart by their words only. A role without the
/// privilege to choose keeps the server's language, which is English unless somebody has chosen.
pub(in crate::store) const ENGLISH: &str = "DO $$ BEGIN PERFORM set_config('lc_messages', 'C', FALSE); \
     EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;";

/// FULL: a commit is on the disk before it is acknowledged. `wait` is for the lock of another
/// process, as for a connection.
///
/// A commit copies the log into the database when nothing else has ([`LogCopier`]), as in commands
/// outside the service. The size limit is for the file that is left when a long read has held that
/// up.
///
/// [`LogCopier`]: super::log::LogCopier
pub(in crate::store) fn sqlite_setup(wait: Duration) -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864; \
         PRAGMA wal_autocheckpoint = {COMMIT_COPIES_FROM}; PRAGMA cache_size = -16384; \
         PRAGMA temp_store = MEMORY;",
        wait.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Conn;

    #[test]
    fn only_the_service_is_kept_from_reading_whole_tables() {
        let plans = "plan_cache_mode = force_generic_plan";
        assert!(postgres_setup(Duration::from_secs(5)).contains(plans));
        assert!(!postgres_setup(Duration::ZERO).contains(plans));
    }

    /// What `.cargo/config.toml` asks for has reached the library.
    #[test]
    fn sqlite_is_built_for_statements_that_are_kept_and_threads_that_share_nothing() {
        use diesel::RunQueryDsl;
        use diesel::sql_types::Text;

        #[derive(diesel::QueryableByName)]
        struct Chosen {
            #[diesel(sql_type = Text)]
            compile_options: String,
        }
        let test = crate::store::testing::sqlite();
        let chosen: Vec<Chosen> = test
            .db
            .read_blocking(|conn| {
                let Conn::Sqlite(conn) = conn else { unreachable!("this is SQLite") };
                Ok(diesel::sql_query("PRAGMA compile_options").load(&mut **conn)?)
            })
            .unwrap();
        let chosen: Vec<&str> = chosen.iter().map(|row| row.compile_options.as_str()).collect();
        for option in ["ENABLE_QPSG", "THREADSAFE=2"] {
            assert!(chosen.contains(&option), "no {option} among {chosen:?}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word_on_a_url() {
        let url = postgres_url("postgres://roost@db/roost");
        assert!(url.starts_with("postgres://roost@db/roost?connect_timeout=2&keepalives_idle=5"));
        let chosen = postgres_url("postgres://db/roost?connect_timeout=7&tcp_user_timeout=0");
        assert!(chosen.contains("connect_timeout=7") && !chosen.contains("connect_timeout=2"));
        assert!(chosen.contains("tcp_user_timeout=0&") && chosen.matches('?').count() == 1);
    }
}
