//! The verdict: which promises the evidence breaks. Pure, so that it can be shown that it finds what it is for. The numbers
//! are those of the invariants that the project keeps: I1 acknowledged is never lost, I2 no phantom and one job a key, I5
//! one final state, I6 everything ends, I7 executions are accounted for, I13 conservation.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Evidence, Stored, Totals};
use crate::history::Said;

/// What else is known about the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// No fault was injected: every job runs exactly once.
    Calm,
    /// Leases may have been lost: an execution more for each attempt that was lost, retried or given back.
    Stormy,
}

/// Fails with every violation at once.
#[track_caller]
pub(crate) fn assert_sound(evidence: &Evidence, weather: Weather) {
    let found = violations(evidence, weather);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    assert!(!evidence.stored.is_empty(), "nothing happened at all");
}

/// Every broken promise, by the number of the invariant.
pub(crate) fn violations(evidence: &Evidence, weather: Weather) -> Vec<String> {
    let submissions = Submissions::read(&evidence.said);
    let mut found = submissions.answers_disagree();
    found.extend(lost_or_refused(&submissions, evidence));
    found.extend(phantoms(&submissions, evidence));
    found.extend(evidence.stored.iter().flat_map(states));
    found.extend(executions(evidence, weather));
    found.extend(conservation(&evidence.totals));
    found
}

/// The history by word.
#[derive(Default)]
struct Submissions {
    sent: BTreeSet<String>,
    acknowledged: BTreeMap<String, BTreeSet<String>>,
    refused: BTreeMap<String, u16>,
}

impl Submissions {
    fn read(said: &[Said]) -> Self {
        let mut all = Self::default();
        for said in said {
            match said {
                Said::Sent(word) => {
                    all.sent.insert(word.clone());
                }
                Said::Acknowledged(word, id) => {
                    all.acknowledged.entry(word.clone()).or_default().insert(id.clone());
                }
                Said::Refused(word, status) => {
                    all.refused.insert(word.clone(), *status);
                }
                Said::Unknown(_) => {}
            }
        }
        all
    }

    fn answers_disagree(&self) -> Vec<String> {
        let twice = self.acknowledged.iter().filter(|(_, ids)| ids.len() > 1);
        twice.map(|(word, ids)| format!("I2: one key, several ids: {word} {ids:?}")).collect()
    }
}

fn lost_or_refused(submissions: &Submissions, evidence: &Evidence) -> Vec<String> {
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

fn phantoms(submissions: &Submissions, evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeMap::new();
    for job in &evidence.stored {
        let word = job.word.clone().unwrap_or_default();
        if !submissions.sent.contains(&word) {
            found.push(format!("I2: phantom, nobody submitted it: {job:?}"));
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

fn executions(evidence: &Evidence, weather: Weather) -> Vec<String> {
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
        let more = if weather == Weather::Calm { 0 } else { job.endings.len() };
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

/// I13, in one snapshot: what came in is what is there or was forgotten, and every counter tells the same as the jobs.
pub(crate) fn conservation(totals: &Totals) -> Vec<String> {
    let present = totals.live + totals.completed_jobs + totals.failed_jobs + totals.cancelled_jobs;
    let counted = [
        (totals.created, present + totals.pruned),
        (totals.completed, totals.completed_jobs),
        (totals.failed, totals.failed_jobs),
        (totals.cancelled, totals.cancelled_jobs),
    ];
    // retention would take final jobs out of the right sides; nothing here lives that long
    let sound = counted.iter().all(|(events, jobs)| events == jobs);
    if sound { Vec::new() } else { vec![format!("I13: the numbers do not add up: {totals:?}")] }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ledger::Execution;

    /// Two jobs that went well.
    fn calm() -> Evidence {
        let mut evidence = Evidence::default();
        for n in 1..=2u128 {
            let (id, word) = (Uuid::from_u128(n), format!("w{n}"));
            evidence.said.push(Said::Sent(word.clone()));
            evidence.said.push(Said::Unknown(word.clone()));
            evidence.said.push(Said::Sent(word.clone()));
            evidence.said.push(Said::Acknowledged(word.clone(), id.to_string()));
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

    /// What is found after the evidence was tampered with.
    #[track_caller]
    fn seeded(change: impl Fn(&mut Evidence)) -> Vec<String> {
        let mut evidence = calm();
        change(&mut evidence);
        violations(&evidence, Weather::Stormy)
    }

    #[track_caller]
    fn finds(invariant: &str, words: &str, change: impl Fn(&mut Evidence)) {
        let found = seeded(change);
        assert!(found.iter().any(|line| line.starts_with(invariant) && line.contains(words)), "{found:?}");
    }

    #[test]
    fn a_sound_run_passes() {
        assert_eq!(violations(&calm(), Weather::Calm), [""; 0]);
        let lost_once = seeded(|e| {
            e.executions.push(execution(&e.stored[0].id, "w1"));
            e.stored[0].endings.push("lost".into());
        });
        assert_eq!(lost_once, [""; 0], "a second execution after a lost lease is what was promised");
    }

    #[test]
    fn lost_acknowledgements_are_found() {
        finds("I1", "lost", |e| {
            e.stored.remove(0);
        });
        finds("I1", "something else", |e| e.stored[0].word = Some("w3".into()));
        finds("I1", "refused", |e| e.said.push(Said::Refused("w1".into(), 422)));
        finds("I6", "not completed", |e| e.stored[0].statuses = vec!["failed".into()]);
    }

    #[test]
    fn phantoms_and_doubles_are_found() {
        finds("I2", "phantom", |e| {
            e.stored.push(Stored {
                id: Uuid::from_u128(9),
                word: Some("nobody's".into()),
                ..Stored::default()
            });
        });
        finds("I2", "two jobs", |e| e.stored.push(Stored { id: Uuid::from_u128(9), ..e.stored[0].clone() }));
        finds("I2", "several ids", |e| e.said.push(Said::Acknowledged("w1".into(), "other".into())));
    }

    #[test]
    fn executions_without_an_account_are_found() {
        let again = |e: &mut Evidence| e.executions.push(execution(&e.stored[0].id, "w1"));
        finds("I7", "2 executions", again);
        finds("I7", "came to its end", |e| e.executions[0].ended = false);
        finds("I7", "not stored", |e| e.executions.push(execution(&Uuid::from_u128(9), "w9")));
        let mut evidence = calm();
        again(&mut evidence);
        evidence.stored[0].endings.push("lost".into());
        assert!(!violations(&evidence, Weather::Calm).is_empty(), "without a fault nothing runs twice");
    }

    #[test]
    fn impossible_states_are_found() {
        finds("I5", "several states", |e| e.stored[0].statuses.push("failed".into()));
        finds("I5", "several states", |e| e.stored[0].statuses.push("completed".into()));
        finds("I5", "run_at", |e| e.stored[0].early = true);
        finds("I6", "more attempts", |e| e.stored[0].attempt = 11);
        finds("I13", "nowhere", |e| e.stored[0].statuses.clear());
        finds("I13", "add up", |e| e.totals.created = 3);
        finds("I13", "add up", |e| e.totals.completed = 1);
    }
}
