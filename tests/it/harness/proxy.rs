//! A TCP proxy of our own, to stand between Roost and a server it needs and to do to the bytes
//! what bad networks do: delay, freeze, cut, half-close, reset, lose exactly one answer.
//!
//! It carries bytes and knows no protocol. What is to happen depends on the [`Proxy`]'s state,
//! which a test changes while connections are open, or on a [`Verdict`] about bytes that pass.

mod carrier;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What to do about bytes on their way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Carry them on.
    Pass,
    /// Carry them on and reset the connection in place of the answer: the server has done what
    /// it was asked, and the client never learns.
    LoseAnswer,
    /// Reset the connection instead of carrying them on.
    Reset,
}

type Judge = Box<dyn FnMut(&[u8]) -> Verdict + Send>;

/// How the network is.
#[derive(Clone, Debug, Default)]
struct Weather {
    /// Each piece arrives later by this much, in both directions.
    delay: Duration,
    /// Nothing moves; nothing is closed.
    frozen: bool,
    /// Open connections are reset, new ones too.
    cut: bool,
    /// Counts the orders to end the answers of the connections open at the time.
    half_closed: u64,
    /// Counts the orders to reset after so many more bytes of answers.
    resets: u64,
    reset_after: usize,
}

struct Shared {
    upstream: SocketAddr,
    weather: watch::Sender<Weather>,
    judge: Mutex<Option<Judge>>,
    open: AtomicUsize,
}

/// A proxy in front of one server. Gone, with its connections, when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// In front of `upstream`, on a free port of the loopback.
    pub fn to(upstream: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .expect("a runtime for the proxy");
        let listener =
            runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("listen on the loopback");
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(Shared {
            upstream,
            weather: watch::Sender::new(Weather::default()),
            judge: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        runtime.spawn(carrier::accept(listener, Arc::clone(&shared)));
        Self { address, shared, runtime: Some(runtime) }
    }

    /// In front of the server that a URL names (`scheme://...@host:port/...`); and the URL that
    /// leads through the proxy.
    pub fn to_url(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (format!("{user}@"), host),
            None => (String::new(), authority),
        };
        let upstream = host.replace("localhost", "127.0.0.1").parse().expect("an address and port");
        let proxy = Self::to(upstream);
        let through = format!("{scheme}://{user}{}/{path}", proxy.address);
        (proxy, through)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Makes everything arrive later by `delay`, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Stops every byte, without closing anything: what a frozen server or a dead route looks
    /// like. New connections are accepted and stay silent.
    pub fn freeze(&self) {
        self.shared.weather.send_modify(|weather| weather.frozen = true);
    }

    /// Resets all connections, and new ones at once.
    pub fn cut(&self) {
        self.shared.weather.send_modify(|weather| weather.cut = true);
    }

    /// Ends the answers of the connections that are open (FIN), and goes on taking requests.
    pub fn half_close(&self) {
        self.shared.weather.send_modify(|weather| weather.half_closed += 1);
    }

    /// Resets each connection once `bytes` more bytes of answers have come through it, those
    /// made later included; until [`Proxy::restore`].
    pub fn reset_after(&self, bytes: usize) {
        self.shared.weather.send_modify(|weather| {
            weather.resets += 1;
            weather.reset_after = bytes;
        });
    }

    /// A good network again. What was frozen moves on; what was closed stays closed.
    pub fn restore(&self) {
        self.shared.weather.send_modify(|weather| {
            let half_closed = weather.half_closed;
            *weather = Weather { half_closed, ..Weather::default() };
        });
    }

    /// Lets `judge` look at every piece of bytes on its way to the server. One piece is what one
    /// read gives; protocols that write a request at a time can be told apart by it.
    pub fn judge(&self, judge: impl FnMut(&[u8]) -> Verdict + Send + 'static) {
        *self.shared.judge.lock().unwrap() = Some(Box::new(judge));
    }

    /// No more [`Proxy::judge`].
    pub fn judge_no_more(&self) {
        *self.shared.judge.lock().unwrap() = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn verdict(&self, bytes: &[u8]) -> Verdict {
        match self.judge.lock().unwrap().as_mut() {
            Some(judge) => judge(bytes),
            None => Verdict::Pass,
        }
    }
}
