//! Hand-made bytes over TCP, for requests that no decent client would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use socket2::{Domain, Socket, Type};

use super::client::Client;
use super::reply::Reply;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

impl Client {
    /// Sends bytes as they are and reads until the server closes. The answer is not
    /// [`Reply::checked`]: a request that is not HTTP is refused below the application.
    #[track_caller]
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        parse(&self.raw_bytes(bytes))
    }

    /// As [`Client::raw`]; everything that came back, which may be several answers.
    #[track_caller]
    pub fn raw_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("send");
        let mut answer = Vec::new();
        // A server that refuses early may reset the connection after its answer.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(!answer.is_empty(), "no answer: {error}");
        }
        answer
    }

    /// A connection on which nothing has been said yet.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let address = self.base.read().unwrap().replace("http://", "");
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("set a time limit");
        stream
    }

    /// The head of a request with the jar's cookies, for a connection that is kept.
    pub fn head_of(&self, request_line: &str, headers: &[&str]) -> String {
        let cookies = self.cookie_header();
        let mut head = format!("{request_line} HTTP/1.1\r\nHost: localhost\r\n");
        if !cookies.is_empty() {
            head += &format!("Cookie: {cookies}\r\n");
        }
        headers.iter().for_each(|line| head += &format!("{line}\r\n"));
        head + "\r\n"
    }

    /// Sends a GET over a connection with the smallest buffers there are, reads the status, which
    /// must be 200, and leaves the rest where it is.
    #[track_caller]
    pub fn open_and_stop_reading(&self, path: &str, headers: &str) -> TcpStream {
        let address = self.base.read().unwrap().replace("http://", "");
        let address: SocketAddr = address.parse().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(2048).expect("set the receive buffer");
        // Over loopback a segment has 64 KiB, and the sender a buffer for twenty of them.
        socket.set_tcp_mss(536).expect("set the segment size");
        socket.connect(&address.into()).expect("connect");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("set a time limit");
        let cookies = self.cookie_header();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookies}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("send");
        let mut status = [0; 15];
        stream.read_exact(&mut status).expect("a status line");
        assert_eq!(&status, b"HTTP/1.1 200 OK");
        stream
    }

    /// A request line and headers by hand, with the jar's cookies; the rest of the bytes follow.
    #[track_caller]
    pub fn raw_request(&self, request_line: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut lines = vec![format!("{request_line} HTTP/1.1"), "Host: localhost".to_owned()];
        lines.push("Connection: close".to_owned());
        let cookies = self.cookie_header();
        if !cookies.is_empty() {
            lines.push(format!("Cookie: {cookies}"));
        }
        lines.extend(headers.iter().map(|line| (*line).to_owned()));
        let mut bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let mut reply = self.raw(&bytes);
        reply.request = request_line.chars().take(120).collect();
        reply
    }
}

/// Takes an HTTP/1.1 answer apart.
#[track_caller]
pub fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head in UTF-8");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status = status_line.split(' ').nth(1).expect("a status").parse().expect("a number");
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("name: value");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        headers.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    let mut body = answer[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        body = join_chunks(&body);
    }
    Reply { request: String::from("raw bytes"), status, body, headers }
}

fn join_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a chunk size");
        let size = usize::from_str_radix(size, 16).expect("a chunk size in hexadecimal");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}

/// What comes next on a socket, as [`Read::read`] has it, which leaves it to its caller to go on
/// after a signal: a machine that is stopped for a moment sends some.
pub fn read_some(stream: &mut TcpStream, bytes: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
