//! Migrations, embedded in the binary and run at start or by `roost migrate`.

use std::time::Duration;

use anyhow::{Context, anyhow};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Engine;
use super::pool::DbConfig;
use super::pool::setup::{ENGLISH, postgres_url, sqlite_path, sqlite_setup};

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Session lock that keeps nodes which start together from migrating together ("roost").
const POSTGRES_LOCK: i64 = 0x0072_6f6f_7374;

/// Longest wait of a migration for a table. Everybody else who needs the table waits behind it.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Time for the others between two tries.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Tries after the first: two minutes, in which the longest transactions should end.
const LOCK_TRIES: usize = 60;

/// Longest wait for a SQLite file that another process has locked.
const FILE_WAIT: Duration = Duration::from_secs(5);

/// Brings the schema up to date and says how many migrations ran.
///
/// A table that is in use is waited for in short turns, so that a long reader in front of the
/// migration does not stop the service behind it.
///
/// # Errors
/// When the database cannot be reached or a migration fails; each migration is one transaction.
pub fn run(config: &DbConfig) -> anyhow::Result<usize> {
    match config.engine()? {
        Engine::Postgres => {
            let mut conn = PgConnection::establish(&postgres_url(&config.url))
                .context("cannot connect to PostgreSQL")?;
            conn.batch_execute(ENGLISH)?;
            // Released when this connection closes, whatever happens.
            diesel::sql_query(format!("SELECT pg_advisory_lock({POSTGRES_LOCK})"))
                .execute(&mut conn)?;
            conn.batch_execute(&format!("SET lock_timeout = {}", LOCK_WAIT.as_millis()))?;
            let (mut applied, mut tries) = (0, 0);
            loop {
                let pending = conn.pending_migrations(POSTGRES).map_err(failed)?.len();
                match apply(&mut conn, POSTGRES) {
                    Err(error) if tries < LOCK_TRIES && waits_for_a_lock(&error) => {
                        tries += 1;
                        tracing::info!(tries, "a migration waits for a table that is in use");
                        applied +=
                            pending - conn.pending_migrations(POSTGRES).map_err(failed)?.len();
                        std::thread::sleep(LOCK_PAUSE);
                    }
                    other => return other.map(|last| applied + last),
                }
            }
        }
        Engine::Sqlite => {
            let path = sqlite_path(&config.url);
            let mut conn = SqliteConnection::establish(path)
                .with_context(|| format!("cannot open the database file {path}"))?;
            conn.batch_execute(&sqlite_setup(FILE_WAIT))?;
            apply(&mut conn, SQLITE)
        }
    }
}

fn waits_for_a_lock(error: &anyhow::Error) -> bool {
    // Diesel gives no SQLSTATE for it.
    format!("{error:#}").contains("lock timeout")
}

fn apply<C, DB>(conn: &mut C, migrations: EmbeddedMigrations) -> anyhow::Result<usize>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
{
    Ok(conn.run_pending_migrations(migrations).map_err(failed)?.len())
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> anyhow::Error {
    anyhow!("migration failed: {error}")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::store::testing;

    const FIRST: &str = include_str!("../../migrations/postgres/2026-11-01-000000_initial/up.sql");
    const NOTED: &str = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY \
         NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
         INSERT INTO __diesel_schema_migrations (version) VALUES ('20261101000000')";

    #[derive(diesel::QueryableByName)]
    struct Number {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        n: i64,
    }

    fn number(conn: &mut PgConnection, query: &str) -> i64 {
        diesel::sql_query(query).get_result::<Number>(conn).unwrap().n
    }

    #[test]
    fn a_migration_behind_a_long_reader_does_not_stop_the_others() {
        let test = testing::empty_postgres();
        let connect = || PgConnection::establish(&test.config.url).unwrap();
        let (mut long, mut other) = (connect(), connect());
        long.batch_execute(FIRST).unwrap();
        long.batch_execute(NOTED).unwrap();
        long.batch_execute("BEGIN; SELECT count(*) FROM tweets").unwrap();
        std::thread::scope(|scope| {
            let migration = scope.spawn(|| run(&test.config));
            let begun = Instant::now();
            let waiting = "SELECT count(*) AS n FROM pg_locks \
                           WHERE NOT granted AND relation = 'tweets'::regclass";
            while number(&mut other, waiting) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(30), "the migration does not wait");
                std::thread::sleep(Duration::from_millis(1));
            }
            // It stands behind the migration, which stands behind the long reader.
            other.batch_execute("SET statement_timeout = 20000").unwrap();
            assert_eq!(number(&mut other, "SELECT count(*) AS n FROM tweets"), 0);
            assert!(!migration.is_finished());
            long.batch_execute("COMMIT").unwrap();
            assert!(migration.join().unwrap().unwrap() > 0);
        });
        assert_eq!(run(&test.config).unwrap(), 0, "everything is applied");
    }

    #[test]
    fn a_role_without_special_privileges_is_enough() {
        let test = testing::empty_postgres();
        let role = format!("roost_plain_{}", std::process::id());
        let mut admin = PgConnection::establish(&test.config.url).unwrap();
        let database = test.config.url.rsplit_once('/').unwrap().1.to_owned();
        admin
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; ALTER DATABASE {database} OWNER TO {role}; \
                 REVOKE SELECT ON pg_stat_bgwriter FROM PUBLIC"
            ))
            .unwrap();
        let (_, server) = test.config.url.split_once('@').unwrap();
        let config = DbConfig { url: format!("postgres://{role}@{server}"), ..test.config.clone() };
        assert!(run(&config).unwrap() > 0);
        let db = crate::store::Db::open(&config).unwrap();
        db.write_blocking(|conn| Ok(crate::store::counts::tests::add_user(conn, 1)?)).unwrap();
        drop(db);
        let away = format!("REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}");
        admin.batch_execute(&away).unwrap();
    }
}
