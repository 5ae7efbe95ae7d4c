//! The report of a run: a table for people, JSON for programs.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::machine::Machine;
use crate::stats::Spread;

/// The machine and the figures of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
}

/// One figure, which is one line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) value: Spread,
    /// The name and the value of its control in the same run, if there is one.
    pub(crate) control: Option<(String, Spread)>,
    /// Value divided by control, pair by pair.
    pub(crate) ratio: Option<Spread>,
    /// The costs by name; empty if another figure of the same measurement has them.
    pub(crate) costs: Vec<(String, Spread)>,
    /// The figure over time for long runs: seconds and values of the last round.
    pub(crate) series: Vec<(f64, f64)>,
}

impl Report {
    /// Writes the report as JSON.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// Reads a report that `write` wrote.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }
}

/// Adds the figures of a round to those of the previous rounds.
pub(crate) fn join(known: &mut Vec<Figure>, round: Vec<Figure>) {
    for figure in round {
        match known.iter_mut().find(|known| known.is_same(&figure)) {
            Some(known) => known.join(figure),
            None => known.push(figure),
        }
    }
}

impl Figure {
    /// A figure without a control.
    pub(crate) fn plain(scenario: &str, what: impl Into<String>, unit: &str, value: f64) -> Self {
        Self::of(scenario, what, unit, vec![value])
    }

    /// A figure with several measurements, without a control.
    pub(crate) fn of(scenario: &str, what: impl Into<String>, unit: &str, values: Vec<f64>) -> Self {
        Self {
            scenario: scenario.to_owned(),
            what: what.into(),
            unit: unit.to_owned(),
            value: Spread::of(values),
            control: None,
            ratio: None,
            costs: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Adds its control, or several controls.
    pub(crate) fn compared_with<const N: usize>(
        mut self,
        name: impl Into<String>,
        controls: [f64; N],
    ) -> Self {
        let value = self.value.median;
        self.ratio = Some(Spread::of(controls.map(|control| value / control).to_vec()));
        self.control = Some((name.into(), Spread::of(controls.to_vec())));
        self
    }

    /// Adds its costs.
    pub(crate) fn with_cost(mut self, cost: &Cost) -> Self {
        self.costs = cost.named().into_iter().map(|(what, value)| (what, Spread::of(vec![value]))).collect();
        self
    }

    /// Adds its values over time.
    pub(crate) fn with_series(mut self, series: Vec<(f64, f64)>) -> Self {
        self.series = series;
        self
    }

    /// Whether both figures measure the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.scenario == other.scenario && self.what == other.what
    }

    /// Adds the values of the same figure of a later round.
    fn join(&mut self, later: Self) {
        self.value.join(later.value);
        if let (Some((_, control)), Some((_, later))) = (&mut self.control, later.control) {
            control.join(later);
        }
        if let (Some(ratio), Some(later)) = (&mut self.ratio, later.ratio) {
            ratio.join(later);
        }
        for ((_, cost), (_, later)) in self.costs.iter_mut().zip(later.costs) {
            cost.join(later);
        }
        self.series = later.series;
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {:<56} {} {}", self.scenario, self.what, self.value, self.unit)?;
        if let (Some((name, control)), Some(ratio)) = (&self.control, &self.ratio) {
            write!(f, " · {ratio} × {name} {control}")?;
        }
        for (nth, (what, cost)) in self.costs.iter().enumerate() {
            let between = if nth == 0 { "\n           costs: " } else { " · " };
            write!(f, "{between}{cost} {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_a_figure_become_one_line() {
        let round =
            |value: f64| vec![Figure::plain("rest", "p99", "ms", value).compared_with("control's", [10.0])];
        let mut figures = round(20.0);
        join(&mut figures, round(40.0));
        join(&mut figures, round(30.0));
        join(&mut figures, vec![Figure::plain("rest", "p50", "ms", 1.0)]);
        assert_eq!(figures.len(), 2);
        let line = figures[0].to_string();
        assert!(
            line.contains("30.00 (20.00–40.00) ms · 3.00 (2.00–4.00) × control's 10.00 (10.00–10.00)"),
            "{line}"
        );
    }
}
