//! Migrations, embedded in the binary and run at start or by `roost migrate`.

use anyhow::{Context, anyhow};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Engine;
use super::pool::{DbConfig, SQLITE_SETUP, postgres_url, sqlite_path};

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Session lock that keeps nodes which start together from migrating together ("roost").
const POSTGRES_LOCK: i64 = 0x0072_6f6f_7374;

/// Brings the schema up to date and says how many migrations ran.
///
/// # Errors
/// When the database cannot be reached or a migration fails; each migration is one transaction.
pub fn run(config: &DbConfig) -> anyhow::Result<usize> {
    match config.engine()? {
        Engine::Postgres => {
            let mut conn = PgConnection::establish(&postgres_url(&config.url))
                .context("cannot connect to PostgreSQL")?;
            // Released when this connection closes, whatever happens.
            diesel::sql_query(format!("SELECT pg_advisory_lock({POSTGRES_LOCK})"))
                .execute(&mut conn)?;
            apply(&mut conn, POSTGRES)
        }
        Engine::Sqlite => {
            let path = sqlite_path(&config.url);
            let mut conn = SqliteConnection::establish(path)
                .with_context(|| format!("cannot open the database file {path}"))?;
            conn.batch_execute(SQLITE_SETUP)?;
            apply(&mut conn, SQLITE)
        }
    }
}

fn apply<C, DB>(conn: &mut C, migrations: EmbeddedMigrations) -> anyhow::Result<usize>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
{
    let versions =
        conn.run_pending_migrations(migrations).map_err(|e| anyhow!("migration failed: {e}"))?;
    Ok(versions.len())
}
