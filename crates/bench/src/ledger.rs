//! What was executed, written outside the database: the proof that nothing was lost and nothing ran twice.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;

/// One line an execution: job id, attempt, microseconds from the scheduled send to the start (0 if unknown).
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Executions of each job.
    pub(crate) runs: HashMap<String, u32>,
    /// Latencies that were recorded.
    pub(crate) micros: Vec<u64>,
}

impl Ledger {
    /// Reads what workers wrote.
    pub(crate) fn read(paths: &[&Path]) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        for path in paths {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for line in text.lines() {
                let mut words = line.split(' ');
                let (Some(id), Some(_attempt), Some(micros)) = (words.next(), words.next(), words.next())
                else {
                    anyhow::bail!("{}: a broken line", path.display());
                };
                *ledger.runs.entry(id.to_owned()).or_default() += 1;
                ledger.micros.extend(micros.parse::<u64>().ok().filter(|micros| *micros > 0));
            }
        }
        Ok(ledger)
    }

    /// Fails unless exactly `jobs` jobs ran, each once.
    pub(crate) fn prove_exactly_once(&self, jobs: u64) -> anyhow::Result<()> {
        let doubled = self.runs.values().filter(|runs| **runs > 1).count();
        anyhow::ensure!(doubled == 0, "{doubled} jobs ran more than once");
        let ran = u64::try_from(self.runs.len())?;
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
        std::fs::write(&path, "a 1 10\nb 1 20\n").unwrap();
        let good = Ledger::read(&[&path]).unwrap();
        assert!(good.prove_exactly_once(2).is_ok() && good.prove_exactly_once(3).is_err());
        std::fs::write(&path, "a 1 10\na 2 20\n").unwrap();
        assert!(Ledger::read(&[&path]).unwrap().prove_exactly_once(1).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
