//! The rival: one transaction per like, straight to the database.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{anyhow, ensure};
use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType};
use diesel::{PgConnection, SqliteConnection};
use hdrhistogram::Histogram;
use roost::store::likes::LikeKey;

use super::{Likes, Seen};
use crate::data::Data;
use crate::load::nanoseconds;

mod tables {
    diesel::table! {
        likes (user_id, kind, object_id) {
            user_id -> BigInt,
            kind -> SmallInt,
            object_id -> BigInt,
            created_at -> BigInt,
        }
    }
    diesel::table! {
        notification_outbox (id) {
            id -> BigInt,
            recipient_id -> BigInt,
            actor_id -> BigInt,
            verb -> SmallInt,
            target_id -> BigInt,
            created_at -> BigInt,
        }
    }
}

use tables::{likes, notification_outbox};

/// How a like is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// BEGIN, three prepared statements, COMMIT.
    Transaction,
    /// All of it as one prepared statement (PostgreSQL).
    Statement,
    /// BEGIN, three prepared statements, COMMIT, by clients that share one connection (SQLite).
    OneConnection,
}

/// Likes for `time`, after a fifth of it to warm up.
///
/// # Errors
/// When the database refuses.
pub(super) fn run(
    data: &Data,
    likes: &Likes,
    clients: usize,
    time: Duration,
    way: Way,
) -> anyhow::Result<Seen> {
    let writers =
        (0..clients).map(|_| Writer::connect(data, way)).collect::<anyhow::Result<Vec<_>>>()?;
    let shared = match way {
        Way::OneConnection => Some(Mutex::new(sqlite(data)?)),
        Way::Transaction | Way::Statement => None,
    };
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let latency = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .into_iter()
            .map(|writer| {
                let shared = &shared;
                scope.spawn(move || writer.work(shared.as_ref(), likes, way, begin, end))
            })
            .collect();
        let mut all = nanoseconds();
        for thread in threads {
            all.add(thread.join().map_err(|_| anyhow!("a client panicked"))??)?;
        }
        anyhow::Ok(all)
    })?;
    ensure!(!latency.is_empty(), "no like in {time:?}");
    let batches = Histogram::new(3)?;
    Ok(Seen { likes: latency.len(), took: time, latency, batches })
}

/// A client.
enum Writer {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
    /// Without a connection of its own.
    Sharing,
}

impl Writer {
    fn connect(data: &Data, way: Way) -> anyhow::Result<Writer> {
        Ok(match &data.postgres {
            _ if way == Way::OneConnection => Writer::Sharing,
            Some(url) => Writer::Postgres(PgConnection::establish(url)?),
            None => Writer::Sqlite(sqlite(data)?),
        })
    }

    fn work(
        mut self,
        shared: Option<&Mutex<SqliteConnection>>,
        likes: &Likes,
        way: Way,
        begin: Instant,
        end: Instant,
    ) -> anyhow::Result<Histogram<u64>> {
        let mut latency = nanoseconds();
        loop {
            let asked = Instant::now();
            let like = likes.next();
            let created_at = micros()?;
            match (&mut self, shared) {
                (Writer::Postgres(own), _) if way == Way::Statement => {
                    let added = Everything { like, created_at }.execute(own)?;
                    ensure!(added == 1, "{added} rows in the outbox");
                }
                (Writer::Postgres(own), _) => {
                    own.transaction(|c| on_postgres(c, like, created_at))?
                }
                (Writer::Sqlite(own), _) => {
                    own.immediate_transaction(|c| on_sqlite(c, like, created_at))?;
                }
                (Writer::Sharing, Some(shared)) => {
                    let mut writer = shared.lock().map_err(|_| anyhow!("a client panicked"))?;
                    writer.immediate_transaction(|c| on_sqlite(c, like, created_at))?;
                }
                (Writer::Sharing, None) => return Err(anyhow!("no connection")),
            }
            let now = Instant::now();
            if now >= end {
                return Ok(latency);
            }
            if now >= begin {
                latency.saturating_record((now - asked).as_nanos() as u64);
            }
        }
    }
}

fn micros() -> anyhow::Result<i64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() as i64)
}

/// The same statements for both engines.
macro_rules! write_like {
    ($name:ident, $connection:ty) => {
        fn $name(c: &mut $connection, like: LikeKey, created_at: i64) -> QueryResult<()> {
            let kind = like.kind.code();
            let added = diesel::insert_into(likes::table)
                .values((
                    likes::user_id.eq(like.user_id),
                    likes::kind.eq(kind),
                    likes::object_id.eq(like.object_id),
                    likes::created_at.eq(created_at),
                ))
                .on_conflict_do_nothing()
                .execute(c)?;
            if added == 0 {
                return Ok(());
            }
            CountOne { object_id: like.object_id }.execute(c)?;
            diesel::insert_into(notification_outbox::table)
                .values((
                    notification_outbox::recipient_id.eq(1_i64),
                    notification_outbox::actor_id.eq(like.user_id),
                    notification_outbox::verb.eq(kind),
                    notification_outbox::target_id.eq(like.object_id),
                    notification_outbox::created_at.eq(created_at),
                ))
                .execute(c)
                .map(|_| ())
        }
    };
}

write_like!(on_postgres, PgConnection);
write_like!(on_sqlite, SqliteConnection);

/// Diesel would have an UPDATE of its own making planned anew each time.
#[derive(QueryId)]
struct CountOne {
    object_id: i64,
}

impl<C> RunQueryDsl<C> for CountOne {}

impl<DB> QueryFragment<DB> for CountOne
where
    DB: Backend + HasSqlType<BigInt>,
    i64: ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE tweets SET likes_count = likes_count + 1, \
             counts_version = counts_version + 1 WHERE id = ",
        );
        out.push_bind_param::<BigInt, _>(&self.object_id)
    }
}

/// A like, its count and its notice as one statement, which is a transaction of its own.
#[derive(QueryId)]
struct Everything {
    like: LikeKey,
    created_at: i64,
}

impl RunQueryDsl<PgConnection> for Everything {}

impl QueryFragment<Pg> for Everything {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "WITH added AS (INSERT INTO likes (user_id, kind, object_id, created_at) VALUES (",
        );
        out.push_bind_param::<BigInt, _>(&self.like.user_id)?;
        out.push_sql(", 1, ");
        out.push_bind_param::<BigInt, _>(&self.like.object_id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.created_at)?;
        out.push_sql(
            ") ON CONFLICT DO NOTHING RETURNING *), \
             counted AS (UPDATE tweets SET likes_count = likes_count + 1, \
             counts_version = counts_version + 1 FROM added WHERE tweets.id = added.object_id) \
             INSERT INTO notification_outbox \
             (recipient_id, actor_id, verb, target_id, created_at) \
             SELECT 1, user_id, kind, object_id, created_at FROM added",
        );
        Ok(())
    }
}

fn sqlite(data: &Data) -> anyhow::Result<SqliteConnection> {
    let file = data.file();
    let file = file.to_str().ok_or_else(|| anyhow!("the path is not UTF-8"))?;
    let mut connection = SqliteConnection::establish(file)?;
    // As the service has it, but for the time that a client waits for the file's lock: of many
    // that poll for it some wait long.
    connection.batch_execute(
        "PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA wal_autocheckpoint = 32000; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY",
    )?;
    Ok(connection)
}

/// The one number that a query gives.
///
/// # Errors
/// When the database refuses.
pub(super) fn number(data: &Data, query: &str) -> anyhow::Result<i64> {
    let query = diesel::dsl::sql::<BigInt>(&format!("({query})"));
    Ok(match &data.postgres {
        Some(url) => diesel::select(query).get_result(&mut PgConnection::establish(url)?)?,
        None => diesel::select(query).get_result(&mut sqlite(data)?)?,
    })
}
