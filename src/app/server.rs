//! The HTTP servers of a node.

use std::any::Any;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{Parts, open_files};
use crate::config::Config;
use crate::http;
use crate::http::admission::Admission;
use crate::http::meters::Meter;
use crate::http::middleware::{Prefixes, observe};

/// An idle connection is kept for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Connections that wait to be accepted; more are refused by the kernel.
const BACKLOG: u32 = 1024;

/// The head of a request must arrive within.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

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
    let main = HttpServer::new(move || {
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
        app.default_service(web::to(http::conventions::unknown_path))
    })
    .on_connect(limit_stuck)
    .workers(workers)
    // Of each worker; one that has as many lets the others wait in the backlog.
    .max_connections((connections / workers).max(1))
    .backlog(BACKLOG)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_LIMIT)
    .shutdown_timeout(3)
    .disable_signals()
    .bind(config.listen)
    .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = *main.addrs().first().context("no address is bound")?;
    let metrics = match config.metrics_listen {
        None => None,
        Some(listen) => Some(bind_metrics(listen, parts, handle, for_metrics)?),
    };
    Ok(Servers { address, main: main.run(), metrics })
}

/// Only the kernel knows whether a client takes what is sent: the body of a response is not
/// even asked for more while the socket is full (RFC 5482).
fn limit_stuck(connection: &dyn Any, _: &mut Extensions) {
    #[cfg(target_os = "linux")]
    if let Some(socket) = connection.downcast_ref::<TcpStream>()
        && let Err(error) = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(STUCK_LIMIT))
    {
        tracing::debug!(%error, "a connection is without a limit for stuck clients");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (connection, STUCK_LIMIT, size_of::<TcpStream>());
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
