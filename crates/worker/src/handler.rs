//! What runs a job: one function per kind. Owns the trait, the typed wrappers and the registry; a handler sees a
//! [`JobContext`] and never the store.

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

/// What a handler gives back: the result to store, or none.
pub type HandlerResult = Result<Option<Json>, HandlerError>;
/// A handler at work. Dropped when its attempt must end, so it has to let go of what it holds in `Drop`.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// Runs the jobs of a kind. The same job may run more than once (at-least-once): make the effect idempotent.
pub trait Handler: Send + Sync {
    /// One attempt. A panic inside is a failure of the attempt, not of the worker.
    fn call(&self, context: JobContext) -> HandlerFuture;

    /// The operator's own limit of one attempt. The shorter one of this and the job's counts.
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

/// A handler from an async function that takes the payload as `Input` and gives back what is stored as the result.
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

/// The same from a function that blocks; it gets a thread of its own. Nobody can stop a thread: it must look at
/// [`JobContext::is_cancelled`], and it keeps its slot until it returns.
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
                // the slot is taken as long as the thread runs
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

/// Which handler runs which kind.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    by_kind: BTreeMap<KindName, Arc<dyn Handler>>,
    catch_all: Option<Arc<dyn Handler>>,
}

impl Handlers {
    /// Binds a kind. False if it was bound already.
    pub(crate) fn bind(&mut self, kind: KindName, handler: Arc<dyn Handler>) -> bool {
        self.by_kind.insert(kind, handler).is_none()
    }

    /// Binds every kind that has no handler of its own.
    pub(crate) fn bind_rest(&mut self, handler: Arc<dyn Handler>) {
        self.catch_all = Some(handler);
    }

    pub(crate) fn of(&self, kind: &KindName) -> Option<Arc<dyn Handler>> {
        self.by_kind.get(kind).or(self.catch_all.as_ref()).cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_kind.is_empty() && self.catch_all.is_none()
    }

    /// The kinds to lease; empty means all. A kind that nobody here knows waits for a worker that does.
    pub(crate) fn kinds(&self, only: Option<&BTreeSet<KindName>>) -> Vec<KindName> {
        match only {
            Some(only) => only.iter().cloned().collect(),
            None if self.catch_all.is_some() => Vec::new(),
            None => self.by_kind.keys().cloned().collect(),
        }
    }

    /// Kinds with a handler of their own.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &KindName> {
        self.by_kind.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_kinds_are_leased_unless_something_catches_the_rest() {
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
