//! Asks a running node, at its metrics address, what it holds in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::timeline::Peeked;

/// Longest wait for the connection and for each part of the answer.
const LIMIT: Duration = Duration::from_secs(3);

/// Longest answer that is read, in bytes.
const LONGEST: u64 = 16 * 1024;

/// What the node's memory holds of a feed.
///
/// # Errors
/// When the node does not answer, or not as a node with `ROOST_METRICS_LISTEN` does.
pub(super) fn peek(node: SocketAddr, reader: i64, tweet: i64) -> anyhow::Result<Peeked> {
    let unreachable = || format!("no node answers at {node}");
    let mut stream = TcpStream::connect_timeout(&node, LIMIT).with_context(unreachable)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // 1.0: the answer ends with the connection.
    let request = format!("GET /debug/feeds/{reader}/{tweet} HTTP/1.0\r\nHost: {node}\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(unreachable)?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).with_context(unreachable)?;
    parse(&answer).with_context(|| format!("{node} answers otherwise than a node of this version"))
}

fn parse(answer: &str) -> anyhow::Result<Peeked> {
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("no status")?;
    if status != "200" {
        bail!("status {status}");
    }
    Ok(serde_json::from_str(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Held;

    #[test]
    fn answers_are_read_and_refused() {
        let held = Held { entries: 3, complete: true, oldest: 7, holds: false };
        let body = serde_json::to_string(&Peeked::Held(held)).unwrap();
        let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        assert_eq!(parse(&answer).unwrap(), Peeked::Held(held));
        for bad in ["", "HTTP/1.0 404 Not Found\r\n\r\n{}", "HTTP/1.0 200 OK\r\n\r\n{}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
