//! The composition root: builds the parts of a node, runs it, and stops it in order.

mod background;
mod counts;
mod hear;
mod metrics;
mod open_files;
mod parts;
mod publish;
mod server;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use parts::Parts;

use crate::config::Config;
use crate::store::migrations;
use crate::store::sole::{self, Claim};

/// Longest wait for the other nodes when starting. A node that was killed is buried by then.
const JOIN_LIMIT: Duration = Duration::from_secs(3);

/// Longest wait for requests in flight when stopping.
const REQUESTS_LIMIT: Duration = Duration::from_secs(4);

/// Longest wait for what the writers still have to write. With a database that hangs, what was
/// not acknowledged is given up: the process must end within ten seconds.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// Runs a node until it is told to stop. Prints one line on standard output when it is ready:
/// `Roost listens on http://ADDRESS:PORT`.
///
/// # Errors
/// When it cannot start; a running node ends without one.
pub fn run(config: Config) -> anyhow::Result<()> {
    let prometheus = server::install_metrics()?;
    actix_web::rt::System::new().block_on(async move {
        Parts::check(&config)?;
        open_files::raise_limit();
        let _claim = prepare_storage(&config)?;
        let config = Arc::new(config);
        let parts = Parts::build(&config).await?;
        if !parts.bus.wait_until_joined(JOIN_LIMIT).await {
            tracing::warn!("the other nodes do not answer yet: serving from the database");
        }
        let servers = server::bind(&config, &parts, prometheus)?;
        let housekeeping = background::start(&parts);
        // From here on a signal is listened to: whoever has read the line may send one.
        let signals = Signals::listen()?;
        println!("Roost listens on http://{}", servers.address);
        tracing::info!(address = %servers.address, engine = ?parts.db.engine(), "ready");
        let running = servers.main.handle();
        let main = actix_web::rt::spawn(servers.main);
        let metrics = servers.metrics.map(|server| (server.handle(), actix_web::rt::spawn(server)));
        signals.told_to_stop().await;
        tracing::info!("stopping");
        // First no new work comes in, then what is under way is written, then the rest closes.
        parts.streams.stop();
        let _ = tokio::time::timeout(REQUESTS_LIMIT, running.stop(true)).await;
        housekeeping.abort();
        if tokio::time::timeout(FINISH_LIMIT, parts.finish()).await.is_err() {
            tracing::warn!("the database did not answer in time: stopping without it");
        }
        if let Some((handle, task)) = metrics {
            handle.stop(false).await;
            let _ = task.await;
        }
        main.abort();
        tracing::info!("stopped");
        Ok(())
    })
}

/// Makes the data directory, claims the database and migrates it.
fn prepare_storage(config: &Config) -> anyhow::Result<Claim> {
    let storage = &config.storage;
    let folder = &storage.data_dir;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data directory {}", folder.display()))?;
    let database = storage.database();
    let claim = sole::claim(&database)?;
    let ran = migrations::run(&database)?;
    if ran > 0 {
        tracing::info!(migrations = ran, "the schema is up to date");
    }
    Ok(claim)
}

/// The signals that ask for an orderly stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told_to_stop(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
