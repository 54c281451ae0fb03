//! Logs on standard error, one line per event, for people or as JSON; and the export of traces
//! by OpenTelemetry, in builds with the cargo feature `otel`.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::LogFormat;

/// Longest time that the stop waits for the collector to take the last traces.
#[cfg(feature = "otel")]
const FLUSH_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// Keeps the export of traces alive; sends what is left when dropped.
#[derive(Debug, Default)]
pub struct Export {
    #[cfg(feature = "otel")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Starts the log. `filter` is a level, or levels by module: `info`,
/// `warn,roost::fanout=debug`. With `otlp`, the URL of an OTLP/HTTP collector, traces are
/// exported until the value is dropped.
///
/// # Errors
/// When the filter cannot be read, the URL cannot be used, or this build cannot export.
pub fn start(filter: &str, format: LogFormat, otlp: Option<&str>) -> anyhow::Result<Export> {
    let targets: Targets = filter
        .parse()
        .with_context(|| format!("invalid log filter {filter:?} (setting ROOST_LOG)"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let (traces, export) = traces(otlp)?;
    let log = tracing_subscriber::registry().with(traces).with(lines.with_filter(targets));
    // Only tests start it twice in one process, and then the first one holds.
    let _ = log.try_init();
    Ok(export)
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
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT)
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}
