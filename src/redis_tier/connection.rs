//! One multiplexed connection, and what is known of the server behind it.
//!
//! Not redis-rs's `ConnectionManager`: that one reconnects in silence, and the server that
//! answers then may have restarted from an old snapshot, or be a replica that lacks the latest
//! writes. Here a new connection is used only after the server has been recognised.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisResult, Value,
};

use super::RedisConfig;
use super::scripts::Scripts;

/// Holds the identity of the server that Roost has last worked with.
const SERVER_KEY: &str = "roost:server";

/// Where Redis is.
pub(super) struct Server {
    client: Client,
    connect_timeout: Duration,
}

/// A server that has answered.
pub(super) struct Greeting {
    pub(super) conn: MultiplexedConnection,
    pub(super) identity: String,
    /// Whom Roost had worked with when it last wrote to this data set.
    pub(super) left_with: Option<String>,
}

impl Server {
    /// # Errors
    /// When the URL is of no known form.
    pub(super) fn new(config: &RedisConfig) -> RedisResult<Server> {
        let info: ConnectionInfo = config.url.as_str().into_connection_info()?;
        // RESP3: a lost connection is told at once, not by the next call that fails.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        Ok(Server { client, connect_timeout: config.connect_timeout })
    }

    /// Connects, loads the scripts and asks who is there. `lost` is called when the connection
    /// breaks.
    pub(super) async fn connect(
        &self,
        scripts: &Scripts,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<Greeting> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            // Each call brings its own deadline.
            .set_response_timeout(None)
            .set_push_sender(move |info: PushInfo| {
                if info.kind == PushKind::Disconnection {
                    lost();
                }
                Ok::<(), std::convert::Infallible>(())
            });
        let greeting = async {
            let mut conn =
                self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut asked = scripts.load();
            asked.cmd("GET").arg(SERVER_KEY).cmd("INFO").arg("server").arg("replication");
            let mut answers = answers(&mut conn, &asked).await?;
            let info: String = redis::from_redis_value(answers.pop().unwrap_or_default())?;
            let left_with = redis::from_redis_value(answers.pop().unwrap_or_default())?;
            Ok(Greeting { conn, identity: identity(&info), left_with })
        };
        match tokio::time::timeout(self.connect_timeout, greeting).await {
            Ok(result) => result,
            Err(_) => Err((redis::ErrorKind::Io, "no connection in time").into()),
        }
    }
}

/// Asks whether the server still is who it was, with a write: a server that is full or has
/// become a replica answers a PING as if nothing were wrong.
pub(super) fn health_check(identity: &str) -> Pipeline {
    let mut asked = Pipeline::new();
    asked.cmd("SET").arg(SERVER_KEY).arg(identity);
    asked.cmd("INFO").arg("server").arg("replication");
    asked
}

/// The identity in the answers to [`health_check`].
pub(super) fn identity_in(mut answers: Vec<Value>) -> Option<String> {
    let info: String = redis::from_redis_value(answers.pop()?).ok()?;
    Some(identity(&info))
}

/// Runs `asked`; an error of any command is an error.
async fn answers(conn: &mut MultiplexedConnection, asked: &Pipeline) -> RedisResult<Vec<Value>> {
    let values = conn.req_packed_commands(asked, 0, asked.len()).await?;
    values.into_iter().map(Value::extract_error).collect()
}

/// The run and the replication history: the first changes when the server restarts, the second
/// when its data set may be another one (failover, resynchronisation).
fn identity(info: &str) -> String {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map_or("", str::trim)
    };
    format!("{}.{}", field("run_id"), field("master_replid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_the_run_and_the_history() {
        let info = "# Server\r\nrun_id:abc\r\n# Replication\r\nrole:master\r\n\
                    master_replid:def\r\nmaster_replid2:000\r\n";
        assert_eq!(identity(info), "abc.def");
        assert_eq!(identity(""), ".");
    }
}
