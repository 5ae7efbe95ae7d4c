//! Where in a lane to look for work. Leased rows stay in the index as dead entries until a vacuum can remove them, which a
//! long transaction of anybody's prevents; whoever starts at the front of a lane walks them all, every time. So a process
//! remembers how far it has come and starts a little before that.
//!
//! What was put behind the mark (late commits, jobs that were given back) is found by looking further back now and then, as
//! often as a small share of the time allows. Owns no connection and no clock: moments are passed in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jobqueue_core::JobId;
use uuid::Uuid;

/// Until so many jobs were leased in a quarter of a minute, there is nothing worth skipping.
const FEW_JOBS: usize = 10_000;
/// And until a look from the front takes so long.
const SLOW: Duration = Duration::from_millis(100);
/// How long jobs count as leased lately.
const LATELY: Duration = Duration::from_secs(15);
/// Looking further back may take one part in so many of the time.
const SHARE: u32 = 30;
/// How far before the mark every look starts: transactions commit in another order than they made their ids.
const NEAR: Duration = Duration::from_millis(100);
/// And how far the more thorough one.
const FAR: Duration = Duration::from_secs(10);

/// Where one look starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// This long before the marks.
    Before(Duration),
    /// At the front of every lane.
    Front,
}

/// Choices of kinds that are remembered; a worker has one, remote workers bring theirs.
const CHOICES: usize = 64;

/// How far this process has come, for each choice of kinds: what one passes by, another may want.
#[derive(Debug, Default)]
pub(crate) struct LowWaters(Mutex<HashMap<Option<Vec<i32>>, LowWater>>);

impl LowWaters {
    /// See [`LowWater::look`].
    pub(crate) fn look(&self, kinds: Option<&[i32]>) -> Look {
        self.of(kinds, |water| water.look(Instant::now())).unwrap_or(Look::Front)
    }

    /// See [`LowWater::look_again`].
    pub(crate) fn look_again(&self, kinds: Option<&[i32]>, look: Look) -> bool {
        self.of(kinds, |water| water.look_again(look, Instant::now())).unwrap_or(true)
    }

    /// See [`LowWater::starts`].
    pub(crate) fn starts(&self, kinds: Option<&[i32]>, look: Look) -> Vec<(i32, Uuid)> {
        self.of(kinds, |water| water.starts(look)).unwrap_or_default()
    }

    /// See [`LowWater::looked`].
    pub(crate) fn looked(
        &self,
        kinds: Option<&[i32]>,
        look: Look,
        took: Duration,
        leased: impl Iterator<Item = (i32, JobId)>,
    ) {
        self.of(kinds, |water| water.looked(look, (Instant::now(), took), leased));
    }

    fn of<T>(&self, kinds: Option<&[i32]>, act: impl FnOnce(&mut LowWater) -> T) -> Option<T> {
        let mut waters = self.0.lock().ok()?;
        let choice = kinds.map(<[i32]>::to_vec);
        if waters.len() >= CHOICES && !waters.contains_key(&choice) {
            waters.clear();
        }
        Some(act(waters.entry(choice).or_insert_with(|| LowWater::new(Instant::now()))))
    }
}

/// How far one process has come.
#[derive(Debug)]
struct LowWater {
    marks: HashMap<i32, JobId>,
    far: Turn,
    front: Turn,
    /// Jobs leased since `since`, and in the time before.
    leased: (usize, usize),
    since: Instant,
}

/// When a costly look was taken last, and what it cost.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    last: Option<Instant>,
    took: Duration,
}

impl Turn {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.took * SHARE)
    }
}

impl LowWater {
    fn new(now: Instant) -> Self {
        Self {
            marks: HashMap::new(),
            far: Turn::default(),
            front: Turn::default(),
            leased: (0, 0),
            since: now,
        }
    }

    /// The look to take now: from the front as long as that is cheap, else as far back as is due.
    fn look(&self, now: Instant) -> Look {
        let few = self.leased.0 + self.leased.1 < FEW_JOBS && self.front.took < SLOW;
        if few || self.front.is_due(now) {
            Look::Front
        } else if self.far.is_due(now) {
            Look::Before(FAR)
        } else {
            Look::Before(NEAR)
        }
    }

    /// After a look that found nothing: whether to look from the front at once.
    fn look_again(&self, look: Look, now: Instant) -> bool {
        look != Look::Front && self.front.is_due(now)
    }

    /// Lanes with the id after which this look starts in each.
    fn starts(&self, look: Look) -> Vec<(i32, Uuid)> {
        let Look::Before(span) = look else { return Vec::new() };
        self.marks.iter().map(|(lane, mark)| (*lane, mark.earlier(span).as_uuid())).collect()
    }

    /// A look ended and took so long. It leased these jobs of these lanes.
    fn looked(
        &mut self,
        look: Look,
        (now, took): (Instant, Duration),
        leased: impl Iterator<Item = (i32, JobId)>,
    ) {
        match look {
            Look::Front => {
                self.front = Turn { last: Some(now), took };
                self.far = Turn { last: Some(now), ..self.far };
            }
            Look::Before(FAR) => self.far = Turn { last: Some(now), took },
            Look::Before(_) => {}
        }
        let idle = now.saturating_duration_since(self.since);
        if idle >= LATELY {
            self.leased = (0, if idle < LATELY * 2 { self.leased.0 } else { 0 });
            self.since = now;
        }
        for (lane, id) in leased {
            let mark = self.marks.entry(lane).or_insert(id);
            *mark = id.max(*mark);
            self.leased.0 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn id(millis: u64) -> JobId {
        JobId::from_ticks((1_790_000_000_000 + millis) << 12, 7)
    }

    fn busy(now: Instant, took: Duration) -> LowWater {
        let mut water = LowWater::new(now);
        let jobs = (0..u64::try_from(FEW_JOBS).unwrap()).map(|n| (1, id(n)));
        water.looked(Look::Front, (now, took), jobs);
        water
    }

    #[test]
    fn a_process_with_little_to_do_always_looks_from_the_front() {
        let now = Instant::now();
        let mut water = LowWater::new(now);
        assert_eq!(water.look(now), Look::Front);
        water.looked(Look::Front, (now, 5 * MS), [(1, id(0))].into_iter());
        assert_eq!(water.look(now), Look::Front);
        water.looked(Look::Front, (now, SLOW), std::iter::empty());
        assert_ne!(water.look(now), Look::Front, "but not if that is slow");
    }

    #[test]
    fn a_busy_process_starts_before_its_mark_and_looks_back_for_a_small_share_of_the_time() {
        let now = Instant::now();
        let mut water = busy(now, 10 * MS);
        assert_eq!(water.look(now), Look::Before(FAR), "its cost is not known yet");
        water.looked(Look::Before(FAR), (now, MS), std::iter::empty());
        assert_eq!(water.look(now), Look::Before(NEAR));
        assert_eq!(water.look(now + SHARE * MS), Look::Before(FAR));
        assert_eq!(water.look(now + SHARE * 10 * MS), Look::Front);
        let starts = water.starts(Look::Before(NEAR));
        assert_eq!(starts.len(), 1);
        let (lane, start) = starts[0];
        let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
        assert!(lane == 1 && start < id(mark - 99).as_uuid() && start > id(mark - 101).as_uuid(), "{start}");
        assert_eq!(water.starts(Look::Front), []);
    }

    #[test]
    fn an_empty_look_is_followed_by_one_from_the_front_if_that_is_due() {
        let now = Instant::now();
        let water = busy(now, 10 * MS);
        assert!(!water.look_again(Look::Before(NEAR), now));
        assert!(water.look_again(Look::Before(NEAR), now + SECOND));
        assert!(!water.look_again(Look::Front, now + SECOND));
    }

    #[test]
    fn marks_only_grow_and_quiet_makes_them_needless() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        water.looked(Look::Before(NEAR), (now, MS), [(1, id(5)), (2, id(6))].into_iter());
        assert_eq!(water.starts(Look::Before(NEAR)).len(), 2);
        assert_eq!(water.marks[&1], id(u64::try_from(FEW_JOBS).unwrap() - 1));
        water.looked(Look::Before(NEAR), (now + LATELY, MS), std::iter::empty());
        assert_ne!(water.look(now + LATELY), Look::Before(NEAR), "looking back is long due");
        water.looked(Look::Before(NEAR), (now + 2 * LATELY, MS), std::iter::empty());
        assert_eq!(water.look(now + 2 * LATELY), Look::Front);
    }
}
