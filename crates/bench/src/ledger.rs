//! The executions, recorded outside of the database: they prove that no job was lost or ran twice.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use anyhow::Context as _;
use uuid::Uuid;

use crate::server::Completed;

/// One line per execution: job id, attempt, microseconds from the scheduled submission to the start (0 if unknown).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The executions: job and attempt.
    runs: Vec<(Uuid, u16)>,
    /// The recorded latencies, in the order of the executions.
    pub(crate) micros: Vec<u64>,
}

impl Ledger {
    /// Reads the files that workers wrote, and removes them.
    pub(crate) fn take(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        for path in paths {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            for line in BufReader::new(file).lines() {
                let line = line?;
                let mut words = line.split(' ');
                let (Some(id), Some(attempt), Some(micros)) = (words.next(), words.next(), words.next())
                else {
                    anyhow::bail!("{}: an invalid line", path.display());
                };
                ledger.runs.push((id.parse()?, attempt.parse()?));
                ledger.micros.extend(micros.parse::<u64>().ok().filter(|micros| *micros > 0));
            }
            std::fs::remove_file(path)?;
        }
        Ok(ledger)
    }

    /// Fails unless exactly the completed jobs ran, each attempt ran once, and there were as many second attempts as
    /// retries.
    pub(crate) fn prove_exactly_once(&self, completed: Completed) -> anyhow::Result<()> {
        let mut jobs = self.runs.clone();
        jobs.sort_unstable();
        let doubled = jobs.windows(2).filter(|two| two[0] == two[1]).count();
        anyhow::ensure!(doubled == 0, "{doubled} attempts ran twice");
        jobs.dedup_by_key(|(id, _)| *id);
        let ran = u64::try_from(jobs.len())?;
        anyhow::ensure!(ran == completed.jobs, "{ran} jobs ran, {} were completed", completed.jobs);
        let ids = jobs.iter().fold(0, |ids, (id, _)| ids ^ id.as_u64_pair().1);
        anyhow::ensure!(ids.cast_signed() == completed.ids, "other jobs ran than were completed");
        let again = u64::try_from(self.runs.len())? - ran;
        anyhow::ensure!(
            again == completed.retried,
            "{again} second attempts ran, but {} attempts were retried",
            completed.retried
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(7);
    const B: Uuid = Uuid::from_u128(9);

    #[test]
    fn a_lost_a_duplicate_and_an_unknown_job_are_detected() {
        let path = std::env::temp_dir().join(format!("jobqueue-bench-ledger-{}", std::process::id()));
        let ledger = |lines: &str| {
            std::fs::write(&path, lines).unwrap();
            Ledger::take(std::slice::from_ref(&path)).unwrap()
        };
        let good = ledger(&format!("{A} 1 10\n{B} 1 20\n{B} 2 0\n"));
        let completed = Completed { jobs: 2, ids: 7 ^ 9, retried: 1 };
        good.prove_exactly_once(completed).unwrap();
        assert_eq!(good.micros, [10, 20]);
        for lie in [
            Completed { jobs: 3, ..completed },
            Completed { ids: 7 ^ 8, ..completed },
            Completed { retried: 0, ..completed },
        ] {
            good.prove_exactly_once(lie).unwrap_err();
        }
        let one = Completed { jobs: 1, ids: 7, retried: 0 };
        ledger(&format!("{A} 1 10\n{A} 1 20\n")).prove_exactly_once(one).unwrap_err();
        assert!(!path.exists());
    }
}
