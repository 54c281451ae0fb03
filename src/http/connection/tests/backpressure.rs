//! What is read, and when: nothing before the dispatcher has a use for it, and no more than there
//! is room for.

use super::*;

#[tokio::test(start_paused = true)]
async fn of_a_body_that_nobody_reads_so_much_is_taken_for_so_long() {
    // Fast: no more than the limit. Slow: not longer than it.
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let (mut client, mut stream, conduct) = connect_and_begin().await;
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
    let (mut client, mut stream, conduct) = connect_and_begin().await;
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
        let (mut client, mut stream, conduct) = connect_and_begin().await;
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
