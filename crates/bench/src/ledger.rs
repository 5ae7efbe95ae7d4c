//! What was executed, written outside the database: the proof that nothing was lost and nothing ran twice.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::Context as _;

/// One line an execution: job id, attempt, microseconds from the scheduled send to the start (0 if unknown).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How often each attempt of each job was executed.
    runs: HashMap<(String, u16), u32>,
    /// Latencies that were recorded.
    pub(crate) micros: Vec<u64>,
}

impl Ledger {
    /// Reads what workers wrote, and removes it.
    pub(crate) fn take(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        for path in paths {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for line in text.lines() {
                let mut words = line.split(' ');
                let (Some(id), Some(attempt), Some(micros)) = (words.next(), words.next(), words.next())
                else {
                    anyhow::bail!("{}: a broken line", path.display());
                };
                *ledger.runs.entry((id.to_owned(), attempt.parse()?)).or_default() += 1;
                ledger.micros.extend(micros.parse::<u64>().ok().filter(|micros| *micros > 0));
            }
            std::fs::remove_file(path)?;
        }
        Ok(ledger)
    }

    /// Fails unless exactly `jobs` jobs ran, and no attempt of any twice.
    pub(crate) fn prove_exactly_once(&self, jobs: u64) -> anyhow::Result<()> {
        let doubled = self.runs.values().filter(|runs| **runs > 1).count();
        anyhow::ensure!(doubled == 0, "{doubled} attempts ran more than once");
        let ids: HashSet<&str> = self.runs.keys().map(|(id, _)| id.as_str()).collect();
        let ran = u64::try_from(ids.len())?;
        anyhow::ensure!(ran == jobs, "{ran} jobs ran, {jobs} were completed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_and_a_doubled_job_are_found() {
        let path = std::env::temp_dir().join(format!("jobqueue-bench-ledger-{}", std::process::id()));
        let ledger = |lines: &str| {
            std::fs::write(&path, lines).unwrap();
            Ledger::take(std::slice::from_ref(&path)).unwrap()
        };
        let good = ledger("a 1 10\nb 1 20\nb 2 0\n");
        assert!(good.prove_exactly_once(2).is_ok() && good.prove_exactly_once(3).is_err());
        assert_eq!(good.micros, [10, 20]);
        assert!(ledger("a 1 10\na 1 20\n").prove_exactly_once(1).is_err());
        assert!(!path.exists());
    }
}
