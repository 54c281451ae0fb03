//! The event stream of one reader. It tells of an entry by itself: a reader who asked again and
//! again would take the processor from the delivery that he watches.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// A tweet that takes longer has not been delivered. A stream says something every 15 s.
const LIMIT: Duration = Duration::from_secs(120);

/// The event stream of one reader.
pub(super) struct Stream {
    connection: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Stream {
    /// Opens it; entries from now on are told.
    pub(super) fn open(address: SocketAddr, cookie: &str) -> anyhow::Result<Stream> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(LIMIT))?;
        let head = format!(
            "GET /api/newsfeeds/stream/ HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n"
        );
        connection.write_all(head.as_bytes())?;
        let mut stream = Stream { connection: BufReader::new(connection), line: Vec::new() };
        ensure!(stream.next_line()?.starts_with("HTTP/1.1 200"), "no stream: {:?}", stream.line);
        while !stream.next_line()?.is_empty() {}
        Ok(stream)
    }

    /// Waits until the tweet is told, and tells when that was.
    pub(super) fn wait_for(&mut self, tweet: i64) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let Some(item) = self.next_line()?.strip_prefix("data: ") else { continue };
            let item: serde_json::Value = serde_json::from_str(item)?;
            if item["tweet"]["id"].as_i64() == Some(tweet) {
                return Ok(Instant::now());
            }
        }
        bail!("tweet {tweet} was not told within {LIMIT:?}")
    }

    /// The next line, sizes of chunks included. An event comes in one chunk.
    fn next_line(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        let read = self.connection.read_until(b'\n', &mut self.line)?;
        ensure!(read > 0, "the stream has ended");
        Ok(std::str::from_utf8(&self.line).context("not UTF-8")?.trim_end())
    }
}
