//! A TCP proxy of our own, to stand between Roost and a server it needs and to do to the bytes
//! what bad networks do: delay, freeze, cut, half-close, reset, lose exactly one answer.
//!
//! It carries bytes and knows no protocol. What is to happen depends on the [`Proxy`]'s state,
//! which a test changes while connections are open, or on a [`Verdict`] about bytes that pass.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Pieces under way in one direction of one connection.
const UNDER_WAY: usize = 64;
const PIECE: usize = 64 * 1024;

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
        runtime.spawn(accept(listener, Arc::clone(&shared)));
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

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error of one accept (too many files) is not the end of the proxy.
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(carry(client, Arc::clone(&shared)))),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Counts a connection for as long as it is carried.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let _counted = Counted::new(&shared);
    let mut weather = shared.weather.subscribe();
    if weather.borrow().cut {
        return reset(&client);
    }
    let Ok(mut server) = TcpStream::connect(shared.upstream).await else {
        return reset(&client);
    };
    // Small pieces must not wait for each other: the delays are the test's alone.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let lose_answer = AtomicBool::new(false);
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = async {
            let judged = |bytes: &[u8]| match shared.verdict(bytes) {
                Verdict::Pass => Ok(()),
                Verdict::LoseAnswer => {
                    lose_answer.store(true, Ordering::SeqCst);
                    Ok(())
                }
                Verdict::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            };
            pump(from_client, to_server, &shared, Way::Up, judged).await
        };
        let answers = async {
            let judged = |_: &[u8]| match lose_answer.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::ConnectionReset.into()),
                false => Ok(()),
            };
            pump(from_server, to_client, &shared, Way::Down, judged).await
        };
        tokio::select! {
            both = async { tokio::try_join!(requests, answers) } => both.map(|_| ()),
            _ = weather.wait_for(|weather| weather.cut) => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    };
    if carried.is_err() {
        reset(&client);
        reset(&server);
    }
}

/// Makes the close that follows a reset (RST) and not a polite end (FIN).
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Carries one direction until its end; an error ends the whole connection.
async fn pump(
    mut from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    shared: &Shared,
    way: Way,
    judged: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (queue, pieces) = mpsc::channel(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let size = from.read(&mut buffer).await?;
            if size == 0 {
                return Ok(());
            }
            judged(&buffer[..size])?;
            let due = Instant::now() + shared.weather.borrow().delay;
            if queue.send((due, buffer[..size].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::try_join!(read, deliver(pieces, to, shared.weather.subscribe(), way)).map(|_| ())
}

/// Writes pieces when they are due and the weather lets them through.
async fn deliver(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    way: Way,
) -> io::Result<()> {
    let born = weather.borrow().half_closed;
    let (mut resets, mut sent) = (0, 0);
    loop {
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            _ = weather.wait_for(|now| way == Way::Down && now.half_closed > born) => None,
        };
        let Some((due, bytes)) = piece else { break };
        // A timer counts in whole milliseconds: without a delay it would be one.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let _ = weather.wait_for(|now| !now.frozen).await;
        let limit = {
            let now = weather.borrow();
            if now.resets != resets {
                (resets, sent) = (now.resets, 0);
            }
            (way == Way::Down && now.resets > 0).then_some(now.reset_after)
        };
        match limit {
            Some(limit) if sent + bytes.len() > limit => {
                to.write_all(&bytes[..limit.saturating_sub(sent)]).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            _ => to.write_all(&bytes).await?,
        }
        sent += bytes.len();
    }
    to.shutdown().await?;
    // Half-closed by order: what still comes is thrown away, as behind a dead end.
    while pieces.recv().await.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests;
