//! Handlers: one function for each kind. Owns the trait, the typed wrappers and the registry. A handler sees
//! a [`JobContext`] and never the store.

mod context;
mod error;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::{Failure, Json, KindName};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use context::{JobContext, ProgressError};
pub(crate) use context::{ReportBuffer, Slot};
pub use error::HandlerError;
pub(crate) use stop::Stop;
pub use stop::StopReason;

/// What a handler returns: the result to store, or none.
pub type HandlerResult = Result<Option<Json>, HandlerError>;
/// A running handler. It is dropped when its attempt must end, so it must release its resources in `Drop`.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// Runs the jobs of a kind. The same job may run more than once (at-least-once delivery): make its effect
/// idempotent.
pub trait Handler: Send + Sync {
    /// Runs one attempt. A panic fails the attempt, not the worker.
    fn call(&self, context: JobContext) -> HandlerFuture;

    /// The operator's time limit of one attempt. The shorter of this limit and the job's applies.
    fn time_limit(&self) -> Option<Duration> {
        None
    }
}

/// A handler made from a function.
struct Function(Box<dyn Fn(JobContext) -> HandlerFuture + Send + Sync>);

impl Handler for Function {
    fn call(&self, context: JobContext) -> HandlerFuture {
        (self.0)(context)
    }
}

/// A handler from an async function that takes the payload as `Input`. Its return value is stored as the
/// result.
pub(crate) fn asynchronous<Input, Output, Running>(
    run: impl Fn(JobContext, Input) -> Running + Send + Sync + 'static,
) -> Arc<dyn Handler>
where
    Input: DeserializeOwned,
    Output: Serialize,
    Running: Future<Output = Result<Output, HandlerError>> + Send + 'static,
{
    Arc::new(Function(Box::new(move |context| match input(&context) {
        Ok(input) => {
            let running = run(context, input);
            Box::pin(async move { result(&running.await?) })
        }
        Err(refused) => Box::pin(std::future::ready(Err(refused))),
    })))
}

/// A handler from a blocking function, which runs on its own thread. A thread cannot be stopped from outside:
/// the function must check [`JobContext::is_cancelled`], and it keeps its slot until it returns.
pub(crate) fn blocking<Input, Output>(
    run: impl Fn(JobContext, Input) -> Result<Output, HandlerError> + Send + Sync + 'static,
) -> Arc<dyn Handler>
where
    Input: DeserializeOwned,
    Output: Serialize,
{
    let run = Arc::new(run);
    Arc::new(Function(Box::new(move |context| {
        let run = run.clone();
        Box::pin(async move {
            let thread = tokio::task::spawn_blocking(move || {
                // keeps the slot occupied while the thread runs
                let slot = context.clone();
                let output = input(&context).and_then(|input| run(context, input));
                drop(slot);
                result(&output?)
            });
            match thread.await {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(HandlerError::Cancelled),
                },
            }
        })
    })))
}

fn input<Input: DeserializeOwned>(context: &JobContext) -> Result<Input, HandlerError> {
    serde_json::from_str(context.payload().as_str())
        .map_err(|error| HandlerError::Discard(Failure::new("bad_input", error.to_string())))
}

/// `null`, which is what `()` and `None` serialise to, stores nothing.
fn result<Output: Serialize>(output: &Output) -> HandlerResult {
    match Json::of(output) {
        Ok(json) if json.as_str() == "null" => Ok(None),
        Ok(json) => Ok(Some(json)),
        Err(error) => Err(HandlerError::Discard(Failure::new("bad_result", error.to_string()))),
    }
}

/// The handler of each kind.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    by_kind: BTreeMap<KindName, Arc<dyn Handler>>,
    catch_all: Option<Arc<dyn Handler>>,
}

impl Handlers {
    /// Binds a kind. Returns false if the kind was already bound.
    pub(crate) fn bind(&mut self, kind: KindName, handler: Arc<dyn Handler>) -> bool {
        self.by_kind.insert(kind, handler).is_none()
    }

    /// Binds a kind, unless it is bound already.
    pub(crate) fn bind_unbound(&mut self, kind: KindName, handler: Arc<dyn Handler>) {
        self.by_kind.entry(kind).or_insert(handler);
    }

    /// Binds every kind without its own handler.
    pub(crate) fn bind_rest(&mut self, handler: Arc<dyn Handler>) {
        self.catch_all = Some(handler);
    }

    pub(crate) fn of(&self, kind: &KindName) -> Option<Arc<dyn Handler>> {
        self.by_kind.get(kind).or(self.catch_all.as_ref()).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_kind.is_empty() && self.catch_all.is_none()
    }

    /// The kinds to lease; empty means all. A job of another kind waits for a worker that has a handler for
    /// it.
    pub(crate) fn kinds(&self, only: Option<&BTreeSet<KindName>>) -> Vec<KindName> {
        match only {
            Some(only) => only.iter().cloned().collect(),
            None if self.catch_all.is_some() => Vec::new(),
            None => self.by_kind.keys().cloned().collect(),
        }
    }

    /// Kinds with their own handler.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &KindName> {
        self.by_kind.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bound_kinds_are_leased_unless_a_catch_all_exists() {
        let kind = |name: &str| name.parse::<KindName>().unwrap();
        let handler = || asynchronous(|_, (): ()| async { Ok(()) });
        let mut handlers = Handlers::default();
        assert!(handlers.is_empty());
        assert!(handlers.bind(kind("b"), handler()) && handlers.bind(kind("a"), handler()));
        assert!(!handlers.bind(kind("a"), handler()), "twice");
        assert_eq!(handlers.kinds(None), [kind("a"), kind("b")]);
        assert!(handlers.of(&kind("c")).is_none());
        handlers.bind_rest(handler());
        assert_eq!(handlers.kinds(None), []);
        assert!(handlers.of(&kind("c")).is_some());
        assert_eq!(handlers.kinds(Some(&BTreeSet::from([kind("a")]))), [kind("a")]);
    }

    #[test]
    fn nothing_is_stored_for_unit_and_none() {
        assert_eq!(result(&()).unwrap(), None);
        assert_eq!(result(&None::<u8>).unwrap(), None);
        assert_eq!(result(&7).unwrap().unwrap().as_str(), "7");
        assert!(matches!(result(&"a\0"), Err(HandlerError::Discard(f)) if f.kind == "bad_result"));
    }
}
