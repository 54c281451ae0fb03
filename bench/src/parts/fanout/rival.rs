//! What delivers by single statements, past the service.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};

use super::stage::Author;
use crate::data::Data;

/// A connection of its own to the service's database.
pub(super) struct Rival {
    connection: Connection,
    next_tweet: i64,
}

enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Rival {
    /// Connects, and makes the table to write into.
    pub(super) fn new(data: &Data) -> anyhow::Result<Rival> {
        let connection = match &data.postgres {
            Some(url) => Connection::Postgres(PgConnection::establish(url)?),
            None => {
                let file = data.file();
                let path = file.to_str().context("the path is not UTF-8")?;
                Connection::Sqlite(SqliteConnection::establish(path)?)
            }
        };
        let mut rival = Rival { connection, next_tweet: 1 };
        match rival.connection {
            Connection::Postgres(_) => rival.run(
                "CREATE TABLE raw_feeds (LIKE newsfeeds INCLUDING ALL); VACUUM ANALYZE friendships",
            )?,
            // The settings of the service.
            Connection::Sqlite(_) => rival.run(
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; \
                 PRAGMA wal_autocheckpoint = 32000; \
                 PRAGMA temp_store = MEMORY; \
                 CREATE TABLE raw_feeds (user_id BIGINT NOT NULL, created_at BIGINT NOT NULL, \
                     tweet_id BIGINT NOT NULL, PRIMARY KEY (user_id, created_at)) WITHOUT ROWID",
            )?,
        }
        Ok(rival)
    }

    /// What a delivery of the author writes, in one statement: numbers as large as the service's,
    /// since SQLite stores small ones in fewer bytes.
    pub(super) fn deliver(&mut self, author: Author) -> anyhow::Result<Duration> {
        let tweet = self.next_tweet;
        self.next_tweet += 1;
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
        let begun = Instant::now();
        self.run(&format!(
            "INSERT INTO raw_feeds (user_id, created_at, tweet_id) \
             SELECT from_user_id, {moment}, {tweet} FROM friendships WHERE to_user_id = {}",
            author.id
        ))?;
        Ok(begun.elapsed())
    }

    fn run(&mut self, statements: &str) -> anyhow::Result<()> {
        // One by one: Postgres puts statements that come together into one transaction.
        for statement in statements.split(';') {
            match &mut self.connection {
                Connection::Postgres(connection) => connection.batch_execute(statement)?,
                Connection::Sqlite(connection) => connection.batch_execute(statement)?,
            }
        }
        Ok(())
    }
}
