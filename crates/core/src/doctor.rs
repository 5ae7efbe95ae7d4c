//! What an operator would check at night: rules over facts about the database and the queue. Each finding says what was seen and what to do.
//! The store reads the facts; nothing here reads anything.

mod database;
mod facts;
mod queue;

pub use facts::{
    Finding, HealthFacts, OpenTransaction, QueueDemand, QueueHealth, ServerSetting, Severity, SlotBacklog,
    StandbyLag, TableHealth,
};

/// Runs all checks. The worst findings come first; findings of the same severity stay in the order of the checks.
pub fn examine(facts: &HealthFacts) -> Vec<Finding> {
    let mut findings = database::examine(facts);
    findings.extend(queue::examine(facts));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

#[cfg(test)]
mod tests;
