//! Connections that are fed a few bytes at a time until the server ends them.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::raw::{parse, read_some};
use super::reply::Reply;

/// A connection that is kept busy with next to nothing.
pub struct Dribble {
    stream: TcpStream,
    begun: Instant,
    answered: Option<Duration>,
    ended: Option<Duration>,
    said: Vec<u8>,
}

impl Dribble {
    /// Sends the beginning; the time counts from here.
    pub fn begin(mut stream: TcpStream, beginning: &[u8]) -> Dribble {
        stream.write_all(beginning).expect("send");
        stream.set_nonblocking(true).expect("a socket that does not wait");
        Dribble { stream, begun: Instant::now(), answered: None, ended: None, said: Vec::new() }
    }

    /// Sends `piece` on each of them `every` so often until the server has ended them all, which
    /// must happen within `patience`.
    #[track_caller]
    pub fn until_all_have_ended(
        all: &mut [Dribble],
        piece: &[u8],
        every: Duration,
        patience: Duration,
    ) {
        let begun = Instant::now();
        loop {
            let open = all.iter_mut().filter(|one| one.ended.is_none());
            let open = open.map(|one| one.turn(piece)).count();
            if open == 0 {
                return;
            }
            assert!(begun.elapsed() < patience, "{open} are open after {patience:?}");
            thread::sleep(every);
        }
    }

    fn turn(&mut self, piece: &[u8]) {
        let mut bytes = [0; 4096];
        let heard = loop {
            match read_some(&mut self.stream, &mut bytes) {
                Ok(0) => break Err(ErrorKind::UnexpectedEof),
                Ok(read) => self.said.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error.kind()),
            }
        };
        if !self.said.is_empty() {
            self.answered.get_or_insert(self.begun.elapsed());
        }
        // A full socket buffer is as good as a sent piece; a reset shows when reading.
        let _ = self.stream.write(piece);
        if heard.is_err() {
            self.ended = Some(self.begun.elapsed());
        }
    }

    /// When the answer came, and when the connection was ended.
    #[track_caller]
    pub fn times(&self) -> (Duration, Duration) {
        (self.answered.expect("an answer"), self.ended.expect("an end"))
    }

    /// What the server has said: one answer.
    #[track_caller]
    pub fn reply(&self) -> Reply {
        let answers = self.said.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{}", String::from_utf8_lossy(&self.said));
        parse(&self.said)
    }
}
