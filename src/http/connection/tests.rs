//! A guarded stream between a client (the other end of a pipe) and what the dispatcher does to
//! it, with a clock that only moves when nothing else can happen.

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

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_let_go_without_a_word() {
    let (client, mut stream, _conduct) = connect();
    let (took, bytes) = read_to_end(&mut stream).await;
    assert!(about(took, HEAD_LIMIT) && bytes == 0, "{took:?}");
    assert_eq!(last_words(client, stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_in_is_ended_and_told() {
    for requests_before in [0, 3] {
        let (mut client, mut stream, conduct) = connect();
        for _ in 0..requests_before {
            sleep(20 * SECOND).await;
            serve(&mut client, &mut stream, &conduct).await;
        }
        sleep(SECOND).await;
        let begun = Instant::now();
        let dribble = async {
            while client.write_all(b"G").await.is_ok() && begun.elapsed() < 20 * SECOND {
                sleep(Duration::from_millis(300)).await;
            }
        };
        let (took, bytes) = tokio::select! {
            ended = read_to_end(&mut stream) => ended,
            () = dribble => panic!("it may go on for ever"),
        };
        // The first second of a new connection counts.
        let expected = if requests_before == 0 { HEAD_LIMIT - SECOND } else { HEAD_LIMIT };
        assert!(about(took, expected), "{took:?} after {requests_before} requests");
        assert!(bytes > 10, "{bytes}");
        let said = last_words(client, stream).await;
        assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
        assert!(said.ends_with("}") && said.contains("\"code\":\"request_timeout\""), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_from_its_last_answer_on() {
    let (mut client, mut stream, conduct) = connect();
    for pause in [1, 4, 10, 59, 2] {
        serve(&mut client, &mut stream, &conduct).await;
        let still = timeout(pause * SECOND, read_to_end(&mut stream)).await;
        assert!(still.is_err(), "ended within {pause} s");
    }
    serve(&mut client, &mut stream, &conduct).await;
    let (took, _) = read_to_end(&mut stream).await;
    assert!(about(took, KEEP_ALIVE), "{took:?}");
    assert_eq!(last_words(client, stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn work_may_take_its_time_and_idleness_begins_after_it() {
    let (mut client, mut stream, conduct) = connect();
    client.write_all(b"head").await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    conduct.begin();
    let working = timeout(600 * SECOND, read_to_end(&mut stream)).await;
    assert!(working.is_err(), "ended while it worked");
    conduct.end(true);
    // The dispatcher does not ask for bytes after an answer: the write alone must start the clock.
    let (waker, woken) = waker();
    let mut cx = std::task::Context::from_waker(&waker);
    let written = std::pin::Pin::new(&mut stream);
    assert!(tokio::io::AsyncWrite::poll_write(written, &mut cx, b"answer").is_ready());
    let flushed = std::pin::Pin::new(&mut stream);
    assert!(tokio::io::AsyncWrite::poll_flush(flushed, &mut cx).is_ready());
    sleep(KEEP_ALIVE + SECOND).await;
    assert!(woken.load(std::sync::atomic::Ordering::SeqCst), "nobody wakes it");
    let (took, _) = read_to_end(&mut stream).await;
    assert_eq!(took, Duration::ZERO);
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

#[tokio::test(start_paused = true)]
async fn of_a_body_that_nobody_reads_so_much_is_taken_for_so_long() {
    // Fast: no more than the limit. Slow: not longer than it.
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let (mut client, mut stream, conduct) = connect();
        client.write_all(b"head").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        conduct.begin();
        conduct.end(false);
        let piece = vec![0; 32 * 1024];
        let send_for_ever = async {
            loop {
                client.write_all(&piece).await.unwrap();
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
        };
        let (took, bytes) = tokio::select! {
            ended = read_to_end(&mut stream) => ended,
            () = send_for_ever => unreachable!(),
        };
        assert!(about(took, LEFTOVER_TIME), "{took:?}");
        if pause.is_zero() {
            assert!((LEFTOVER_BYTES..LEFTOVER_BYTES + PIPE).contains(&bytes), "{bytes}");
        } else {
            assert!((1..1024 * 1024).contains(&bytes), "{bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_from_a_client_that_takes_nothing() {
    let (mut client, mut stream, conduct) = connect();
    serve(&mut client, &mut stream, &conduct).await;
    let answer = vec![1; 3 * PIPE];
    let mut bytes = vec![0; 1024];
    let stuck = timeout(SECOND, stream.write_all(&answer)).await;
    assert!(stuck.is_err(), "the pipe takes all");
    client.write_all(b"the next request").await.unwrap();
    let unread = timeout(SECOND, stream.read(&mut bytes)).await;
    assert!(unread.is_err(), "read while the answer waits");
    // Once it takes, it is heard again.
    let (mut reading, mut writing) = tokio::io::split(stream);
    let take_all = async {
        let mut taken = vec![0; 3 * PIPE];
        client.read_exact(&mut taken).await.unwrap();
    };
    let send_all = async {
        writing.write_all(&answer[..2 * PIPE]).await.unwrap();
        writing.flush().await.unwrap();
    };
    let (heard, (), ()) =
        tokio::join!(timeout(SECOND, reading.read(&mut bytes)), take_all, send_all);
    assert_eq!(heard.unwrap().unwrap(), "the next request".len());
}

#[tokio::test(start_paused = true)]
async fn what_the_dispatcher_refuses_by_itself_is_said_in_words() {
    let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let (mut client, mut stream, _conduct) = connect();
    client.write_all(b"garbage\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 11]).await.unwrap();
    let begun = Instant::now();
    let hear = async {
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        // It goes on sending, and is cut off for good a little later.
        while client.write_all(&[0; 1024]).await.is_ok() {
            sleep(SECOND / 10).await;
            if begun.elapsed() > 10 * SECOND {
                break;
            }
        }
        said
    };
    let dispatch = async {
        stream.write_all(bare).await.unwrap();
        drop(stream);
    };
    let (said, ()) = tokio::join!(hear, dispatch);
    assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    assert!(said.contains("\"code\":\"malformed\""), "{said}");
    assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
    assert!(begun.elapsed() < LEFTOVER_TIME + SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_application_are_left_as_they_are() {
    let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let (mut client, mut stream, conduct) = connect();
    serve(&mut client, &mut stream, &conduct).await;
    stream.write_all(bare).await.unwrap();
    let mut said = vec![0; bare.len()];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(said, bare);
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_its_way_is_not_cut_by_a_slow_head_behind_it() {
    let (mut client, mut stream, conduct) = connect();
    serve(&mut client, &mut stream, &conduct).await;
    client.write_all(b"G").await.unwrap();
    let (took, _) = read_to_end(&mut stream).await;
    assert!(about(took, HEAD_LIMIT), "{took:?}");
    stream.write_all(b"the rest of the answer").await.unwrap();
    let said = last_words(client, stream).await;
    assert!(said.starts_with("the rest of the answerHTTP/1.1 408 "), "{said}");
}

/// What the dispatcher gets until nothing has come for a second.
async fn read_what_there_is(stream: &mut Guarded<DuplexStream>) -> usize {
    let (mut bytes, mut number) = (vec![0; 16 * 1024], 0);
    while let Ok(read) = timeout(SECOND, stream.read(&mut bytes)).await {
        number += read.unwrap();
    }
    number
}

#[tokio::test(start_paused = true)]
async fn requests_ahead_wait_for_the_one_that_is_worked_on() {
    let (mut client, mut stream, conduct) = connect();
    client.write_all(&vec![b'G'; PIPE]).await.unwrap();
    let mut bytes = vec![0; 16 * 1024];
    let mut got = 0;
    // Others have a turn after each piece, and then it goes on.
    for _ in 0..2 {
        let mut turns = 0;
        let read = std::future::poll_fn(|cx| {
            turns += 1;
            let mut buf = tokio::io::ReadBuf::new(&mut bytes);
            let stream = std::pin::Pin::new(&mut stream);
            tokio::io::AsyncRead::poll_read(stream, cx, &mut buf).map(|_| buf.filled().len())
        });
        let piece = read.await;
        assert!((1..=AHEAD).contains(&piece), "{piece} bytes at once");
        assert!(turns <= 2, "{turns}");
        got += piece;
    }
    conduct.begin();
    assert_eq!(read_what_there_is(&mut stream).await, 0, "while another one is worked on");
    conduct.end(true);
    stream.write_all(b"answer").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(got + read_what_there_is(&mut stream).await, PIPE, "afterwards");
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_request_is_heard_when_its_answer_is_complete() {
    let (mut client, mut stream, conduct) = connect();
    client.write_all(b"one").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    conduct.begin();
    client.write_all(b"two").await.unwrap();
    let (waker, woken) = waker();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut bytes = [0; 10];
    let mut buf = tokio::io::ReadBuf::new(&mut bytes);
    let reading = std::pin::Pin::new(&mut stream);
    assert!(tokio::io::AsyncRead::poll_read(reading, &mut cx, &mut buf).is_pending());
    // The last part of a long answer may be nothing at all.
    let mut flush = || {
        let flushed = std::pin::Pin::new(&mut stream);
        assert!(tokio::io::AsyncWrite::poll_flush(flushed, &mut cx).is_ready());
        woken.swap(false, std::sync::atomic::Ordering::SeqCst)
    };
    flush();
    assert!(!flush(), "woken for nothing");
    conduct.end(true);
    assert!(flush(), "nobody wakes it");
    assert_eq!(stream.read(&mut bytes).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_comes_as_it_is_asked_for() {
    let (mut client, mut stream, conduct) = connect();
    client.write_all(b"head").await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    conduct.begin();
    client.write_all(&vec![0; 50_000]).await.unwrap();
    assert_eq!(read_what_there_is(&mut stream).await, 0, "nobody has asked");
    conduct.asked(true);
    assert!(conduct.has_waited(), "the dispatcher sleeps");
    assert_eq!(read_what_there_is(&mut stream).await, 50_000);
    conduct.asked(false);
    client.write_all(&vec![0; 50_000]).await.unwrap();
    assert_eq!(read_what_there_is(&mut stream).await, 0, "nobody has asked again");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_is_noticed_while_somebody_works_for_it() {
    for ahead in [0, 100] {
        let (mut client, mut stream, conduct) = connect();
        client.write_all(b"head").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        conduct.begin();
        client.write_all(&vec![b'G'; ahead]).await.unwrap();
        let leave = async {
            sleep(SECOND).await;
            drop(client);
        };
        let mut bytes = [0; 200];
        let (ended, ()) = tokio::join!(timeout(2 * SECOND, stream.read(&mut bytes)), leave);
        // What came before the end must not be lost.
        assert_eq!(ended.is_ok_and(|read| read.unwrap() == 0), ahead == 0);
        conduct.end(true);
        assert_eq!(read_to_end(&mut stream).await.1, ahead);
    }
}
