//! The rate of a key: a token bucket in the memory of this process. Each replica has its own, so a key gets its rate from each of them.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jobqueue_core::api_key::Rate;

use crate::problem::{Problem, ProblemKind};

/// The headers of the IETF draft "RateLimit header fields for HTTP", version 11.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Counts the requests of a key.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Rate,
    /// Time in which the bucket gets one token.
    period: Duration,
    bucket: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>,
}

/// What is left after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    rate: Rate,
    remaining: u32,
    /// Seconds until the bucket is full again.
    full_in: u64,
}

impl Limiter {
    /// A full bucket of as many tokens as the rate has requests.
    pub(super) fn new(rate: Rate) -> Self {
        let burst = NonZeroU32::new(rate.requests).unwrap_or(NonZeroU32::MIN);
        let period = Duration::from_secs(rate.per_seconds.into()) / burst.get();
        // the shortest period is a microsecond, so there always is a quota
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(burst)).allow_burst(burst);
        let bucket = RateLimiter::direct_with_clock(quota, MonotonicClock);
        Self { rate, period, bucket: bucket.with_middleware::<StateInformationMiddleware>() }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token, or refuses.
    pub(super) fn take(&self) -> Result<Taken, Problem> {
        match self.bucket.check() {
            Ok(state) => Ok(self.taken(state.remaining_burst_capacity())),
            Err(refused) => {
                let wait = seconds(refused.wait_time_from(self.bucket.clock().now())).max(1);
                let Rate { requests, per_seconds } = self.rate;
                let detail = format!(
                    "the key may send {requests} requests in {per_seconds} s to each API process; wait {wait} s"
                );
                let problem =
                    Problem::new(ProblemKind::RateLimited, detail).with_header(RETRY_AFTER, wait.into());
                Err(self
                    .taken(0)
                    .headers()
                    .into_iter()
                    .fold(problem, |problem, (name, value)| problem.with_header(name, value)))
            }
        }
    }

    fn taken(&self, remaining: u32) -> Taken {
        let missing = self.rate.requests.saturating_sub(remaining);
        Taken { rate: self.rate, remaining, full_in: seconds(self.period.saturating_mul(missing)) }
    }
}

impl Taken {
    /// Adds the headers to a response.
    pub(crate) fn note(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        let Rate { requests, per_seconds } = self.rate;
        let texts = [
            (RATE_LIMIT_POLICY, format!("\"key\";q={requests};w={per_seconds}")),
            (RATE_LIMIT, format!("\"key\";r={};t={}", self.remaining, self.full_in)),
        ];
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?)))
            .collect()
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_full_at_first_and_says_what_is_left() {
        let limiter = Limiter::new(Rate { requests: 2, per_seconds: 86_400 });
        let mut headers = HeaderMap::new();
        limiter.take().unwrap().note(&mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"key\";q=2;w=86400");
        assert_eq!(headers[RATE_LIMIT], "\"key\";r=1;t=43200");
        assert_eq!(limiter.take().unwrap().remaining, 0);
        assert_eq!(limiter.take().unwrap_err().kind(), ProblemKind::RateLimited);
    }

    #[test]
    fn the_fastest_and_the_slowest_rate_are_possible() {
        for (requests, per_seconds) in [(1_000_000, 1), (1, 86_400), (1_000_000, 86_400), (1, 1)] {
            let limiter = Limiter::new(Rate { requests, per_seconds });
            assert_eq!(limiter.take().unwrap().remaining, requests - 1);
        }
    }
}
