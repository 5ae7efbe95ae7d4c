//! W3C trace context across the queue: the submitter's trace context is stored with the job, and the worker's
//! span continues it. Owns reading and writing `traceparent`; never starts a span. Without an OTLP endpoint
//! it does nothing.

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of the current span, to be stored with a job or sent with a request.
///
/// `None` if traces are not exported: then pass on the incoming header, if there is one.
pub fn current_traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes `span` a child of the span in `traceparent`: for a request, and for the first attempt of a job.
///
/// Call it before the span is entered. A text that is not a valid `traceparent` changes nothing.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // fails if the span is filtered out or traces are not exported; then there is nothing to attach
        let _not_exported = span.set_parent(parent);
    }
}

/// Links `span` to the span that `traceparent` names without becoming its child: for retries, which may run long
/// after the submitter's trace has ended.
///
/// A text that is not a valid `traceparent` changes nothing.
pub fn link_to(span: &Span, traceparent: &str) {
    if let Some(origin) = parse(traceparent) {
        span.add_link(origin.span().span_context().clone());
    }
}

fn parse(traceparent: &str) -> Option<Context> {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    // starts from an empty context, because the current span must not become the parent of a job
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    context.span().span_context().is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    const ORIGIN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[derive(Clone, Debug, Default)]
    struct Exported(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Exported {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn exported(work: impl FnOnce()) -> Vec<SpanData> {
        let kept = Exported::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn a_first_attempt_is_a_child_of_the_submitter() {
        let spans = exported(|| {
            let span = tracing::info_span!("attempt");
            set_parent(&span, ORIGIN);
            let inside = span.in_scope(current_traceparent).unwrap();
            assert!(inside.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{inside}");
            assert_ne!(inside, ORIGIN);
        });
        assert_eq!(spans[0].parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(spans[0].span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_retry_starts_a_new_trace_with_a_link() {
        let spans = exported(|| {
            let span = tracing::info_span!("attempt");
            link_to(&span, ORIGIN);
            span.in_scope(|| ());
        });
        assert_ne!(spans[0].span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(spans[0].links.links[0].span_context.span_id().to_string(), "b7ad6b7169203331");
    }

    #[test]
    fn an_invalid_traceparent_is_ignored_and_without_export_there_is_none() {
        for nonsense in
            ["", "00", "00-zz-b7ad6b7169203331-01", "00-00000000000000000000000000000000-0000000000000000-01"]
        {
            let spans = exported(|| {
                let span = tracing::info_span!("attempt");
                set_parent(&span, nonsense);
                link_to(&span, nonsense);
                span.in_scope(|| ());
            });
            assert_eq!(spans[0].parent_span_id.to_string(), "0000000000000000", "{nonsense}");
            assert!(spans[0].links.links.is_empty(), "{nonsense}");
        }
        assert_eq!(current_traceparent(), None);
    }
}
