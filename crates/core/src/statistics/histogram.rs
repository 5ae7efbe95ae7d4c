//! Histograms of durations with log-linear buckets. Two of them are merged by adding their counts, so the quantiles of an hour follow from
//! its minutes, without the single values.
//!
//! Durations are whole microseconds. Below 16 µs each value has its own bucket. Above, each power of two is divided into 16 buckets of equal
//! width. A quantile is the middle of its bucket, so it differs from the exact value by at most 1/32 of it (3.2 %) or 1 µs.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets of each power of two, as a power of two.
const SUB_BITS: u32 = 4;
const SUBS: u64 = 1 << SUB_BITS;
/// Longer durations count as this one, about 203 days.
const LONGEST_MICROS: u64 = (1 << 44) - 1;
/// How many buckets there are.
pub const BUCKETS: u16 = 656;
/// The largest relative difference between a quantile and the exact value, for values of 16 µs and more.
pub const RELATIVE_ERROR: f64 = 1.0 / 32.0;

/// The number of a bucket, below [`BUCKETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of a duration. The SQL function `jobqueue.duration_bucket` computes the same.
    pub fn of(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST_MICROS);
        let number = match micros.checked_ilog2() {
            Some(log) if log >= SUB_BITS => {
                let within = (micros >> (log - SUB_BITS)) & (SUBS - 1);
                u64::from(log - SUB_BITS + 1) * SUBS + within
            }
            _ => micros,
        };
        Self(u16::try_from(number).unwrap_or(BUCKETS - 1))
    }

    /// The bucket of this number. `None` if there is none.
    pub fn from_number(number: u16) -> Option<Self> {
        (number < BUCKETS).then_some(Self(number))
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The middle of the bucket.
    pub fn middle(self) -> Duration {
        let number = u64::from(self.0);
        if number < SUBS {
            return Duration::from_micros(number);
        }
        let shift = number / SUBS - 1;
        let low = (SUBS + number % SUBS) << shift;
        Duration::from_micros(low + (1 << shift) / 2)
    }
}

/// How many durations fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u16, u64>);

/// The bytes are not an encoded histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a histogram")]
pub struct NotAHistogram;

impl Histogram {
    /// Adds `count` durations of this bucket.
    pub fn add_bucket(&mut self, bucket: Bucket, count: u64) {
        *self.0.entry(bucket.0).or_default() += count;
    }

    /// Adds all durations of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// How many durations it has.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether it has no duration.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest duration that at least this share of all durations does not exceed, by nearest rank. `per_mille` is 500 for the median.
    /// `None` if there is no duration.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = self.count().saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| Bucket(*bucket).middle())
        })
    }

    /// The stored form: for each bucket that is not empty its distance from the last one, and its count. Each number takes seven bits a byte,
    /// the lowest first; the highest bit says that more follow.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 3);
        let mut last = 0;
        for (bucket, count) in &self.0 {
            push(&mut bytes, u64::from(bucket - last));
            push(&mut bytes, *count);
            last = *bucket;
        }
        bytes
    }

    /// The histogram of a stored form.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, NotAHistogram> {
        let mut counts = BTreeMap::new();
        let mut bucket: u64 = 0;
        while !bytes.is_empty() {
            bucket = pull(&mut bytes)?.checked_add(bucket).ok_or(NotAHistogram)?;
            let number = u16::try_from(bucket).ok().and_then(Bucket::from_number).ok_or(NotAHistogram)?;
            counts.insert(number.0, pull(&mut bytes)?);
        }
        Ok(Self(counts))
    }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
}

fn pull(bytes: &mut &[u8]) -> Result<u64, NotAHistogram> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(NotAHistogram)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NotAHistogram)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(micros: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for micros in micros {
            histogram.add_bucket(Bucket::of(Duration::from_micros(*micros)), 1);
        }
        histogram
    }

    fn length(micros: &[u64]) -> u64 {
        micros.len().try_into().unwrap()
    }

    /// Durations of every order of magnitude.
    fn durations() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec((0u32..44, any::<u64>()).prop_map(|(bits, any)| any >> (63 - bits)), 1..300)
    }

    #[test]
    fn buckets_are_in_order_and_contain_their_middle() {
        assert_eq!(Bucket::of(Duration::MAX).number(), BUCKETS - 1, "the last one takes the rest");
        for number in 0..BUCKETS {
            let bucket = Bucket::from_number(number).unwrap();
            assert_eq!(Bucket::of(bucket.middle()), bucket);
        }
        assert_eq!(Bucket::from_number(BUCKETS), None);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(500), None);
        assert_eq!(histogram(&[7]).quantile(0), Some(Duration::from_micros(7)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_as_near_to_the_sorted_values_as_stated(micros in durations(), per_mille in 1u64..=1000) {
            let mut sorted: Vec<u64> = micros.iter().map(|micros| *micros.min(&LONGEST_MICROS)).collect();
            sorted.sort_unstable();
            let rank = (length(&sorted) * per_mille).div_ceil(1000);
            let exact = sorted[usize::try_from(rank).unwrap() - 1];
            let found = histogram(&micros).quantile(per_mille).unwrap().as_micros();
            prop_assert!(found.abs_diff(exact.into()) <= u128::from(exact.div_ceil(32)).max(1), "{exact} {found}");
        }

        #[test]
        fn the_parts_merged_are_the_whole(left in durations(), right in durations()) {
            let mut merged = histogram(&left);
            merged.add(&histogram(&right));
            prop_assert_eq!(merged.count(), length(&left) + length(&right));
            prop_assert_eq!(merged, histogram(&[left, right].concat()));
        }

        #[test]
        fn the_stored_form_round_trips(micros in durations()) {
            let histogram = histogram(&micros);
            prop_assert_eq!(Histogram::from_bytes(&histogram.to_bytes()), Ok(histogram));
        }

        #[test]
        fn any_bytes_are_a_histogram_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Histogram::from_bytes(&bytes);
        }
    }

    #[test]
    fn what_is_not_a_histogram_is_refused() {
        for bytes in [&[1][..], &[0xff; 12], &[0x80, 0x80, 4, 1], &[0x90, 0x05, 1]] {
            assert_eq!(Histogram::from_bytes(bytes), Err(NotAHistogram), "{bytes:?}");
        }
    }
}
