//! Where in a lane to look for work. Leased rows stay in the index as dead entries until a vacuum can remove them, which a
//! long transaction of anybody's prevents; whoever starts at the front of a lane walks them all, every time. So a process
//! remembers how far it has come, and when, and starts there or a little before.
//!
//! What was put behind the mark (late commits, retries, jobs that were given back) is found by looking further back now and then, as
//! often as a small share of the time allows, and a larger one while that finds something. Owns no connection and no clock: moments are passed in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
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
/// And one part in so many if that found something the last time, or if nothing was found at all
const SHARE_THAT_PAYS: u32 = 4;
/// for so long: what was put back may be waited for.
const HUNGRY: Duration = Duration::from_secs(1);
/// Ids were made at most about so long before their transactions committed: no look starts later than that before the last one.
const NEAR: Duration = Duration::from_millis(25);
/// A job that lies further behind than this was put back; what two looks at once take in turn is closer.
const ASTRAY: Duration = Duration::from_millis(100);
/// How far before the mark the more thorough look starts.
const FAR: Duration = Duration::from_secs(10);
/// Statements end after so long: a look back that was begun earlier and told nothing failed.
const LOST: Duration = Duration::from_secs(30);

/// Where one look starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At the marks, or a little before the moment of the last look.
    Near,
    /// Long before the marks.
    Far,
    /// At the front of every lane.
    Front,
}

/// How a look went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    pub(crate) look: Look,
    /// When it was begun here.
    pub(crate) began: Instant,
    /// When it was begun by the database's clock, if that is known.
    pub(crate) seen: Option<DateTime<Utc>>,
    /// What the walk alone took.
    pub(crate) walk: Duration,
    /// It stopped because it had enough.
    pub(crate) full: bool,
}

/// Choices that are remembered; a worker has one, remote workers bring theirs.
const CHOICES: usize = 64;

/// What a look is after: what one choice passes by or never visits, another may want.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Choice {
    /// In one order, whatever the order of the visits.
    queues: Vec<String>,
    kinds: Option<Vec<i32>>,
}

impl Choice {
    pub(crate) fn new(queues: &[String], kinds: Option<Vec<i32>>) -> Self {
        let mut queues = queues.to_vec();
        queues.sort_unstable();
        Self { queues, kinds }
    }

    /// Numbers of the kinds; `None` is all.
    pub(crate) fn kinds(&self) -> Option<&[i32]> {
        self.kinds.as_deref()
    }
}

/// How far this process has come, for each choice.
#[derive(Debug, Default)]
pub(crate) struct LowWaters(Mutex<HashMap<Choice, LowWater>>);

impl LowWaters {
    /// See [`LowWater::look`].
    pub(crate) fn look(&self, choice: &Choice) -> Look {
        self.of(choice, |water| water.look(Instant::now())).unwrap_or(Look::Front)
    }

    /// See [`LowWater::look_again`].
    pub(crate) fn look_again(&self, choice: &Choice, look: Look) -> bool {
        self.of(choice, |water| water.look_again(look, Instant::now())).unwrap_or(true)
    }

    /// See [`LowWater::starts`].
    pub(crate) fn starts(&self, choice: &Choice, look: Look) -> Vec<(i32, Uuid)> {
        self.of(choice, |water| water.starts(look)).unwrap_or_default()
    }

    /// See [`LowWater::looked`].
    pub(crate) fn looked(&self, choice: &Choice, looked: Looked, leased: impl Iterator<Item = (i32, JobId)>) {
        self.of(choice, |water| water.looked(looked, Instant::now(), leased));
    }

    fn of<T>(&self, choice: &Choice, act: impl FnOnce(&mut LowWater) -> T) -> Option<T> {
        let mut waters = self.0.lock().ok()?;
        if waters.len() >= CHOICES && !waters.contains_key(choice) {
            waters.clear();
        }
        Some(act(waters.entry(choice.clone()).or_insert_with(|| LowWater::new(Instant::now()))))
    }
}

/// How far one process has come.
#[derive(Debug)]
struct LowWater {
    marks: HashMap<i32, Mark>,
    /// When a look last put a mark back. One that began before that knows nothing of it.
    lowered: Option<Instant>,
    far: Turn,
    front: Turn,
    /// Somebody has been looking back since then. The next call looks near meanwhile: what has just come must not wait for old times.
    looking_back: Option<Instant>,
    /// Jobs leased since `since`, and in the time before.
    leased: (usize, usize),
    since: Instant,
    /// When a look last found something.
    fed: Instant,
}

/// How far one lane is known to be without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Up to here, whatever had been committed by then was leased.
    at: JobId,
    /// When: the smallest id of that moment. Nearly all that was committed later has at most a little smaller ones.
    seen: Option<JobId>,
    /// The youngest job that was ever leased.
    youngest: JobId,
}

impl Mark {
    fn new(at: JobId) -> Self {
        Self { at, seen: None, youngest: at }
    }

    /// A look came as far as `at`.
    fn put(&mut self, at: JobId, seen: Option<JobId>) {
        (self.at, self.seen) = (at, seen.or(self.seen));
    }

    /// The id after which a look starts. In a deep queue the mark is older than whatever was committed since, so the next look goes on
    /// where the last one ended.
    fn start(self, look: Look) -> Option<JobId> {
        match (look, self.seen) {
            (Look::Near, Some(seen)) => Some(self.at.min(seen.earlier(NEAR))),
            (Look::Near, None) => Some(self.at.earlier(NEAR)),
            (Look::Far, _) => Some(self.at.earlier(FAR)),
            (Look::Front, _) => None,
        }
    }
}

/// When a costly look was taken last, and what it cost.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    last: Option<Instant>,
    took: Duration,
    /// It found something that a look from the mark would not have met.
    paid: bool,
}

impl Turn {
    fn is_due(&self, now: Instant, share: u32) -> bool {
        let share = if self.paid { SHARE_THAT_PAYS } else { share };
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.took * share)
    }
}

impl LowWater {
    fn new(now: Instant) -> Self {
        Self {
            marks: HashMap::new(),
            lowered: None,
            far: Turn::default(),
            front: Turn::default(),
            looking_back: None,
            leased: (0, 0),
            since: now,
            fed: now,
        }
    }

    fn share(&self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.fed) < HUNGRY { SHARE } else { SHARE_THAT_PAYS }
    }

    /// The look to take now: from the front as long as that is cheap, else as far back as is due, one at a time.
    fn look(&mut self, now: Instant) -> Look {
        let look = self.due(now);
        if look != Look::Near {
            self.looking_back = Some(now);
        }
        look
    }

    fn due(&self, now: Instant) -> Look {
        let few = self.leased.0 + self.leased.1 < FEW_JOBS && self.front.took < SLOW;
        let alone = self.looking_back.is_none_or(|since| now.saturating_duration_since(since) >= LOST);
        if few || alone && self.front.is_due(now, self.share(now)) {
            Look::Front
        } else if alone && self.far.is_due(now, self.share(now)) {
            Look::Far
        } else {
            Look::Near
        }
    }

    /// After a look that found nothing: whether to look from the front at once.
    fn look_again(&mut self, look: Look, now: Instant) -> bool {
        let again = look != Look::Front && self.due(now) == Look::Front;
        if again {
            self.looking_back = Some(now);
        }
        again
    }

    /// Lanes with the id after which this look starts in each.
    fn starts(&self, look: Look) -> Vec<(i32, Uuid)> {
        self.marks.iter().filter_map(|(lane, mark)| Some((*lane, mark.start(look)?.as_uuid()))).collect()
    }

    /// A look has ended `now`. It leased these jobs of these lanes, in the order of its walk.
    ///
    /// Whoever has enough goes on there next time, even if that is behind the mark: there is work that was put back. Whoever
    /// has not has seen everything from its start on.
    fn looked(&mut self, looked: Looked, now: Instant, leased: impl Iterator<Item = (i32, JobId)>) {
        let idle = now.saturating_duration_since(self.since);
        if idle >= LATELY {
            self.leased = (0, if idle < LATELY * 2 { self.leased.0 } else { 0 });
            self.since = now;
        }
        let knows = self.lowered.is_none_or(|lowered| looked.began >= lowered);
        let seen = looked.seen.map(JobId::floor);
        let (mut last, mut walked) = (None, Vec::new());
        let (mut past_near, mut past_far) = (false, false);
        for (lane, id) in leased {
            if walked.last() != Some(&lane) {
                walked.push(lane);
            }
            let mark = self.marks.entry(lane).or_insert(Mark::new(id));
            past_near |= mark.start(Look::Near).is_some_and(|start| id < start.earlier(ASTRAY));
            past_far |= mark.start(Look::Far).is_some_and(|start| id < start);
            mark.youngest = id.max(mark.youngest);
            last = Some((lane, id));
            self.fed = now;
            self.leased.0 += 1;
        }
        let turn = |paid| Turn { last: Some(now), took: looked.walk, paid };
        if looked.look != Look::Near {
            self.looking_back = None;
        }
        match looked.look {
            Look::Front => {
                self.front = turn(past_far);
                self.far = Turn { last: Some(now), paid: past_near, ..self.far };
            }
            Look::Far => self.far = turn(past_near),
            Look::Near => {}
        }
        if !knows {
            return;
        }
        match last.filter(|_| looked.full) {
            Some((lane, id)) => {
                // those before it were walked to their end
                for other in walked.iter().filter(|other| **other != lane) {
                    if let Some(mark) = self.marks.get_mut(other) {
                        mark.put(mark.youngest, seen);
                    }
                }
                let mark = self.marks.entry(lane).or_insert(Mark::new(id));
                if id < mark.at {
                    self.lowered = Some(now);
                }
                mark.put(id, seen);
            }
            None => self.marks.values_mut().for_each(|mark| mark.put(mark.youngest, seen)),
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

    /// A look that began `took` ago, found these and knows no clock.
    fn looked(
        water: &mut LowWater,
        (look, now, took): (Look, Instant, Duration),
        walk: Duration,
        leased: &[(i32, JobId)],
        full: bool,
    ) {
        let began = now.checked_sub(took).unwrap();
        water.looked(Looked { look, began, seen: None, walk, full }, now, leased.iter().copied());
    }

    fn busy(now: Instant, took: Duration) -> LowWater {
        let mut water = LowWater::new(now);
        let jobs: Vec<_> = (0..u64::try_from(FEW_JOBS).unwrap()).map(|n| (1, id(n))).collect();
        looked(&mut water, (Look::Front, now, took), took, &jobs, false);
        water
    }

    #[test]
    fn a_process_with_little_to_do_always_looks_from_the_front() {
        let now = Instant::now();
        let mut water = LowWater::new(now);
        assert_eq!([water.look(now), water.look(now)], [Look::Front; 2]);
        looked(&mut water, (Look::Front, now, 5 * MS), 5 * MS, &[(1, id(0))], false);
        assert_eq!(water.due(now), Look::Front);
        looked(&mut water, (Look::Front, now, SLOW), SLOW, &[], false);
        assert_ne!(water.due(now), Look::Front, "but not if that is slow");
    }

    #[test]
    fn a_busy_process_starts_before_its_mark_and_looks_back_for_a_small_share_of_the_time() {
        let now = Instant::now();
        let mut water = busy(now, 10 * MS);
        assert_eq!(water.due(now), Look::Far, "its cost is not known yet");
        looked(&mut water, (Look::Far, now, MS), MS, &[], false);
        assert_eq!(water.due(now), Look::Near);
        assert_eq!(water.due(now + SHARE * MS), Look::Far);
        assert_eq!(water.due(now + SHARE * 10 * MS), Look::Front);
        let starts = water.starts(Look::Near);
        assert_eq!(starts.len(), 1);
        let (lane, start) = starts[0];
        let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
        assert!(lane == 1 && start < id(mark - 24).as_uuid() && start > id(mark - 26).as_uuid(), "{start}");
        assert_eq!(water.starts(Look::Front), []);
    }

    #[test]
    fn nothing_is_walked_twice_in_a_deep_queue_and_what_was_committed_since_is_found_in_any() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        let mut after = |at: u64, seen: u64| {
            let seen = id(seen).created_at();
            let look = Looked { look: Look::Near, began: now + SECOND, seen, walk: MS, full: true };
            water.looked(look, now + SECOND, [(1, id(at))].into_iter());
            water.starts(Look::Near)[0].1
        };
        assert_eq!(after(20_000, 50_000), id(20_000).as_uuid(), "30 s wait: on from the last one");
        let shallow = after(49_990, 50_000);
        assert!(shallow < id(49_976).as_uuid() && shallow > id(49_973).as_uuid(), "25 ms before the look");
        assert_eq!(after(30_000, 60_000), id(30_000).as_uuid());
    }

    #[test]
    fn whoever_finds_plenty_behind_the_mark_goes_on_there_until_it_is_used_up() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        let young = water.marks[&1].at;
        looked(&mut water, (Look::Front, now + SECOND, MS), MS, &[(2, id(3)), (1, id(4)), (1, id(5))], true);
        assert_eq!((water.marks[&1].at, water.marks[&2].at), (id(5), id(3)));
        looked(&mut water, (Look::Near, now + SECOND, 2 * MS), 2 * MS, &[(1, young)], true);
        assert_eq!(water.marks[&1].at, id(5), "that one began before and does not know");
        let quick = (Look::Near, now + SECOND + 5 * MS, 20 * MS);
        looked(&mut water, quick, MS, &[(1, young)], true);
        assert_eq!(water.marks[&1].at, id(5), "nor does one whose walk was short");
        looked(&mut water, (Look::Near, now + 2 * SECOND, MS), MS, &[(1, id(6))], true);
        assert_eq!(water.marks[&1].at, id(6));
        looked(&mut water, (Look::Near, now + 3 * SECOND, MS), MS, &[(1, id(7))], false);
        assert_eq!(water.marks[&1].at, young, "nothing is left there");
    }

    #[test]
    fn lanes_before_the_last_are_passed_although_every_look_is_full() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        for n in 1..4 {
            let look = (Look::Near, now + SECOND, MS);
            looked(&mut water, look, MS, &[(2, id(100 * n)), (1, id(20_000 + n))], true);
            assert_eq!((water.marks[&2].at, water.marks[&1].at), (id(100 * n), id(20_000 + n)));
        }
    }

    #[test]
    fn the_moment_of_a_look_counts_for_all_lanes_that_it_walked_to_their_end() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        let mut look = |seen: Option<u64>, leased: &[(i32, JobId)], full| {
            let seen = seen.and_then(|seen| id(seen).created_at());
            let look = Looked { look: Look::Near, began: now + SECOND, seen, walk: MS, full };
            water.looked(look, now + SECOND, leased.iter().copied());
            let seen = |lane| water.marks.get(&lane).and_then(|mark| mark.seen);
            [seen(2), seen(1)]
        };
        let floor = |millis| id(millis).created_at().map(JobId::floor);
        assert_eq!(look(Some(20_000), &[(2, id(5)), (1, id(15_000))], true), [floor(20_000); 2]);
        assert_eq!(
            look(Some(30_000), &[(2, id(9))], true),
            [floor(30_000), floor(20_000)],
            "it came no further"
        );
        assert_eq!(look(None, &[], false), [floor(30_000), floor(20_000)], "nobody told the time");
        assert_eq!(look(Some(40_000), &[(1, id(16_000))], false), [floor(40_000); 2], "it saw everything");
    }

    #[test]
    fn who_finds_nothing_for_a_while_looks_back_sooner() {
        let now = Instant::now();
        let took = Duration::from_millis(400);
        let mut water = busy(now, took);
        looked(&mut water, (Look::Near, now + SECOND, MS), MS, &[(1, id(0))], false);
        let later = now + SHARE_THAT_PAYS * took;
        assert!(!water.look_again(Look::Near, later), "it found something just now");
        assert!(water.look_again(Look::Near, later + SECOND), "hungry");
    }

    #[test]
    fn a_look_back_that_found_something_is_taken_again_sooner() {
        let now = Instant::now();
        let mut water = busy(now, SECOND);
        let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
        for (found, share) in
            [(mark - 200, SHARE_THAT_PAYS), (mark - 30, SHARE), (mark - 200, SHARE_THAT_PAYS)]
        {
            looked(&mut water, (Look::Far, now, MS), MS, &[(1, id(found))], false);
            let due = now + share * MS;
            let before = now + share * MS / 2;
            assert_eq!((water.due(before), water.due(due)), (Look::Near, Look::Far), "{found}");
        }
        looked(&mut water, (Look::Front, now, 50 * MS), 50 * MS, &[(1, id(mark - 200))], false);
        assert_ne!(
            water.due(now + SHARE_THAT_PAYS * 50 * MS),
            Look::Front,
            "the lesser look would have found it"
        );
    }

    #[test]
    fn an_empty_look_is_followed_by_one_from_the_front_if_that_is_due() {
        let now = Instant::now();
        let mut water = busy(now, 10 * MS);
        assert!(!water.look_again(Look::Near, now));
        assert!(water.look_again(Look::Near, now + SHARE * 10 * MS));
        assert!(!water.look_again(Look::Near, now + SHARE * 10 * MS), "somebody does it now");
        assert!(!water.look_again(Look::Front, now + SECOND));
    }

    #[test]
    fn marks_only_grow_and_quiet_makes_them_needless() {
        let now = Instant::now();
        let mut water = busy(now, MS);
        looked(&mut water, (Look::Near, now, MS), MS, &[(1, id(5)), (2, id(6))], false);
        assert_eq!(water.starts(Look::Near).len(), 2);
        assert_eq!(water.marks[&1].at, id(u64::try_from(FEW_JOBS).unwrap() - 1));
        looked(&mut water, (Look::Near, now + LATELY, MS), MS, &[], false);
        assert_ne!(water.due(now + LATELY), Look::Near, "looking back is long due");
        looked(&mut water, (Look::Near, now + 2 * LATELY, MS), MS, &[], false);
        assert_eq!(water.due(now + 2 * LATELY), Look::Front);
    }

    #[test]
    fn while_one_call_looks_back_the_next_one_takes_what_has_just_come() {
        let now = Instant::now();
        let mut water = busy(now, SECOND);
        let due = now + SHARE * SECOND;
        assert_eq!([water.look(due), water.look(due)], [Look::Front, Look::Near]);
        looked(&mut water, (Look::Near, due + MS, MS), MS, &[(1, id(0))], true);
        assert_eq!(water.due(due + SECOND), Look::Near, "it has not ended");
        assert_eq!(water.due(due + LOST), Look::Front, "it must have failed");
        looked(&mut water, (Look::Front, due + SECOND, SECOND), SECOND, &[], false);
        assert_eq!(water.due(due + SECOND), Look::Far, "its cost is not known yet");
        assert_eq!(water.due(due + SECOND + SHARE * SECOND), Look::Front);
    }
}
