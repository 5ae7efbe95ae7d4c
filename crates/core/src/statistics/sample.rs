//! What one attempt took, as one number, so that a batch of attempts is one array.

use std::time::Duration;

use super::histogram::Bucket;

/// The wait in multiples of this, and the run below it. Each is the number of a bucket plus one; 0 is none.
const RADIX: u16 = 1024;

/// How long a job waited and how long its attempt ran, as buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    waited: Option<Bucket>,
    ran: Option<Bucket>,
}

impl Sample {
    /// The sample of an attempt. Without `ran` the store fills in the time since the lease.
    pub fn new(waited: Option<Duration>, ran: Option<Duration>) -> Self {
        Self { waited: waited.map(Bucket::of), ran: ran.map(Bucket::of) }
    }

    /// How long the job waited.
    pub const fn waited(self) -> Option<Bucket> {
        self.waited
    }

    /// How long the attempt ran.
    pub const fn ran(self) -> Option<Bucket> {
        self.ran
    }

    /// The stored form.
    pub fn packed(self) -> i32 {
        let part = |bucket: Option<Bucket>| bucket.map_or(0, |bucket| i32::from(bucket.number()) + 1);
        part(self.waited) * i32::from(RADIX) + part(self.ran)
    }

    /// The sample of a stored form. A part that is not a bucket is none.
    pub fn from_packed(packed: i32) -> Self {
        let packed = u32::try_from(packed).unwrap_or(0);
        let part = |number: u32| {
            let number = u16::try_from(number).ok()?;
            Bucket::from_number(number.checked_sub(1)?)
        };
        Self { waited: part(packed / u32::from(RADIX)), ran: part(packed % u32::from(RADIX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::BUCKETS;
    use super::*;

    #[test]
    fn the_stored_form_round_trips() {
        const { assert!(BUCKETS < RADIX) };
        let times = [None, Some(Duration::ZERO), Some(Duration::from_millis(3)), Some(Duration::MAX)];
        for waited in times {
            for ran in times {
                let sample = Sample::new(waited, ran);
                assert_eq!(Sample::from_packed(sample.packed()), sample);
            }
        }
        assert_eq!(Sample::new(None, None).packed(), 0);
        assert_eq!(Sample::new(None, Some(Duration::ZERO)).packed(), 1);
    }

    #[test]
    fn other_numbers_are_no_sample() {
        for packed in [-1, i32::MIN, 1023, i32::MAX] {
            assert_eq!(Sample::from_packed(packed), Sample::new(None, None), "{packed}");
        }
    }
}
