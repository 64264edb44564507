//! Logs and metrics of the process: set up once, by `main`.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// From a fast commit to the longest call of a channel.
const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// Starts logging to standard error through a thread of its own, so that a slow terminal slows nobody. Logs are written
/// until the guard is dropped.
///
/// # Errors
/// The filter cannot be read.
pub fn start_logs(log: &Log) -> Result<WorkerGuard, String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| format!("`log.filter`: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match (log.format, terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder.json().flatten_event(true).init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => builder.with_ansi(terminal).with_target(false).init(),
    }
    Ok(guard)
}

/// Starts collecting metrics; the handle renders them.
///
/// # Errors
/// Metrics were started before.
pub fn start_metrics() -> Result<PrometheusHandle, String> {
    let failed = |error: metrics_exporter_prometheus::BuildError| error.to_string();
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".into()), SIZES))
        .map_err(failed)?
        .install_recorder()
        .map_err(failed)
}
