//! What a run says: a table for people, JSON for machines.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ground::Cost;
use crate::stats::Spread;

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) value: Spread,
    /// The control of the same run and what it is, if there is one.
    pub(crate) control: Option<(String, Spread)>,
    /// Value over control, pair by pair.
    pub(crate) ratio: Option<Spread>,
    pub(crate) cost: Option<Cost>,
    /// The figure over time, if it is one of a long run: seconds and values.
    pub(crate) series: Vec<(f64, f64)>,
}

impl Figure {
    /// A figure without a control.
    pub(crate) fn plain(scenario: &str, what: impl Into<String>, unit: &str, values: &[f64]) -> Self {
        Self {
            scenario: scenario.to_owned(),
            what: what.into(),
            unit: unit.to_owned(),
            value: Spread::of(values),
            control: None,
            ratio: None,
            cost: None,
            series: Vec::new(),
        }
    }

    /// A figure with its control, measured in pairs.
    pub(crate) fn beside(mut self, control: impl Into<String>, pairs: &[(f64, f64)]) -> Self {
        let controls: Vec<f64> = pairs.iter().map(|(_, control)| *control).collect();
        let ratios: Vec<f64> = pairs.iter().map(|(value, control)| value / control).collect();
        self.control = Some((control.into(), Spread::of(&controls)));
        self.ratio = Some(Spread::of(&ratios));
        self
    }

    /// The same with what it cost.
    pub(crate) fn costing(mut self, cost: Cost) -> Self {
        self.cost = Some(cost);
        self
    }

    /// The same with its course.
    pub(crate) fn over(mut self, series: Vec<(f64, f64)>) -> Self {
        self.series = series;
        self
    }

    /// Prints the line.
    pub(crate) fn print(&self) {
        let spread = |s: &Spread, digits: usize| {
            format!("{:.digits$} ({:.digits$}–{:.digits$})", s.median, s.min, s.max, digits = digits)
        };
        let digits = if self.value.median < 100.0 { 2 } else { 0 };
        let mut line =
            format!("{:<10} {:<44} {} {}", self.scenario, self.what, spread(&self.value, digits), self.unit);
        if let (Some((name, control)), Some(ratio)) = (&self.control, &self.ratio) {
            line = format!("{line} · {} × {name} {}", spread(ratio, 2), spread(control, digits));
        }
        if let Some(cost) = &self.cost {
            line = format!(
                "{line} · {:.0} B WAL, {:.3} commits a job, {:.3} CPU-s/1000 in Postgres, {:.0} connections",
                cost.wal_bytes_per_job,
                cost.commits_per_job,
                cost.postgres_cpu_seconds_per_1000,
                cost.connections
            );
        }
        println!("{line}");
    }
}

/// Writes all figures.
pub(crate) fn write_json(path: &Path, figures: &[Figure]) -> anyhow::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(figures)?)?;
    Ok(())
}
