//! What a client is told that is refused below the application.

use super::*;

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
