//! How long a connection may be silent, and how soon a head must be complete.

use super::*;

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
    let (_client, mut stream, conduct) = connect_and_begin().await;
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
