//! A guarded stream between a client (the other end of a pipe) and what the dispatcher does to
//! it, with a clock that only moves when nothing else can happen.

mod backpressure;
mod deadlines;
mod refusals;

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::http::middleware::Prefixes;

/// What the pipe between the two takes before somebody has to read.
const PIPE: usize = 64 * 1024;

const SECOND: Duration = Duration::from_secs(1);

fn connect() -> (DuplexStream, Guarded<DuplexStream>, Rc<Conduct>) {
    let (client, server) = duplex(PIPE);
    let guarded = Guarded::new(server, Rc::new(Prefixes::new().unwrap().next()));
    let conduct = guarded.conduct();
    (client, guarded, conduct)
}

/// The same with a request whose head has been read and that is worked on.
async fn connect_and_begin() -> (DuplexStream, Guarded<DuplexStream>, Rc<Conduct>) {
    let (mut client, mut stream, conduct) = connect();
    client.write_all(b"head").await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    conduct.begin();
    (client, stream, conduct)
}

/// How long the stream goes on until its end, and how many bytes it gives.
async fn read_to_end(stream: &mut Guarded<DuplexStream>) -> (Duration, usize) {
    let begun = Instant::now();
    let (mut bytes, mut number) = (vec![0; 16 * 1024], 0);
    loop {
        match stream.read(&mut bytes).await.unwrap() {
            0 => return (begun.elapsed(), number),
            read => number += read,
        }
    }
}

/// All that the client is told when the dispatcher closes the connection.
async fn last_words(mut client: DuplexStream, mut stream: Guarded<DuplexStream>) -> String {
    stream.shutdown().await.unwrap();
    drop(stream);
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    said
}

/// One request and its answer, as the dispatcher and the application go through them.
async fn serve(client: &mut DuplexStream, stream: &mut Guarded<DuplexStream>, conduct: &Conduct) {
    client.write_all(b"head").await.unwrap();
    let mut bytes = [0; 100];
    assert_eq!(stream.read(&mut bytes).await.unwrap(), 4);
    conduct.begin();
    conduct.end(true);
    stream.write_all(b"answer").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(client.read(&mut bytes).await.unwrap(), 6);
}

/// Whether the duration is as long as it should be, to the clock's millisecond.
fn about(took: Duration, expected: Duration) -> bool {
    took >= expected && took < expected + Duration::from_millis(5)
}

fn waker() -> (std::task::Waker, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    struct Flag(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let woken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    (std::sync::Arc::new(Flag(woken.clone())).into(), woken)
}
