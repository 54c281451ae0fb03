//! SQLite's log, copied into the database beside the writes.
//!
//! What is committed stands in the log first and has to be copied into the database at some time,
//! before the log can begin anew. Left to itself SQLite does that at the end of the commit that
//! makes the log long enough: a delivery then holds up everybody behind it for a tenth of a second.
//! Here a connection of its own copies while the next transactions are under way. The log begins
//! anew only once all of it is copied, so when it gets long whoever can wait does so: deliveries,
//! but no request ([`LogCopier::caught_up`]). If nothing else has helped, a commit copies what is
//! left ([`COMMIT_COPIES_FROM`], see [`sqlite_setup`](super::setup::sqlite_setup)).

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Integer;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::DbConfig;
use super::lane::Lane;
use crate::store::{Conn, Engine, StoreError};

/// Pages (of 4 KiB) that wait to be copied before it is worth while: those that one batch of likes
/// after the other changes are then copied once.
const COPY_FROM: i32 = 8_000;

/// Pages by which the log grows between two tries: a long read keeps them from getting on.
const TRY_AGAIN_AFTER: i32 = 2_000;

/// Pages of a log that deliveries let come to its end: 64 MiB.
const LONG_FROM: i32 = 16_000;

/// How often what has come meanwhile is copied, too, before deliveries go on.
const MOST_PASSES: usize = 10;

/// Pages of a log that a commit copies itself: 128 MiB.
pub(super) const COMMIT_COPIES_FROM: i32 = 32_000;

/// Least time between two looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Longest wait for a connection. If there is none, the next look will do.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(250);

/// Watches the log and copies it.
pub(super) struct LogCopier {
    lane: Arc<Lane>,
    /// One look at a time.
    turn: Arc<Semaphore>,
    next_look: Mutex<Option<Instant>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    tried: Mutex<Tried>,
    /// The log is long and is being copied.
    is_behind: watch::Sender<bool>,
}

/// How long the log was at the last try.
#[derive(Debug, Default)]
struct Tried(i32);

#[derive(Debug, QueryableByName)]
struct Length {
    /// Pages in the log.
    #[diesel(sql_type = Integer)]
    log: i32,
    /// Those of them that have been copied.
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

impl Tried {
    /// Whether to try now.
    fn is_worth_while(&mut self, length: &Length) -> bool {
        if length.log < self.0 {
            // It has begun anew.
            self.0 = 0;
        }
        let wanted =
            length.log - length.checkpointed >= COPY_FROM && length.log - self.0 >= TRY_AGAIN_AFTER;
        if wanted {
            self.0 = length.log;
        }
        wanted
    }
}

impl LogCopier {
    /// For an engine that has a log of this sort.
    pub(super) fn of(engine: Engine, config: &DbConfig) -> Option<Arc<LogCopier>> {
        let config = DbConfig { acquire_timeout: ACQUIRE_TIMEOUT, ..config.clone() };
        (engine == Engine::Sqlite).then(|| {
            Arc::new(LogCopier {
                lane: Arc::new(Lane::open("log", engine, &config, 1)),
                turn: Arc::new(Semaphore::new(1)),
                next_look: Mutex::default(),
                state: Arc::default(),
            })
        })
    }

    /// Says that a transaction has been committed. Looks at the log in the background, unless that
    /// was just done or is being done.
    pub(super) fn written(&self) {
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return };
        let now = Instant::now();
        {
            let mut next_look = self.next_look.lock();
            if next_look.is_some_and(|at| now < at) {
                return;
            }
            *next_look = Some(now + LOOK_EVERY);
        }
        let (lane, look) = (self.lane.clone(), Look(self.state.clone()));
        tokio::spawn(async move {
            let _turn = turn;
            let copied = lane.run("log.copy", move |pooled| pooled.with(&mut |conn| look.at(conn)));
            if let Err(error) = copied.await {
                tracing::warn!(%error, "the log of the database could not be copied");
            }
        });
    }

    /// Whether the log is long and is being copied: what is written now makes it longer still.
    pub(super) fn is_behind(&self) -> bool {
        *self.state.is_behind.borrow()
    }

    /// Returns when it is not. That takes ten times as long as copying the log, at most.
    pub(super) async fn caught_up(&self) {
        // Its sender lives as long as this.
        let _ = self.state.is_behind.subscribe().wait_for(|is_behind| !is_behind).await;
    }

    /// Waits for the end of a look that is under way.
    #[cfg(test)]
    async fn settled(&self) {
        let _turn = self.turn.acquire().await;
    }
}

/// One look. Nobody waits for it any more once it is over, however it ends.
struct Look(Arc<State>);

impl Look {
    fn at(&self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let Some(mut length) = measure(conn)? else { return Ok(()) };
        if !self.0.tried.lock().is_worth_while(&length) {
            return Ok(());
        }
        for _ in 0..MOST_PASSES {
            self.0.is_behind.send_replace(length.log >= LONG_FROM);
            // Waits for nobody, and nobody waits for it: neither readers nor the writer. What it
            // returns is the length that the log had when it began.
            checkpoint(conn, "PASSIVE")?;
            let Some(now) = measure(conn)? else { break };
            let is_done = now.checkpointed >= now.log;
            let is_stuck = now.checkpointed <= length.checkpointed;
            if is_done || is_stuck || now.log < LONG_FROM {
                break;
            }
            length = now;
        }
        Ok(())
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.0.is_behind.send_replace(false);
    }
}

fn measure(conn: &mut Conn<'_>) -> QueryResult<Option<Length>> {
    checkpoint(conn, "NOOP")
}

fn checkpoint(conn: &mut Conn<'_>, mode: &str) -> QueryResult<Option<Length>> {
    let pragma = format!("PRAGMA wal_checkpoint({mode})");
    match conn {
        Conn::Sqlite(conn) => diesel::sql_query(pragma).get_result(&mut **conn).map(Some),
        Conn::Pg(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::store::{Db, testing};

    #[test]
    fn it_is_tried_once_there_is_enough_and_again_when_there_is_more() {
        let mut tried = Tried::default();
        let mut at = |log, checkpointed| tried.is_worth_while(&Length { log, checkpointed });
        assert!(!at(COPY_FROM - 1, 0));
        assert!(at(COPY_FROM, 0));
        assert!(!at(COPY_FROM + 1, 0), "a long read is in the way");
        assert!(at(COPY_FROM + TRY_AGAIN_AFTER, 0));
        assert!(!at(20_000, 15_000), "most is copied");
        assert!(at(25_000, 15_000));
        assert!(!at(100, 0), "begun anew");
        assert!(at(COPY_FROM, 0));
    }

    fn seen(conn: &mut Conn<'_>) -> Result<Length, StoreError> {
        Ok(measure(conn)?.expect("this is SQLite"))
    }

    fn run(conn: &mut Conn<'_>, statement: &str) -> Result<(), StoreError> {
        let Conn::Sqlite(conn) = conn else { unreachable!("this is SQLite") };
        diesel::sql_query(statement).execute(&mut **conn)?;
        Ok(())
    }

    /// A database with a table that is filled page by page.
    fn filler() -> testing::TestDb {
        let test = testing::sqlite();
        let table = "CREATE TABLE filler (bytes BLOB)";
        test.db.write_blocking(|conn| run(conn, table)).unwrap();
        test
    }

    async fn fill(db: &Db, pages: i32) {
        let rows = format!(
            "INSERT INTO filler WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL \
             SELECT i + 1 FROM n WHERE i < {pages}) SELECT zeroblob(4000) FROM n"
        );
        let log = db.log.clone().expect("SQLite has a log");
        // However soon after the last look this is.
        *log.next_look.lock() = None;
        db.write("fill", move |conn| run(conn, &rows)).await.unwrap();
        log.settled().await;
    }

    /// By somebody else than the commits, and so that the log can begin anew.
    #[tokio::test]
    async fn the_log_is_copied_beside_the_writes() {
        let test = filler();
        fill(&test.db, COPY_FROM).await;
        let after = test.db.read_blocking(seen).unwrap();
        assert!(after.log >= COPY_FROM && after.log < COMMIT_COPIES_FROM, "{after:?}");
        assert_eq!(after.checkpointed, after.log, "copied without a commit's help");
        fill(&test.db, 1).await;
        let after = test.db.read_blocking(seen).unwrap();
        assert!(after.log < 100, "the log begins anew: {after:?}");
    }

    /// What a long read still needs is not copied; nobody waits for that.
    #[tokio::test]
    async fn a_long_read_holds_nobody_up() {
        let test = filler();
        let mut reader = test.db.read.connection().unwrap();
        for statement in ["BEGIN", "SELECT count(*) FROM filler"] {
            reader.with(&mut |conn| run(conn, statement)).unwrap();
        }
        fill(&test.db, LONG_FROM).await;
        let after = test.db.read_blocking(seen).unwrap();
        assert!(after.log >= LONG_FROM && after.checkpointed < COPY_FROM, "{after:?}");
        assert!(!test.db.is_behind());
        assert!(test.db.caught_up().now_or_never().is_some(), "deliveries go on");
        reader.with(&mut |conn| run(conn, "COMMIT")).unwrap();
        fill(&test.db, TRY_AGAIN_AFTER).await;
        let after = test.db.read_blocking(seen).unwrap();
        assert_eq!(after.checkpointed, after.log, "the reader has gone: {after:?}");
    }

    #[tokio::test]
    async fn deliveries_wait_until_a_long_log_is_copied_however_that_ends() {
        let test = filler();
        let copier = test.db.log.clone().expect("SQLite has a log");
        let look = Look(copier.state.clone());
        copier.state.is_behind.send_replace(true);
        let mut waiting = std::pin::pin!(test.db.caught_up());
        assert!((&mut waiting).now_or_never().is_none());
        drop(look);
        assert!(waiting.now_or_never().is_some());
    }
}
