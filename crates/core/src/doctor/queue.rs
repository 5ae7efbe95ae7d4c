//! Checks of queues, workers and the reaper.

use std::time::Duration;

use super::facts::{Finding, HealthFacts, QueueHealth, rough};

/// The reaper counts every few seconds. After this long it does not run.
const CENSUS_AGE: Duration = Duration::from_mins(1);
/// A job that has waited for so long in a paused or served queue needs attention.
const LONG_WAIT: Duration = Duration::from_mins(10);

pub(super) fn examine(facts: &HealthFacts) -> Vec<Finding> {
    let Some(queue) = &facts.queue else { return Vec::new() };
    let mut findings = vec![reaper(queue), workers(queue), stale(queue)];
    findings.extend(queues(queue));
    findings
}

fn reaper(facts: &QueueHealth) -> Finding {
    let advice = "start the reaper, or see its log and its /ready: without it lost jobs are not run again";
    match facts.census_age {
        None => Finding::error("reaper", "it has never counted", advice),
        Some(age) if age >= CENSUS_AGE => {
            Finding::error("reaper", format!("its last count is {} old", rough(age)), advice)
        }
        Some(age) => Finding::ok("reaper", format!("its last count is {} old", rough(age))),
    }
}

fn workers(facts: &QueueHealth) -> Finding {
    let waiting: u64 = facts.queues.iter().map(|queue| queue.queued).sum();
    if facts.workers == 0 {
        let seen = format!("no worker is alive, {waiting} jobs can start");
        let advice = "start a worker; `jobqueue get workers` lists those that are alive";
        return if waiting > 0 {
            Finding::error("workers", seen, advice)
        } else {
            Finding::warning("workers", seen, advice)
        };
    }
    Finding::ok("workers", format!("{} are alive", facts.workers))
}

fn stale(facts: &QueueHealth) -> Finding {
    if facts.stale_workers.is_empty() {
        return Finding::ok("stale-workers", "none");
    }
    let seen = format!("no heartbeat from {}", facts.stale_workers.join(", "));
    let advice =
        "see why they ended without a drain (out of memory, node lost); the reaper runs their jobs again";
    Finding::warning("stale-workers", seen, advice)
}

fn queues(facts: &QueueHealth) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in facts.queues.iter().filter(|queue| queue.queued > 0) {
        let waited = queue.oldest.unwrap_or_default();
        let seen = format!(
            "{}: {} jobs can start, the oldest has waited {}",
            queue.name,
            queue.queued,
            rough(waited)
        );
        if queue.paused {
            if waited >= LONG_WAIT {
                let advice = format!("it is paused: jobqueue queue resume {}", queue.name);
                findings.push(Finding::warning("queues", seen, advice));
            }
        } else if !queue.served {
            let advice = format!(
                "no live worker leases from it: add {} to the queues of a worker (WORKER_QUEUES)",
                queue.name
            );
            findings.push(Finding::error("queues", seen, advice));
        } else if waited >= LONG_WAIT {
            findings.push(Finding::warning(
                "queues",
                seen,
                "add workers or slots, or see whether jobs hang (jobqueue top)",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("queues", format!("{} queues, none is stuck", facts.queues.len())));
    }
    findings
}
