//! Every row of one database into another of either engine, for `roost copy`.
//!
//! Rows are read as a stream from one snapshot and written in batches, so a copy needs bounded
//! memory and sees one state of its source, also while a service writes to it.

use diesel::connection::DefaultLoadingMode;
use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
#[cfg(test)]
use diesel::sql_types::BigInt;

use super::bulk::{self, ROWS_PER_COPY, insert_rows};
use super::schema::{
    comments, fanout_tasks, feed_trims, follow_spans, former_followers, friendships,
    idempotency_keys, likes, newsfeeds, notification_outbox, notifications, profiles, sessions,
    timeline_clock, tweet_photos, tweets, users,
};
use super::{Conn, on};

/// Copies every row of one table.
pub type CopyTable =
    fn(from: &mut Conn<'_>, to: &mut Conn<'_>, copied: &mut dyn FnMut(u64)) -> QueryResult<()>;

/// A table, how many rows it has, and how they are copied.
#[derive(Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many rows it has now.
    pub count: fn(&mut Conn<'_>) -> QueryResult<i64>,
    /// Copies them; the callback hears how many more have been written.
    pub copy: CopyTable,
}

/// Every table with rows that are worth something, those first that others refer to. What is
/// known of the Redis tier stays behind: it is true of the source only.
pub const TABLES: [Table; 17] = [
    users_rows::TABLE,
    profiles_rows::TABLE,
    sessions_rows::TABLE,
    friendships_rows::TABLE,
    former_followers_rows::TABLE,
    follow_spans_rows::TABLE,
    tweets_rows::TABLE,
    tweet_photos_rows::TABLE,
    comments_rows::TABLE,
    likes_rows::TABLE,
    newsfeeds_rows::TABLE,
    feed_trims_rows::TABLE,
    notifications_rows::TABLE,
    notification_outbox_rows::TABLE,
    fanout_tasks_rows::TABLE,
    idempotency_keys_rows::TABLE,
    timeline_clock_rows::TABLE,
];

/// Writes a stream of rows in batches.
fn pour<Row>(
    rows: impl Iterator<Item = QueryResult<Row>>,
    to: &mut Conn<'_>,
    insert: fn(&mut Conn<'_>, &[Row]) -> QueryResult<()>,
    copied: &mut dyn FnMut(u64),
) -> QueryResult<()> {
    let mut batch = Vec::with_capacity(ROWS_PER_COPY);
    for row in rows {
        batch.push(row?);
        if batch.len() == ROWS_PER_COPY {
            insert(to, &batch)?;
            copied(batch.len() as u64);
            batch.clear();
        }
    }
    insert(to, &batch)?;
    copied(batch.len() as u64);
    Ok(())
}

/// A row as it stands, in the order of the table's key, and how it is read and written.
macro_rules! copied {
    ($rows:ident of $table:ident by ($($key:ident),+), $columns:literal {
        $($field:ident: $kind:ty),+ $(,)?
    }) => {
        mod $rows {
            use super::*;

            #[derive(Queryable, Insertable)]
            #[diesel(table_name = $table, treat_none_as_default_value = false)]
            struct Row { $($field: $kind),+ }

            pub(super) const TABLE: Table =
                Table { name: stringify!($table), count, copy };

            fn count(conn: &mut Conn<'_>) -> QueryResult<i64> {
                on!(conn, |c| $table::table.count().get_result(c))
            }

            fn copy(
                from: &mut Conn<'_>,
                to: &mut Conn<'_>,
                copied: &mut dyn FnMut(u64),
            ) -> QueryResult<()> {
                let query = $table::table
                    .select(($($table::$field,)+))
                    .order(($($table::$key,)+));
                match from {
                    Conn::Pg(c) => {
                        let rows = query.load_iter::<Row, PgRowByRowLoadingMode>(&mut **c)?;
                        pour(rows, to, insert, copied)
                    }
                    Conn::Sqlite(c) => {
                        let rows = query.load_iter::<Row, DefaultLoadingMode>(&mut **c)?;
                        pour(rows, to, insert, copied)
                    }
                }
            }

            insert_rows!(fn insert, Row, $table, $columns);
        }
    };
}

copied!(users_rows of users by (id), 6 {
    id: i64, username: String, email: String, password_hash: String, disabled: bool,
    created_at: i64,
});
copied!(profiles_rows of profiles by (user_id), 6 {
    user_id: i64, nickname: Option<String>, avatar_url: Option<String>, followers_count: i64,
    followings_count: i64, tweets_count: i64,
});
copied!(sessions_rows of sessions by (token_hash), 5 {
    token_hash: Vec<u8>, user_id: i64, kind: i16, created_at: i64, expires_at: i64,
});
copied!(friendships_rows of friendships by (from_user_id, to_user_id), 3 {
    from_user_id: i64, to_user_id: i64, created_at: i64,
});
copied!(former_followers_rows of former_followers by (author_id, reader_id), 2 {
    author_id: i64, reader_id: i64,
});
copied!(follow_spans_rows of follow_spans by (user_id, side, start_at), 5 {
    user_id: i64, side: i16, start_at: i64, added: i64, live: i64,
});
copied!(tweets_rows of tweets by (id), 9 {
    id: i64, user_id: i64, content: String, created_at: i64, delivered_at: Option<i64>,
    deleted_at: Option<i64>, likes_count: Option<i64>, comments_count: Option<i64>,
    counts_version: i64,
});
copied!(tweet_photos_rows of tweet_photos by (tweet_id, position), 3 {
    tweet_id: i64, position: i16, url: String,
});
copied!(comments_rows of comments by (id), 7 {
    id: i64, tweet_id: i64, user_id: i64, content: String, created_at: i64,
    likes_count: Option<i64>, counts_version: i64,
});
copied!(likes_rows of likes by (user_id, kind, object_id), 4 {
    user_id: i64, kind: i16, object_id: i64, created_at: i64,
});
copied!(newsfeeds_rows of newsfeeds by (user_id, created_at), 3 {
    user_id: i64, created_at: i64, tweet_id: i64,
});
copied!(feed_trims_rows of feed_trims by (user_id), 3 {
    user_id: i64, below: i64, trimmed_at: i64,
});
copied!(notifications_rows of notifications by (id), 7 {
    id: i64, recipient_id: i64, actor_id: i64, verb: i16, target_id: i64, created_at: i64,
    unread: bool,
});
copied!(notification_outbox_rows of notification_outbox by (id), 6 {
    id: i64, recipient_id: i64, actor_id: i64, verb: i16, target_id: i64, created_at: i64,
});
copied!(fanout_tasks_rows of fanout_tasks by (id), 14 {
    id: i64, kind: i16, tweet_id: i64, author_id: i64, reader_id: i64, progress: i64,
    until_key: i64, rows_done: i64, created_at: i64, finished_at: Option<i64>,
    attempts: i64, retry_at: Option<i64>, last_error: Option<String>, work_us: i64,
});
copied!(idempotency_keys_rows of idempotency_keys by (user_id, idempotency_key), 5 {
    user_id: i64, idempotency_key: String, fingerprint: Vec<u8>, response: String,
    created_at: i64,
});
copied!(timeline_clock_rows of timeline_clock by (shard), 2 {
    shard: i64, last_at: i64,
});

/// Makes a migrated, empty database ready for [`TABLES`]: its own clock gives way to the
/// source's, and so do tasks that its migrations have added.
pub fn make_room(conn: &mut Conn<'_>) -> QueryResult<()> {
    on!(conn, |c| diesel::delete(timeline_clock::table).execute(c))?;
    on!(conn, |c| diesel::delete(fanout_tasks::table).execute(c))?;
    Ok(())
}

/// Ends a copy as the bulk load of a seed ends, and adds the ids that a seed does not give.
pub fn finish(conn: &mut Conn<'_>) -> QueryResult<()> {
    bulk::finish(conn)?;
    for table in ["notifications", "notification_outbox", "fanout_tasks"] {
        bulk::follow_ids(conn, table)?;
    }
    Ok(())
}

/// The tables that the database has, for a test that none is forgotten.
#[cfg(test)]
fn table_names(conn: &mut Conn<'_>) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let query = match conn {
        Conn::Pg(_) => "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'",
        Conn::Sqlite(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        }
    };
    let names: Vec<Name> = on!(conn, |c| diesel::sql_query(query).load(c))?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// A column's maximum, for tests of the clock.
#[cfg(test)]
fn last_moment(conn: &mut Conn<'_>) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Last {
        #[diesel(sql_type = BigInt)]
        last_at: i64,
    }
    let query = diesel::sql_query("SELECT last_at FROM timeline_clock WHERE shard = 0");
    let row: Last = on!(conn, |c| query.get_result(c))?;
    Ok(row.last_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    /// Not copied: what the migrations have done, who serves, and what is known of Redis.
    const LEFT_BEHIND: [&str; 3] = ["__diesel_schema_migrations", "cache_state", "nodes"];

    #[test]
    fn no_table_is_forgotten() {
        for test in databases() {
            let names = test.db.read_blocking(|conn| Ok(table_names(conn)?)).unwrap();
            for name in names {
                let is_copied = TABLES.iter().any(|table| table.name == name);
                let is_left = LEFT_BEHIND.contains(&name.as_str());
                assert!(is_copied != is_left, "{}: what of the table {name}?", test.name);
            }
        }
    }

    #[test]
    fn the_clock_of_the_source_is_taken_over() {
        for test in databases() {
            test.db
                .write_blocking(|conn| {
                    make_room(conn)?;
                    on!(conn, |c| diesel::insert_into(timeline_clock::table)
                        .values((timeline_clock::shard.eq(0), timeline_clock::last_at.eq(77)))
                        .execute(c))?;
                    finish(conn)?;
                    assert_eq!(last_moment(conn)?, 77, "{}", test.name);
                    Ok(())
                })
                .unwrap();
        }
    }
}
