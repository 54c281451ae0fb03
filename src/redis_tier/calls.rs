//! One call: a deadline, a place among the calls in flight, and the verdict on its outcome.

use std::time::Instant;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, RedisResult, ServerErrorKind, Value};
use tokio::sync::Semaphore;

use super::Shared;

/// Why a call brought nothing. Callers go on with the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// There is no Redis, or the breaker is open.
    #[error("the Redis tier is down")]
    Down,
    /// As many calls as allowed are in flight.
    #[error("too many calls to Redis are in flight")]
    Busy,
    /// No answer within the deadline.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The server or the connection said no.
    #[error("Redis failed: {0}")]
    Failed(String),
}

impl TierError {
    /// The value of the metric label `result`.
    fn label(&self) -> &'static str {
        match self {
            TierError::Down => "skipped",
            TierError::Busy => "busy",
            TierError::TimedOut => "timeout",
            TierError::Failed(_) => "error",
        }
    }
}

/// Calls in flight of each sort: more would only queue in front of the one connection.
pub(super) const IN_FLIGHT: usize = 64;

/// What a call does to the rest when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Nothing is lost: three in a row open the breaker.
    Read,
    /// A commit has not reached Redis: a loss.
    Mutation,
}

/// What is wrong with an answer.
struct Trouble {
    error: TierError,
    /// The connection is of no use any more.
    dead: bool,
    /// The server has forgotten the scripts.
    scripts_gone: bool,
}

impl Shared {
    /// A call that may fail without consequence: reads, fills, repairs. A wrong type stays in
    /// the answers as an error; every other error of a command fails the call.
    pub(super) async fn read(
        &self,
        op: &'static str,
        pipe: &Pipeline,
    ) -> Result<Vec<Value>, TierError> {
        let Some((conn, session)) = self.breaker.lock().reader() else {
            return Err(count(op, TierError::Down));
        };
        let Ok(_place) = self.reads.try_acquire() else {
            return Err(count(op, TierError::Busy));
        };
        self.run(op, pipe, conn, session, Sort::Read).await
    }

    /// A call that follows a commit. If it is not known to have happened, the tier goes down.
    pub(super) async fn mutate(
        &self,
        op: &'static str,
        pipe: &Pipeline,
    ) -> Result<Vec<Value>, TierError> {
        let Some((conn, session)) = self.breaker.lock().mutator() else {
            return Err(count(op, TierError::Down));
        };
        // In the order of arrival, so that one writer's pushes stay in order.
        let Some(_place) = place(&self.mutations, self.config.timeout).await else {
            self.lost(op, "too many mutations are in flight");
            return Err(count(op, TierError::Busy));
        };
        self.run(op, pipe, conn, session, Sort::Mutation).await
    }

    async fn run(
        &self,
        op: &'static str,
        pipe: &Pipeline,
        mut conn: MultiplexedConnection,
        session: u64,
        sort: Sort,
    ) -> Result<Vec<Value>, TierError> {
        let started = Instant::now();
        let mut outcome = self.attempt(&mut conn, pipe, sort).await;
        if matches!(&outcome, Err(trouble) if trouble.scripts_gone) {
            // Every script may run twice: a repeated push, count or fill changes nothing.
            outcome = match self.attempt(&mut conn, &self.scripts.load(), sort).await {
                Ok(_) => self.attempt(&mut conn, pipe, sort).await,
                failed => failed,
            };
        }
        metrics::histogram!("roost_redis_seconds", "op" => op)
            .record(started.elapsed().as_secs_f64());
        match outcome {
            Ok(values) => {
                self.breaker.lock().succeeded(session);
                metrics::counter!("roost_redis_calls_total", "op" => op, "result" => "ok")
                    .increment(1);
                Ok(values)
            }
            Err(trouble) => {
                match sort {
                    Sort::Mutation => self.lost(op, &trouble.error.to_string()),
                    Sort::Read => self.failed(op, session, &trouble),
                }
                Err(count(op, trouble.error))
            }
        }
    }

    async fn attempt(
        &self,
        conn: &mut MultiplexedConnection,
        pipe: &Pipeline,
        sort: Sort,
    ) -> Result<Vec<Value>, Trouble> {
        let answer = conn.req_packed_commands(pipe, 0, pipe.len());
        match tokio::time::timeout(self.config.timeout, answer).await {
            Ok(result) => judge(result, sort),
            Err(_) => Err(Trouble { error: TierError::TimedOut, dead: false, scripts_gone: false }),
        }
    }

    fn failed(&self, op: &'static str, session: u64, trouble: &Trouble) {
        if self.breaker.lock().failed(session, trouble.dead) {
            self.went_down(op, &trouble.error.to_string());
        }
    }

    /// A commit has not reached Redis, or may not have.
    pub(super) fn lost(&self, op: &'static str, reason: &str) {
        if self.breaker.lock().lost() {
            self.went_down(op, reason);
        }
    }

    /// The connection of `session` has broken.
    pub(super) fn disconnected(&self, session: u64) {
        if self.breaker.lock().failed(session, true) {
            self.went_down("connection", "the connection was lost");
        }
    }

    fn went_down(&self, op: &'static str, reason: &str) {
        metrics::gauge!("roost_redis_up").set(0.0);
        tracing::warn!(op, reason, "the Redis tier is down: reading from the database");
        // `send_replace`: there may be nobody who watches.
        self.up.send_replace(false);
    }
}

async fn place(
    places: &Semaphore,
    limit: std::time::Duration,
) -> Option<tokio::sync::SemaphorePermit<'_>> {
    tokio::time::timeout(limit, places.acquire()).await.ok()?.ok()
}

fn judge(result: RedisResult<Vec<Value>>, sort: Sort) -> Result<Vec<Value>, Trouble> {
    let values = result.map_err(|error| Trouble {
        dead: error.is_unrecoverable_error() || error.is_io_error(),
        error: TierError::Failed(error.to_string()),
        scripts_gone: false,
    })?;
    let refused = values.iter().find_map(|value| match value {
        Value::ServerError(error) if sort == Sort::Read && error.code() == "WRONGTYPE" => None,
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    match refused {
        None => Ok(values),
        Some(error) => Err(Trouble {
            error: TierError::Failed(error.to_string()),
            dead: false,
            scripts_gone: error.kind() == Some(ServerErrorKind::NoScript),
        }),
    }
}

fn count(op: &'static str, error: TierError) -> TierError {
    metrics::counter!("roost_redis_calls_total", "op" => op, "result" => error.label())
        .increment(1);
    error
}
