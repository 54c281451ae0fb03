//! The limit of the read path: the HTTP server of the service, with its settings and threads,
//! and a handler that knows its answer beforehand.
//!
//! `roost-bare FILE`: answers everything with the reply in FILE, status line, headers and body,
//! byte by byte what the service has sent (but for the date). `roost-bare --body-only FILE`
//! leaves the headers of the service away.

use std::process::ExitCode;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;
use futures_util::StreamExt;
use roost_bench::load::Reply;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every request gets.
struct Answer {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let file = files.first().context("usage: roost-bare [--body-only] FILE")?;
    let reply = Reply::parse(std::fs::read(file)?)?;
    let answer = web::Data::new(answer(&reply, flags.iter().any(|flag| flag == "--body-only"))?);
    actix_web::rt::System::new().block_on(async move {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let server = HttpServer::new(move || {
            App::new().app_data(answer.clone()).default_service(web::to(reply_always))
        })
        .workers(workers)
        .keep_alive(Duration::from_secs(60))
        .client_request_timeout(Duration::from_secs(5))
        .bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().context("no address is bound")?;
        println!("Bare listens on http://{address}");
        server.run().await.context("the server stopped")
    })
}

async fn reply_always(
    request: HttpRequest,
    mut body: web::Payload,
    answer: web::Data<Answer>,
) -> HttpResponse {
    if *request.method() != Method::GET {
        // The server would close a connection with a body that nobody reads.
        while let Some(Ok(_)) = body.next().await {}
    }
    let mut response = HttpResponse::Ok();
    for (name, value) in &answer.headers {
        response.insert_header((name.clone(), value.clone()));
    }
    response.body(answer.body.clone())
}

fn answer(reply: &Reply, body_only: bool) -> anyhow::Result<Answer> {
    let head = String::from_utf8_lossy(&reply.bytes[..reply.head.head_bytes]);
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    // These two are the server's own.
    let told = lines.filter(|(name, _)| !matches!(*name, "content-length" | "date"));
    let kept = told.filter(|(name, _)| !body_only || *name == "content-type");
    let headers = kept
        .map(|(name, value)| Ok((name.parse()?, HeaderValue::from_str(value)?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(Answer { headers, body: Bytes::copy_from_slice(reply.body()) })
}
