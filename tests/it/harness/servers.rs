//! A PostgreSQL or a Redis of the test's own, for what the shared ones must not suffer: to be
//! stopped, killed, frozen, filled up and started again.

mod postgres;
mod redis;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;

pub use self::postgres::{PostgresServer, Stop, lend};
pub use self::redis::RedisServer;
use super::signals;

const READY_WITHIN: Duration = Duration::from_secs(30);
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// A process that the test can end, freeze and start again on the same port.
struct Server {
    child: Option<Child>,
}

impl Server {
    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Sends a signal that ends the process, and waits for its end.
    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        signals::send(signal, child.id());
        let asked = Instant::now();
        while child.try_wait().expect("wait for the server").is_none() {
            if asked.elapsed() > GONE_WITHIN {
                let _ = child.kill();
                panic!("the server outlived SIG{signal} by {GONE_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts `command` and waits for `ready`; false when the process has ended before that,
    /// as when the port is taken.
    fn start(&mut self, command: &mut Command, mut ready: impl FnMut() -> bool) -> bool {
        assert!(self.child.is_none(), "still running");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let begun = Instant::now();
        while !ready() {
            if child.try_wait().expect("wait for the server").is_some() {
                return false;
            }
            assert!(begun.elapsed() < READY_WITHIN, "{command:?}: not ready in {READY_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
        true
    }
}

/// A port outside the range that the kernel hands out, where nobody else comes by chance.
fn random_port() -> u16 {
    rand::rng().random_range(10_000..20_000)
}
