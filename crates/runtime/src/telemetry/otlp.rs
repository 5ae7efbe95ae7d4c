//! Export of traces over OTLP/HTTP. Owns the exporter and its limits. Spans wait in a bounded queue, which
//! drops them when it is full. A separate thread sends them, so a collector that does not respond never
//! blocks a job.

use crate::build_info;
use crate::config_error::ConfigError;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time limit for the export of one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A provider that exports to `endpoint` (the collector's base URL). Further OTEL_* variables (headers,
/// sampler, queue size, resource attributes) are read by the SDK according to its specification.
pub(super) fn provider(service: &str, endpoint: &str) -> Result<SdkTracerProvider, ConfigError> {
    let refused = |reason: &dyn std::fmt::Display| {
        ConfigError(format!(
            "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL such as http://otel-collector:4318, or unset: {reason}"
        ))
    };
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(refused(&"it does not start with http:// or https://"));
    }
    // the client blocks because the batch thread is not part of a runtime; it must be built outside of one
    let client = reqwest::blocking::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(EXPORT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| refused(&error))?;
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| refused(&error))?;
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.version", build_info::VERSION))
        .build();
    let exporter = LoggingExporter { exporter, failing: AtomicBool::new(false) };
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Logs once when exports begin to fail and once when they work again; the SDK logs nothing.
#[derive(Debug)]
struct LoggingExporter {
    exporter: OtlpExporter,
    failing: AtomicBool,
}

impl SpanExporter for LoggingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "traces cannot be exported and are dropped");
            }
            Ok(()) if failed_before => tracing::info!("traces are exported again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
