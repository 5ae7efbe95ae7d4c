//! Checks the evidence of a run against the invariants. A pure function, so that tests can prove that it detects
//! violations. The invariants: I1 an acknowledged job is never lost, I2 no job without a submission and one job per
//! key, I5 one final state, I6 every job ends, I7 every execution is accounted for, I13 conservation.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Evidence, Stored, Totals};
use crate::history::Event;

/// Whether faults were injected in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// No fault was injected: every job runs exactly once.
    Calm,
    /// Leases may have been lost: there is one more execution for each attempt that was lost, retried or released.
    Stormy,
}

/// Fails with every violation at once.
#[track_caller]
pub(crate) fn assert_no_violation(evidence: &Evidence, faults: Faults) {
    let found = violations(evidence, faults);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    assert!(!evidence.stored.is_empty(), "nothing happened at all");
}

/// Every violation, with the number of the invariant.
pub(crate) fn violations(evidence: &Evidence, faults: Faults) -> Vec<String> {
    let submissions = Submissions::read(&evidence.events);
    let mut found = submissions.answers_disagree();
    found.extend(lost_or_rejected(&submissions, evidence));
    found.extend(unsubmitted(&submissions, evidence));
    found.extend(evidence.stored.iter().flat_map(states));
    found.extend(executions(evidence, faults));
    found.extend(conservation(&evidence.totals));
    found
}

/// The submissions of the history by word.
#[derive(Default)]
struct Submissions {
    sent: BTreeSet<String>,
    acknowledged: BTreeMap<String, BTreeSet<String>>,
    refused: BTreeMap<String, u16>,
}

impl Submissions {
    fn read(events: &[Event]) -> Self {
        let mut all = Self::default();
        for event in events {
            match event {
                Event::Sent(word) => {
                    all.sent.insert(word.clone());
                }
                Event::Acknowledged(word, id) => {
                    all.acknowledged.entry(word.clone()).or_default().insert(id.clone());
                }
                Event::Refused(word, status) => {
                    all.refused.insert(word.clone(), *status);
                }
                Event::Unknown(_) => {}
            }
        }
        all
    }

    fn answers_disagree(&self) -> Vec<String> {
        let twice = self.acknowledged.iter().filter(|(_, ids)| ids.len() > 1);
        twice.map(|(word, ids)| format!("I2: one key, several ids: {word} {ids:?}")).collect()
    }
}

fn lost_or_rejected(submissions: &Submissions, evidence: &Evidence) -> Vec<String> {
    let stored: BTreeMap<String, &Stored> =
        evidence.stored.iter().map(|job| (job.id.to_string(), job)).collect();
    let mut found = Vec::new();
    for (word, ids) in &submissions.acknowledged {
        for id in ids {
            match stored.get(id) {
                None => found.push(format!("I1: acknowledged and lost: {word} {id}")),
                Some(job) if job.word.as_ref() != Some(word) => {
                    found.push(format!("I1: acknowledged, but stored as something else: {word} {job:?}"));
                }
                Some(job) if job.statuses != ["completed"] => {
                    found.push(format!("I6: acknowledged and not completed: {word} {job:?}"));
                }
                Some(_) => {}
            }
        }
    }
    let words: BTreeSet<_> = evidence.stored.iter().filter_map(|job| job.word.as_ref()).collect();
    let kept = submissions.refused.iter().filter(|(word, _)| words.contains(word));
    found.extend(
        kept.map(|(word, status)| format!("I1: refused with {status} and stored all the same: {word}")),
    );
    found
}

fn unsubmitted(submissions: &Submissions, evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeMap::new();
    for job in &evidence.stored {
        let word = job.word.clone().unwrap_or_default();
        if !submissions.sent.contains(&word) {
            found.push(format!("I2: the job was not submitted: {job:?}"));
        }
        if let Some(other) = seen.insert(word, job.id) {
            found.push(format!("I2: one key, two jobs: {other} and {job:?}"));
        }
    }
    found
}

fn states(job: &Stored) -> Vec<String> {
    let mut found = Vec::new();
    match job.statuses.len() {
        0 => found.push(format!("I13: stored and nowhere: {job:?}")),
        1 => {}
        _ => found.push(format!("I5: in several states at once: {job:?}")),
    }
    if job.early {
        found.push(format!("I5: started before its run_at: {job:?}"));
    }
    if job.attempt > job.max_attempts {
        found.push(format!("I6: more attempts than allowed: {job:?}"));
    }
    found
}

fn executions(evidence: &Evidence, faults: Faults) -> Vec<String> {
    let mut found = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for execution in &evidence.executions {
        *counts.entry(&execution.job_id).or_default() += 1;
        if execution.ended {
            ended.insert(&execution.job_id);
        }
    }
    for job in &evidence.stored {
        let id = job.id.to_string();
        let count = counts.remove(id.as_str()).unwrap_or(0);
        let more = if faults == Faults::Calm { 0 } else { job.endings.len() };
        if count > 1 + more {
            found.push(format!("I7: {count} executions, at most {} are accounted for: {job:?}", 1 + more));
        }
        if job.statuses.contains(&"completed".to_owned()) && !ended.contains(id.as_str()) {
            found.push(format!("I7: completed without an execution that came to its end: {job:?}"));
        }
    }
    found.extend(counts.keys().map(|id| format!("I7: an execution of a job that is not stored: {id}")));
    found
}

/// I13, in one snapshot: every created job exists or was pruned, and every counter agrees with the jobs.
pub(crate) fn conservation(totals: &Totals) -> Vec<String> {
    let present = totals.live + totals.completed_jobs + totals.failed_jobs + totals.cancelled_jobs;
    let counted = [
        (totals.created, present + totals.pruned),
        (totals.completed, totals.completed_jobs),
        (totals.failed, totals.failed_jobs),
        (totals.cancelled, totals.cancelled_jobs),
    ];
    // retention would remove final jobs from the right-hand sides, but no test runs that long
    let sound = counted.iter().all(|(counter, jobs)| counter == jobs);
    if sound { Vec::new() } else { vec![format!("I13: the numbers do not add up: {totals:?}")] }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ledger::Execution;

    /// The evidence of two jobs without a violation.
    fn sound_evidence() -> Evidence {
        let mut evidence = Evidence::default();
        for n in 1..=2u128 {
            let (id, word) = (Uuid::from_u128(n), format!("w{n}"));
            evidence.events.push(Event::Sent(word.clone()));
            evidence.events.push(Event::Unknown(word.clone()));
            evidence.events.push(Event::Sent(word.clone()));
            evidence.events.push(Event::Acknowledged(word.clone(), id.to_string()));
            evidence.executions.push(execution(&id, &word));
            evidence.stored.push(Stored {
                id,
                word: Some(word),
                statuses: vec!["completed".into()],
                attempt: 1,
                max_attempts: 10,
                ..Stored::default()
            });
        }
        evidence.totals = Totals { created: 2, completed: 2, completed_jobs: 2, ..Totals::default() };
        evidence
    }

    fn execution(id: &Uuid, word: &str) -> Execution {
        Execution { word: word.to_owned(), job_id: id.to_string(), attempt: 1, pid: 1, ended: true }
    }

    /// The violations in evidence that `change` has modified.
    #[track_caller]
    fn violations_after(change: impl Fn(&mut Evidence)) -> Vec<String> {
        let mut evidence = sound_evidence();
        change(&mut evidence);
        violations(&evidence, Faults::Stormy)
    }

    #[track_caller]
    fn finds(invariant: &str, words: &str, change: impl Fn(&mut Evidence)) {
        let found = violations_after(change);
        assert!(found.iter().any(|line| line.starts_with(invariant) && line.contains(words)), "{found:?}");
    }

    #[test]
    fn a_run_without_violations_passes() {
        assert_eq!(violations(&sound_evidence(), Faults::Calm), [""; 0]);
        let lost_once = violations_after(|e| {
            e.executions.push(execution(&e.stored[0].id, "w1"));
            e.stored[0].endings.push("lost".into());
        });
        assert_eq!(lost_once, [""; 0], "a second execution after a lost lease is what was promised");
    }

    #[test]
    fn lost_acknowledged_jobs_are_detected() {
        finds("I1", "lost", |e| {
            e.stored.remove(0);
        });
        finds("I1", "something else", |e| e.stored[0].word = Some("w3".into()));
        finds("I1", "refused", |e| e.events.push(Event::Refused("w1".into(), 422)));
        finds("I6", "not completed", |e| e.stored[0].statuses = vec!["failed".into()]);
    }

    #[test]
    fn jobs_without_a_submission_and_duplicates_are_detected() {
        finds("I2", "not submitted", |e| {
            e.stored.push(Stored {
                id: Uuid::from_u128(9),
                word: Some("unsubmitted".into()),
                ..Stored::default()
            });
        });
        finds("I2", "two jobs", |e| e.stored.push(Stored { id: Uuid::from_u128(9), ..e.stored[0].clone() }));
        finds("I2", "several ids", |e| e.events.push(Event::Acknowledged("w1".into(), "other".into())));
    }

    #[test]
    fn unaccounted_executions_are_detected() {
        let again = |e: &mut Evidence| e.executions.push(execution(&e.stored[0].id, "w1"));
        finds("I7", "2 executions", again);
        finds("I7", "came to its end", |e| e.executions[0].ended = false);
        finds("I7", "not stored", |e| e.executions.push(execution(&Uuid::from_u128(9), "w9")));
        let mut evidence = sound_evidence();
        again(&mut evidence);
        evidence.stored[0].endings.push("lost".into());
        assert!(!violations(&evidence, Faults::Calm).is_empty(), "without a fault nothing runs twice");
    }

    #[test]
    fn impossible_states_are_detected() {
        finds("I5", "several states", |e| e.stored[0].statuses.push("failed".into()));
        finds("I5", "several states", |e| e.stored[0].statuses.push("completed".into()));
        finds("I5", "run_at", |e| e.stored[0].early = true);
        finds("I6", "more attempts", |e| e.stored[0].attempt = 11);
        finds("I13", "nowhere", |e| e.stored[0].statuses.clear());
        finds("I13", "add up", |e| e.totals.created = 3);
        finds("I13", "add up", |e| e.totals.completed = 1);
    }
}
