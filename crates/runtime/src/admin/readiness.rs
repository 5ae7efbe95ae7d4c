//! Whether this process may receive work. Owns the time limit and the format of the response; the checks are
//! passed in.

use crate::shutdown::Shutdown;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Below the probe's own timeout of 5 s, so that it gets an answer with reasons instead of none.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How many reports may run at the same time. A check that hangs is never cancelled, so without a bound each
/// probe would add one.
const MAX_AT_ONCE: usize = 8;

/// One thing that must work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked, for example `database`.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Why it does not work, for an operator; empty if it does. Never a secret: `/ready` has no authentication.
    pub reason: String,
}

impl Check {
    /// A check that passed.
    pub fn pass(name: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, reason: String::new() }
    }

    /// A check that failed, with the reason.
    pub fn fail(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, reason: reason.into() }
    }
}

/// The result of all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    /// The process may receive work.
    Ready,
    /// The process must not receive work.
    NotReady,
}

/// The answer of `/ready`: 200 or 503 with this body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadinessReport {
    /// `Ok` if every check passed.
    pub status: ReadinessStatus,
    /// Each check with its reason.
    pub checks: Vec<Check>,
}

impl From<Vec<Check>> for ReadinessReport {
    fn from(checks: Vec<Check>) -> Self {
        let status = if checks.iter().all(|check| check.ok) {
            ReadinessStatus::Ready
        } else {
            ReadinessStatus::NotReady
        };
        Self { status, checks }
    }
}

impl IntoResponse for ReadinessReport {
    fn into_response(self) -> Response {
        let code = match self.status {
            ReadinessStatus::Ready => StatusCode::OK,
            ReadinessStatus::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        };
        (code, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(self)).into_response()
    }
}

type Checks = Pin<Box<dyn Future<Output = Vec<Check>> + Send>>;

/// The checks of one process. Clones share them.
#[derive(Clone)]
pub struct Readiness {
    checks: Arc<dyn Fn() -> Checks + Send + Sync>,
    slots: Arc<Semaphore>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readiness")
    }
}

impl Readiness {
    /// Readiness determined by `checks`, which run again for each probe. They are never cancelled, so they
    /// may call the store.
    pub fn new<F, Fut>(checks: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Check>> + Send + 'static,
    {
        Self { checks: Arc::new(move || Box::pin(checks())), slots: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }

    /// Ready from the start until the soft shutdown.
    pub fn always() -> Self {
        Self::new(|| std::future::ready(Vec::new()))
    }

    /// Runs the checks. Not ready as soon as the soft shutdown began, nor if the checks take longer than 3 s.
    pub async fn report(&self, shutdown: &Shutdown) -> ReadinessReport {
        if shutdown.soft().is_cancelled() {
            return vec![Check::fail("shutdown", "the process is shutting down")].into();
        }
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return vec![Check::fail("readiness", "earlier checks still hang")].into();
        };
        let checks = (self.checks)();
        let running = shutdown.spawn_contained(async move {
            let _slot = slot;
            checks.await
        });
        let mut report: ReadinessReport = match tokio::time::timeout(ANSWER_WITHIN, running).await {
            Ok(Ok(checks)) => checks.into(),
            Ok(Err(_)) => vec![Check::fail("readiness", "a check panicked, see the log")].into(),
            Err(_) => vec![Check::fail("readiness", "the checks did not answer within 3 s")].into(),
        };
        // the shutdown may have begun while the checks ran
        if shutdown.soft().is_cancelled() {
            report.checks.push(Check::fail("shutdown", "the process is shutting down"));
            report.status = ReadinessStatus::NotReady;
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failing_check_is_enough_and_says_why() {
        let shutdown = Shutdown::new();
        let readiness = Readiness::new(|| async {
            vec![Check::pass("lease_loop"), Check::fail("database", "connection refused")]
        });
        let report = serde_json::to_value(readiness.report(&shutdown).await).unwrap();
        assert_eq!(
            report,
            serde_json::json!({
                "status": "not_ready",
                "checks": [
                    { "name": "lease_loop", "ok": true, "reason": "" },
                    { "name": "database", "ok": false, "reason": "connection refused" },
                ],
            })
        );
        assert_eq!(Readiness::always().report(&shutdown).await.status, ReadinessStatus::Ready);
    }

    #[tokio::test]
    async fn not_ready_from_the_soft_shutdown_on_even_if_it_begins_during_the_checks() {
        let shutdown = Shutdown::new();
        let begins = shutdown.clone();
        let during = Readiness::new(move || {
            begins.begin();
            std::future::ready(vec![Check::pass("database")])
        });
        assert_eq!(during.report(&shutdown).await.status, ReadinessStatus::NotReady);
        assert_eq!(Readiness::always().report(&shutdown).await.status, ReadinessStatus::NotReady);
    }

    #[tokio::test(start_paused = true)]
    async fn checks_that_hang_or_panic_are_answers_too_and_do_not_pile_up() {
        let shutdown = Shutdown::new();
        let hanging = Readiness::new(std::future::pending);
        for _ in 0..MAX_AT_ONCE {
            let report = hanging.report(&shutdown).await;
            assert_eq!(report.checks, [Check::fail("readiness", "the checks did not answer within 3 s")]);
        }
        let report = hanging.report(&shutdown).await;
        assert_eq!(report.checks, [Check::fail("readiness", "earlier checks still hang")]);

        let panicking = Readiness::new(|| async { panic!("expected by this test") });
        assert_eq!(panicking.report(&shutdown).await.status, ReadinessStatus::NotReady);
        assert_eq!(shutdown.failure(), None, "a panicking check is no failure of the process");
    }
}
