//! Carries the bytes of each connection in both directions, through the weather of the moment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Shared, Verdict, Weather};

/// Pieces under way in one direction of one connection.
const UNDER_WAY: usize = 64;
const PIECE: usize = 64 * 1024;

/// Takes connections for as long as the proxy lives.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
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
