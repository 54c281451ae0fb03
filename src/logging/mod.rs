//! Logs on standard error, one line per event, for people or as JSON; and the export of traces
//! by OpenTelemetry, in builds with the cargo feature `otel`.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use self::lines::Lines;
use crate::config::LogFormat;

/// Longest time that the end of the process waits for the last lines to be written.
const LINES_LIMIT: Duration = Duration::from_millis(500);

/// Longest time that the stop waits for the collector to take the last traces.
#[cfg(feature = "otel")]
const TRACES_LIMIT: Duration = Duration::from_secs(2);

/// The log of the process. Dropped at its end, also after a panic, it waits for the last lines
/// and traces, within limits.
pub struct Log {
    lines: Lines,
    export: Export,
}

/// Keeps the export of traces alive; sends what is left when dropped.
#[derive(Debug, Default)]
struct Export {
    #[cfg(feature = "otel")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Starts the log, which panics go to as well. `filter` is a level, or levels by module: `info`,
/// `warn,roost::fanout=debug`. With `otlp`, the URL of an OTLP/HTTP collector, traces are
/// exported until the value is dropped.
///
/// Nobody who logs waits for standard error: a bounded number of bytes waits for it, what is
/// beyond is lost and counted (`roost_log_lines_lost_total`).
///
/// # Errors
/// When the filter cannot be read, the URL cannot be used, this build cannot export, or the
/// machine has no thread for it.
pub fn start(filter: &str, format: LogFormat, otlp: Option<&str>) -> anyhow::Result<Log> {
    let targets: Targets = filter
        .parse()
        .with_context(|| format!("invalid log filter {filter:?} (setting ROOST_LOG)"))?;
    let lines = Lines::start(std::io::stderr()).context("cannot start the log")?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(lines.clone())
        .with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let (traces, export) = traces(otlp)?;
    let subscriber = tracing_subscriber::registry().with(traces).with(layer.with_filter(targets));
    // Only tests start it twice in one process, and then the first one holds.
    if subscriber.try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(Log { lines, export })
}

/// In place of the usual hook, which writes to standard error itself: it would wait there with
/// the thread that panics, and its lines are not of the log's form.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        place,
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {}",
        text.unwrap_or("no text"),
    );
}

impl Drop for Log {
    fn drop(&mut self) {
        // First the traces, whose failure is a line of the log.
        self.export = Export::default();
        self.lines.flush(LINES_LIMIT);
    }
}

type Traces = Option<Box<dyn Layer<Registry> + Send + Sync>>;

#[cfg(not(feature = "otel"))]
fn traces(otlp: Option<&str>) -> anyhow::Result<(Traces, Export)> {
    anyhow::ensure!(
        otlp.is_none(),
        "this build cannot export traces: build with --features otel (setting ROOST_OTLP_ENDPOINT)"
    );
    Ok((None, Export::default()))
}

#[cfg(feature = "otel")]
fn traces(otlp: Option<&str>) -> anyhow::Result<(Traces, Export)> {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

    let Some(endpoint) = otlp else { return Ok((None, Export::default())) };
    anyhow::ensure!(
        endpoint.starts_with("http://"),
        "{endpoint:?} is no address of a collector such as http://127.0.0.1:4318, without TLS \
         (setting ROOST_OTLP_ENDPOINT)"
    );
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .context("cannot export traces (setting ROOST_OTLP_ENDPOINT)")?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("roost").build())
        .build();
    // Where in the source a span begins is the same for all of a kind.
    let spans = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracer(provider.tracer("roost"));
    // Own spans only: those of libraries would drown them.
    let layer = spans.with_filter(Targets::new().with_target("roost", tracing::Level::INFO));
    Ok((Some(layer.boxed()), Export { provider: Some(provider) }))
}

#[cfg(feature = "otel")]
impl Drop for Export {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(TRACES_LIMIT)
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}
