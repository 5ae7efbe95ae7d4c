//! Statistics of measurements.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Median, minimum and maximum of repeated measurements, and the measurements in their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
    samples: Vec<f64>,
}

impl Spread {
    /// The spread of the samples; zero if there are none.
    pub(crate) fn of(samples: Vec<f64>) -> Self {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let pick = |at: usize| sorted.get(at).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(pick(last / 2), pick(sorted.len() / 2));
        Self { median, min: pick(0), max: pick(last), samples }
    }

    /// Adds later measurements.
    pub(crate) fn join(&mut self, later: Self) {
        self.samples.extend(later.samples);
        *self = Self::of(std::mem::take(&mut self.samples));
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max, samples } = self;
        let digits = if median.abs() < 1.0 {
            3
        } else if median.abs() < 100.0 {
            2
        } else {
            0
        };
        write!(f, "{median:.digits$}")?;
        if samples.len() > 1 { write!(f, " ({min:.digits$}–{max:.digits$})") } else { Ok(()) }
    }
}

/// A count as a float; exact below 2^53, which no count here reaches.
pub(crate) fn float(n: u64) -> f64 {
    let (high, low) =
        (u32::try_from(n >> 32).unwrap_or(u32::MAX), u32::try_from(n & 0xFFFF_FFFF).unwrap_or(u32::MAX));
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// A length as a float.
pub(crate) fn float_len(n: usize) -> f64 {
    float(u64::try_from(n).unwrap_or(u64::MAX))
}

/// Percentiles of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// The percentiles of latencies in microseconds.
    pub(crate) fn of_micros(micros: impl IntoIterator<Item = u64>) -> anyhow::Result<Self> {
        let mut histogram = hdrhistogram::Histogram::<u64>::new(3)?;
        for value in micros {
            histogram.record(value.max(1))?;
        }
        let ms = |quantile: f64| float(histogram.value_at_quantile(quantile)) / 1000.0;
        Ok(Self {
            p50: ms(0.5),
            p95: ms(0.95),
            p99: ms(0.99),
            p999: ms(0.999),
            max: float(histogram.max()) / 1000.0,
        })
    }

    /// The percentiles by name, as they are printed.
    pub(crate) fn named(&self) -> [(&'static str, f64); 5] {
        [("p50", self.p50), ("p95", self.p95), ("p99", self.p99), ("p99.9", self.p999), ("max", self.max)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_min_and_max() {
        let mut spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(spread.to_string(), "2.00 (1.00–3.00)");
        spread.join(Spread::of(vec![400.0]));
        assert_eq!(spread.to_string(), "2.50 (1.00–400.00)");
        assert_eq!(Spread::of(vec![0.0125]).to_string(), "0.013");
        assert!((float(1 << 40) - 1_099_511_627_776.0).abs() < 1e-3);
    }

    #[test]
    fn percentiles_come_in_milliseconds() {
        let latency = Latency::of_micros((1..=1000).map(|n| n * 1000)).unwrap();
        assert!((latency.p50 - 500.0).abs() < 2.0 && (latency.p99 - 990.0).abs() < 3.0, "{latency:?}");
    }
}
