//! Metrics of schedules: what became of their ticks, and how late.

use std::time::Duration;

use jobqueue_core::schedule::Fate;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

/// See the module. Clones share the series.
#[derive(Clone, Debug)]
pub struct ScheduleMetrics {
    ticks: IntCounterVec,
    lag: Histogram,
    /// Schedules that are invalid, of the whole deployment.
    pub(crate) invalid: IntGauge,
}

impl ScheduleMetrics {
    /// Registers the series.
    ///
    /// # Errors
    /// The registry has a metric of the same name already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let ticks = IntCounterVec::new(
            Opts::new(
                "reaper_ticks_total",
                "Ticks of schedules that this reaper decided, by what became of them.",
            ),
            &["fate"],
        )?;
        let lag = Histogram::with_opts(
            HistogramOpts::new("reaper_tick_lag_seconds", "How long after its time a tick was decided.")
                .buckets(vec![0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0]),
        )?;
        let invalid =
            IntGauge::new("reaper_schedules_invalid", "Schedules that are invalid and have no ticks.")?;
        registry.register(Box::new(ticks.clone()))?;
        registry.register(Box::new(lag.clone()))?;
        registry.register(Box::new(invalid.clone()))?;
        // series start at zero, so that rates can be detected
        for fate in Fate::ALL {
            ticks.with_label_values(&[fate.word()]);
        }
        Ok(Self { ticks, lag, invalid })
    }

    /// Counts a tick.
    pub(crate) fn decided(&self, fate: Fate, late: Duration) {
        self.ticks.with_label_values(&[fate.word()]).inc();
        self.lag.observe(late.as_secs_f64());
    }
}
