//! Lines on their way to standard error.
//!
//! Whoever logs must not wait for whoever reads the log: a pipe that nobody empties, or a disk
//! that stands still, would stop every thread of the service. Lines go into a buffer of bounded
//! size, which a thread of its own writes out. What finds no room is lost and counted, and once
//! the writer gets through again the log says how much that was.
//!
//! Deliberately no `tracing-appender`: its queue is bounded in lines and not in bytes, each of
//! them an allocation and a write.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait: some thousand lines. As many again may be on their way out.
const ROOM: usize = 1 << 20;

/// Bytes of an empty buffer that are kept for the next lines.
const KEPT: usize = 64 * 1024;

/// How soon a standard error that others have made non-blocking, and that is full, is tried again.
const FULL_FOR: Duration = Duration::from_millis(20);

/// The way in; clones share it.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    filled: Condvar,
    /// All of a batch is out, or given up.
    written: Condvar,
    room: usize,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    lines: u64,
    /// Lines that found no room, or that could not be written, and have not been told of.
    lost: u64,
    /// A batch is being written.
    is_writing: bool,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Lines> {
        Lines::with_room(ROOM, out)
    }

    fn with_room(room: usize, out: impl Write + Send + 'static) -> io::Result<Lines> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            room,
        });
        let writer = shared.clone();
        // It ends with the process: there is no last line before that.
        thread::Builder::new().name("log".into()).spawn(move || writer.write_out(out))?;
        Ok(Lines(shared))
    }

    /// Waits until everything that was logged before is written, but no longer than `limit`.
    /// Whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut waiting = self.0.waiting.lock();
        while !waiting.bytes.is_empty() || waiting.is_writing {
            if self.0.written.wait_until(&mut waiting, until).timed_out() {
                return false;
            }
        }
        true
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.bytes.len() + line.len() > self.0.room {
            waiting.lost += 1;
            drop(waiting);
            lost(1);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        drop(waiting);
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn write_out(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let lines = self.take(&mut batch);
            let written = write_all(&mut out, &batch);
            batch.clear();
            batch.shrink_to(KEPT);
            if written.is_err() {
                lost(lines);
            }
            let untold = self.ended(lines, written.is_ok());
            if untold > 0 {
                tracing::warn!(lines = untold, "lines of the log were lost");
            }
        }
    }

    /// Waits for lines and takes all there are; how many.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut waiting = self.waiting.lock();
        while waiting.bytes.is_empty() {
            self.filled.wait(&mut waiting);
        }
        std::mem::swap(batch, &mut waiting.bytes);
        waiting.is_writing = true;
        std::mem::take(&mut waiting.lines)
    }

    /// Ends a batch; the lost lines that the log can be told of.
    fn ended(&self, lines: u64, is_written: bool) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.is_writing = false;
        let untold = match is_written {
            true => std::mem::take(&mut waiting.lost),
            // Not now: a line about it would be lost as well, and so on.
            false => {
                waiting.lost += lines;
                0
            }
        };
        drop(waiting);
        self.written.notify_all();
        untold
    }
}

fn lost(lines: u64) {
    metrics::counter!("roost_log_lines_lost_total").increment(lines);
}

fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(size) => bytes = &bytes[size..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_FOR),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Each event comes in one piece.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> &'a Lines {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Longest wait for the thread that writes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Takes a piece when somebody asks for it; fails when nobody can any more.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(room: usize) -> (Lines, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Lines::with_room(room, Slow(sender)).unwrap(), receiver)
    }

    fn next(pieces: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(pieces.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    fn lost_of(lines: &Lines) -> u64 {
        lines.0.waiting.lock().lost
    }

    /// Until the first line is on its way out and no longer in the buffer.
    fn wait_until_writing(lines: &Lines) {
        let begun = Instant::now();
        while !lines.0.waiting.lock().is_writing {
            assert!(begun.elapsed() < PATIENCE, "nothing is written");
            thread::yield_now();
        }
    }

    #[test]
    fn what_finds_no_room_is_lost_and_the_rest_keeps_its_order() {
        let (lines, pieces) = slow(20);
        lines.push(b"the first\n");
        wait_until_writing(&lines);
        for number in 0..5 {
            lines.push(format!("number {number}\n").as_bytes());
        }
        assert_eq!(lost_of(&lines), 3);
        assert!(!lines.flush(Duration::from_millis(10)), "nobody has taken anything");
        assert_eq!(next(&pieces), "the first\n");
        // A shorter one still fits, and what is lost is no piece of a line.
        lines.push(b".\n");
        let rest = next(&pieces);
        assert!(["number 0\nnumber 1\n", "number 0\nnumber 1\n.\n"].contains(&&*rest), "{rest:?}");
        if !rest.contains('.') {
            assert_eq!(next(&pieces), ".\n");
        }
        assert!(lines.flush(PATIENCE));
        assert_eq!(lost_of(&lines), 0, "it was told");
    }

    #[test]
    fn a_log_that_is_gone_costs_its_lines_and_no_more() {
        let (lines, pieces) = slow(1_000);
        drop(pieces);
        for number in 1..=3 {
            lines.push(b"into the void\n");
            assert!(lines.flush(PATIENCE));
            assert_eq!(lost_of(&lines), number);
        }
    }

    /// Writes a byte at a time, and is full every other time.
    #[derive(Clone, Default)]
    struct Reluctant(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, calls) = &mut *self.0.lock();
            *calls += 1;
            match *calls % 3 {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    written.push(bytes[0]);
                    Ok(1)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_is_full_for_a_moment_loses_nothing() {
        let out = Reluctant::default();
        let lines = Lines::start(out.clone()).unwrap();
        lines.push(b"bit by bit\n");
        assert!(lines.flush(PATIENCE));
        assert_eq!(out.0.lock().0, b"bit by bit\n");
    }
}
