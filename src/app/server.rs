//! The HTTP servers of a node.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use socket2::{Domain, Socket, Type};

use super::{Parts, open_files};
use crate::config::Config;
use crate::http;
use crate::http::admission::Admission;
use crate::http::connection::{Guarded, LEFTOVER_TIME};
use crate::http::meters::Meter;
use crate::http::middleware::{Prefixes, RequestIds, observe};

/// Connections that wait to be accepted; more are refused by the kernel.
const BACKLOG: i32 = 1024;

/// A client that takes nothing of what waits for it, or whose network is gone, is cut off after
/// so long. Without it a stream that nobody reads would be kept for ever, and one whose client
/// has vanished for a quarter of an hour.
const STUCK_LIMIT: Duration = Duration::from_secs(30);

/// Upper bounds of the latency histograms, in seconds.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Upper bounds of the size histograms.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];

/// Bound servers, not yet running.
pub(super) struct Servers {
    pub(super) address: SocketAddr,
    pub(super) main: Server,
    pub(super) metrics: Option<Server>,
}

/// Makes the recorder that `/metrics` renders.
pub(super) fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".into()), &SIZES)?
        .install_recorder()
        .context("cannot install the metrics recorder")?;
    super::metrics::describe();
    Ok(recorder)
}

/// Binds the main server, and the one for metrics if it has an address of its own.
pub(super) fn bind(
    config: &Config,
    parts: &Parts,
    prometheus: PrometheusHandle,
) -> anyhow::Result<Servers> {
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(2, |cores| cores.get()),
        chosen => chosen,
    };
    let prefixes = Arc::new(Prefixes::new()?);
    let admission = Arc::new(Admission::new(config.max_in_flight));
    let connections = open_files::connections(config.max_connections);
    let own_metrics = config.metrics_listen.is_some();
    let for_app = parts.clone();
    let handle = web::Data::new(prometheus);
    let for_main = handle.clone();
    let for_metrics = admission.clone();
    let listener =
        listen(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let server = Server::build()
        .workers(workers)
        // Of each worker; one that has as many lets the others wait in the backlog.
        .max_concurrent_connections((connections / workers).max(1))
        .shutdown_timeout(3)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let main = server.listen("roost", listener, move || {
        // Timelines run on the threads that serve requests: a message to an actor on the
        // same thread costs a tenth of one that has to wake another.
        for_app.timelines.run_on(actix::Arbiter::current());
        let front = Rc::new(for_app.front(prefixes.next(), admission.clone()));
        let app = App::new()
            .wrap(from_fn(move |request, next| observe(front.clone(), request, next)))
            .app_data(web::Data::new(admission.clone()))
            .app_data(Meter::new("unknown"))
            .app_data(for_main.clone())
            .configure(|cfg| for_app.configure(cfg))
            .configure(http::configure);
        let app =
            if own_metrics { app } else { app.configure(http::operations::configure_metrics) };
        let app = app.default_service(web::to(http::conventions::unknown_path));
        let stopping = stopping.clone();
        let stopping = move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        };
        guarded(app.into_factory(), address, stopping, Rc::new(prefixes.next()))
    })?;
    let metrics = match config.metrics_listen {
        None => None,
        Some(listen) => Some(bind_metrics(listen, parts, handle, for_metrics)?),
    };
    Ok(Servers { address, main: main.run(), metrics })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A new start is not kept waiting by connections of the last one. On Windows it would allow
    // two servers on one port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// HTTP/1.1 as `HttpServer` would speak it, with a guard around every connection, which has all
/// the limits of time.
fn guarded<S, B, W>(
    app: S,
    address: SocketAddr,
    stopping: impl Fn() -> W + 'static,
    ids: Rc<RequestIds>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>
        + 'static,
    S::InitError: Debug,
    S::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
    W: Future<Output = ()> + 'static,
{
    let service = HttpService::build()
        .graceful_shutdown_signal(stopping)
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LEFTOVER_TIME)
        .local_addr(address)
        .on_connect_ext(|stream: &Guarded<TcpStream>, data| {
            data.insert(stream.conduct());
        })
        .finish(map_config(app.map_err(|error: Error| error.error_response()), |()| {
            AppConfig::default()
        }));
    fn_service(move |socket: TcpStream| {
        limit_stuck(&socket);
        let peer = socket.peer_addr().ok();
        let stream = Guarded::new(socket, ids.clone());
        async move { Ok::<_, DispatchError>((stream, Protocol::Http1, peer)) }
    })
    .and_then(service)
}

/// Only the kernel knows whether a client takes what is sent: the body of a response is not
/// even asked for more while the socket is full (RFC 5482).
fn limit_stuck(socket: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(STUCK_LIMIT)) {
        tracing::debug!(%error, "a connection is without a limit for stuck clients");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, STUCK_LIMIT);
}

fn bind_metrics(
    listen: SocketAddr,
    parts: &Parts,
    handle: web::Data<PrometheusHandle>,
    admission: Arc<Admission>,
) -> anyhow::Result<Server> {
    let db = web::Data::new(parts.db.clone());
    let timelines = web::Data::new(parts.timelines.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(handle.clone())
            .app_data(db.clone())
            .app_data(timelines.clone())
            .app_data(web::Data::new(admission.clone()))
            .configure(http::operations::configure_metrics)
            .configure(http::debug::configure)
    })
    .workers(1)
    .disable_signals()
    .bind(listen)
    .with_context(|| format!("cannot listen on {listen}"))?;
    for address in server.addrs() {
        tracing::info!(%address, "metrics");
    }
    Ok(server.run())
}
