use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Proxy, Verdict};

/// A server that sends back what it gets, and a connection to it through a proxy.
fn echo() -> (Proxy, impl Fn() -> TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut &stream, &mut writer);
            });
        }
    });
    let address = proxy.address();
    let connect = move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    };
    (proxy, connect)
}

fn ask(mut stream: &TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn bytes_pass_late_or_not_at_all() {
    let (proxy, connect) = echo();
    let stream = connect();
    assert_eq!(ask(&stream, b"hello").unwrap(), b"hello");
    proxy.delay(Duration::from_millis(50));
    let asked = Instant::now();
    assert_eq!(ask(&stream, b"slow").unwrap(), b"slow");
    assert!(asked.elapsed() >= Duration::from_millis(100), "{:?}", asked.elapsed());
    proxy.restore();
    proxy.freeze();
    let kind = ask(&stream, b"later").unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind:?}");
    proxy.restore();
    let mut answer = [0; 5];
    (&stream).read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"later", "nothing was lost in the frost");
    assert_eq!(proxy.open_connections(), 1);
}

/// A database a millisecond or two away is another one than next door.
#[test]
fn a_good_network_costs_nothing() {
    let (_proxy, connect) = echo();
    let stream = connect();
    let took = |_| {
        let asked = Instant::now();
        assert_eq!(ask(&stream, b"quick").unwrap(), b"quick");
        asked.elapsed()
    };
    // Whatever else the machine does, one of many finds it free.
    let least = (0..500).map(took).min().unwrap();
    assert!(least < Duration::from_millis(1), "{least:?} there and back at least");
}

#[test]
fn connections_end_in_every_way() {
    let (proxy, connect) = echo();
    let stream = connect();
    assert_eq!(ask(&stream, b"hello").unwrap(), b"hello");
    proxy.half_close();
    let mut rest = Vec::new();
    (&stream).read_to_end(&mut rest).unwrap();
    (&stream).write_all(b"still taken").unwrap();

    proxy.reset_after(3);
    let stream = connect();
    (&stream).write_all(b"hello").unwrap();
    let error = (&stream).read_to_end(&mut rest).unwrap_err();
    assert_eq!((error.kind(), &rest[..]), (ErrorKind::ConnectionReset, &b"hel"[..]));

    proxy.restore();
    let stream = connect();
    assert_eq!(ask(&stream, b"hello").unwrap(), b"hello");
    proxy.cut();
    assert_eq!(ask(&stream, b"cut").unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.restore();
    assert_eq!(ask(&connect(), b"again").unwrap(), b"again");
}

#[test]
fn a_judge_loses_the_answer_he_chooses() {
    let (proxy, connect) = echo();
    proxy.judge(|bytes| match bytes {
        b"COMMIT" => Verdict::LoseAnswer,
        b"DROP" => Verdict::Reset,
        _ => Verdict::Pass,
    });
    let stream = connect();
    assert_eq!(ask(&stream, b"BEGIN").unwrap(), b"BEGIN");
    assert_eq!(ask(&stream, b"COMMIT").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&connect(), b"DROP").unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.judge_no_more();
    assert_eq!(ask(&connect(), b"COMMIT").unwrap(), b"COMMIT");
}
