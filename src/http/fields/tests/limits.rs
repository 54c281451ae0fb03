//! Limits of size, number and time.

use super::*;
use crate::media::FILE_LIMIT;

#[actix_web::test]
async fn bodies_past_their_limit_are_413() {
    let text = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
    assert_eq!(status(read_as(JSON, text(TEXT_LIMIT)).await), 200);
    assert_eq!(status(read_as(JSON, text(TEXT_LIMIT + 1)).await), 413);
    assert_eq!(status(read_as(FORM, "a".repeat(TEXT_LIMIT + 1)).await), 413);

    let texts = |len: usize| form(&[text_part("a", &"x".repeat(len)), text_part("b", "yy")]);
    assert_eq!(status(read_as(MULTIPART, texts(TEXT_LIMIT - 4)).await), 200);
    assert_eq!(status(read_as(MULTIPART, texts(TEXT_LIMIT - 3)).await), 413);

    let parts = |count| form(&vec![text_part("a", "x"); count]);
    assert_eq!(status(read_as(MULTIPART, parts(64)).await), 200);
    assert_eq!(status(read_as(MULTIPART, parts(65)).await), 413);

    let header = format!("--XX\r\nContent-Disposition: form-data; name=\"{}\"", "x".repeat(70_000));
    assert_eq!(status(read_as(MULTIPART, header).await), 413);
}

#[actix_web::test]
async fn files_past_their_limit_are_413() {
    let file = |len| form(&[file_part("f", "filename=x", &"x".repeat(len))]);
    let fields = read_as(MULTIPART, file(FILE_LIMIT)).await.unwrap();
    assert_eq!(fields.files("f").next().unwrap().bytes.len(), FILE_LIMIT);
    drop(fields);
    assert_eq!(status(read_as(MULTIPART, file(FILE_LIMIT + 1)).await), 413);
}

#[actix_web::test]
async fn an_endless_body_is_cut_off() {
    // A file that nobody keeps: only the limit of the whole body ends it.
    let parts: Vec<_> = (0..10).map(|_| file_part("f", "filename=x", "x")).collect();
    let start = format!("{}{}", parts.concat(), file_part("f", "filename=x", ""));
    let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = std::iter::once(Bytes::from(start)).chain(std::iter::repeat(megabyte));
    let request = TestRequest::post().insert_header((header::CONTENT_TYPE, MULTIPART));
    let result = extract_from(request, stream::iter(chunks.map(Ok))).await;
    assert_eq!(status(result), 413);
}

#[actix_web::test]
async fn a_declared_length_past_the_limit_is_refused_unread() {
    for (kind, length, expected) in
        [(JSON, 65_537, 413), (FORM, 65_537, 413), (MULTIPART, 200_000_000, 413)]
    {
        let request = TestRequest::post()
            .insert_header((header::CONTENT_TYPE, kind))
            .insert_header((header::CONTENT_LENGTH, length));
        assert_eq!(status(extract_from(request, stream::pending()).await), expected, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    for kind in [JSON, FORM, MULTIPART, "text/plain"] {
        let request = TestRequest::post().insert_header((header::CONTENT_TYPE, kind));
        let started = tokio::time::Instant::now();
        assert_eq!(status(extract_from(request, stream::pending()).await), 408, "{kind}");
        assert_eq!(started.elapsed().as_secs(), 30, "{kind}");
    }
}

#[actix_web::test]
async fn a_broken_connection_is_no_fault_of_ours() {
    for kind in [JSON, FORM, MULTIPART, "text/plain"] {
        let request = TestRequest::post().insert_header((header::CONTENT_TYPE, kind));
        let chunks = vec![Err(PayloadError::Incomplete(None))];
        assert_eq!(status(extract(request, chunks).await), 400, "{kind}");
    }
}
