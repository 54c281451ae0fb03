//! What a connection looks like after a body: over real sockets.

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::fields::Fields;

async fn connect() -> TcpStream {
    async fn echo(fields: Fields) -> HttpResponse {
        HttpResponse::Ok().body(format!("[{}]", fields.text("a").unwrap_or_default()))
    }
    let server = HttpServer::new(|| App::new().route("/", web::post().to(echo)))
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    TcpStream::connect(address).await.unwrap()
}

/// Reads until `end` has come, or the server closes the connection.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
        if String::from_utf8_lossy(&bytes).contains(end) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const SECOND: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\
                      Content-Type: application/x-www-form-urlencoded\r\n\r\na=next";

#[actix_web::test]
async fn the_connection_serves_on_after_a_form_with_an_epilogue() {
    let mut stream = connect().await;
    let part = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfirst\r\n--XX--\r\n";
    let epilogue = "an epilogue ".repeat(1000);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: multipart/form-data; boundary=XX\r\n\r\n";
    let chunks =
        format!("{:x}\r\n{part}\r\n{:x}\r\n{epilogue}\r\n0\r\n\r\n", part.len(), epilogue.len());
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "[first]").await.starts_with("HTTP/1.1 200"));
    stream.write_all(SECOND.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "[next]").await.starts_with("HTTP/1.1 200"));
}

#[actix_web::test]
async fn the_rest_of_a_refused_body_is_never_taken_for_a_request() {
    // The body is itself a request, and a long one: it must not be answered.
    let body = SECOND.repeat(2000);
    for kind in ["application/json", "multipart/form-data; boundary=XX", "text/plain"] {
        let mut stream = connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nContent-Type: {kind}\r\n\r\n",
            body.len() + 200_000_000
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may have closed its end by now, which is as good.
        let _ = stream.write_all(body.as_bytes()).await;
        let answer = read_until(&mut stream, "never").await;
        assert!(answer.starts_with("HTTP/1.1 41"), "{kind}: {answer:.60}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{kind}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{kind}: {answer}");
    }
}
