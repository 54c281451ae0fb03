//! One connection, kept alive.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Request;

/// The longest head of a reply that is read.
const LONGEST_HEAD: usize = 16 * 1024;

/// A call outside of a measurement that takes longer has failed.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What is read of the head of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Bytes of status line, headers and the empty line.
    pub head_bytes: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
}

impl Head {
    /// Reads it, `None` when it has not arrived completely.
    ///
    /// # Errors
    /// For what is not HTTP/1.1, and for chunked bodies, which nothing measured here sends.
    fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > LONGEST_HEAD {
                Err(odd("a head without end"))
            } else {
                Ok(None)
            };
        };
        let head = &bytes[..end];
        let status = head
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| number(rest.get(..3)?))
            .ok_or_else(|| odd("no status line"))? as u16;
        let length = head.split(|byte| *byte == b'\n').find_map(|line| {
            const NAME: &[u8] = b"content-length:";
            let (name, value) = line.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then(|| number(value.trim_ascii()))?
        });
        let bodiless = matches!(status, 100..200 | 204 | 304);
        match length {
            Some(body_bytes) if !bodiless => {
                Ok(Some(Head { status, head_bytes: end + 4, body_bytes }))
            }
            None if !bodiless => Err(odd("a body without content-length")),
            _ => Ok(Some(Head { status, head_bytes: end + 4, body_bytes: 0 })),
        }
    }

    /// Bytes of the whole reply.
    pub fn total(&self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn odd(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// A connection of a load loop.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and reads the reply to its end.
    ///
    /// # Errors
    /// When the connection breaks or the reply is not understood.
    pub async fn call(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let head = loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                break head;
            }
        };
        if self.buffer.len() < head.total() {
            self.buffer.resize(head.total(), 0);
        }
        if filled < head.total() {
            self.stream.read_exact(&mut self.buffer[filled..head.total()]).await?;
        }
        Ok(head)
    }

    /// The body of the last reply.
    pub fn body(&self, head: Head) -> &[u8] {
        &self.buffer[head.head_bytes..head.total()]
    }
}

/// A reply, kept whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Where its parts lie.
    pub head: Head,
    /// Head and body as they came.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head.head_bytes..]
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body()).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(self.body()).with_context(|| self.text())
    }

    /// Reads a reply that was written down.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn parse(bytes: Vec<u8>) -> anyhow::Result<Reply> {
        match Head::parse(&bytes)? {
            Some(head) if head.total() <= bytes.len() => Ok(Reply { head, bytes }),
            _ => bail!("half a reply"),
        }
    }
}

/// Sends one request on a connection of its own, outside of a measurement.
///
/// # Errors
/// When there is no reply within a minute, or it is not of the 200s.
pub fn call(address: SocketAddr, request: &Request) -> anyhow::Result<Reply> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(CALL_LIMIT))?;
    stream.write_all(request.bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let head = loop {
        match Head::parse(&bytes)? {
            Some(head) if head.total() <= bytes.len() => break head,
            _ => {}
        }
        match stream.read(&mut chunk)? {
            0 => bail!("the server closed the connection"),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let reply = Reply { head, bytes };
    if !(200..300).contains(&head.status) {
        bail!("{}: {} {}", request.line(), head.status, reply.text());
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let reply = b"HTTP/1.1 200 OK\r\nX: content-length: 9\r\nContent-Length: 5\r\n\r\nhello";
        let head = Head::parse(reply).unwrap().unwrap();
        assert_eq!(head, Head { status: 200, head_bytes: reply.len() - 5, body_bytes: 5 });
        assert_eq!(Head::parse(&reply[..reply.len() - 6]).unwrap(), None);
        let empty = b"HTTP/1.1 304 Not Modified\r\n\r\n";
        assert_eq!(Head::parse(empty).unwrap().unwrap().body_bytes, 0);
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        for bad in [&b"SMTP ready\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 20_000]] {
            assert!(Head::parse(bad).is_err());
        }
    }
}
