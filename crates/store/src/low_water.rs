//! Where in a lane to look for work. Leased rows stay in the index as dead entries until a vacuum can remove them, which a
//! long transaction of anybody's prevents; whoever starts at the front of a lane walks them all, every time. So a process
//! remembers how far it has come, and when, and starts there or a little before.
//!
//! What was put behind the mark (late commits, retries, jobs that were given back) is found by looking further back now and then, as
//! often as a small share of the time allows, and a larger one while that finds something. Where one look from the front would take long,
//! looks go back in steps (`low_water::sweep`). Bodies are in a table a day, so it also remembers where those of the next jobs probably
//! are. Owns no connection and no clock: moments are passed in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_core::JobId;
use uuid::Uuid;

use sweep::Sweep;

mod sweep;
#[cfg(test)]
mod tests;

/// Until so many jobs were leased in a quarter of a minute, there is nothing worth skipping.
const FEW_JOBS: usize = 10_000;
/// And until a look from the front takes so long; then the way back is taken in steps.
pub(crate) const SLOW: Duration = Duration::from_millis(100);
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
/// Steps may take one part in so many less than other looks back.
const STEP_SHARE: u32 = 3;
/// A look brings the bodies of jobs that were submitted at most so long before those of the last lease, for some were put back or delayed,
const OLDER: Duration = Duration::from_hours(12);
/// or so long after them.
const YOUNGER: Duration = Duration::from_hours(1);
/// Statements end after so long: whoever began to look back earlier and told nothing is gone.
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
    /// At the marks, after a stretch of old times before them; the next one goes on further back.
    Step,
}

/// A part of a lane: jobs after the first id, up to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) lane: i32,
    pub(crate) after: Uuid,
    pub(crate) upto: Uuid,
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
    pub(crate) fn look_again(&self, choice: &Choice, look: Look) -> Option<Look> {
        self.of(choice, |water| water.look_again(look, Instant::now())).flatten()
    }

    /// See [`LowWater::gave_up`].
    pub(crate) fn gave_up(&self, choice: &Choice, look: Look) {
        self.of(choice, |water| water.gave_up(look));
    }

    /// See [`LowWater::stretches`].
    pub(crate) fn stretches(&self, choice: &Choice, look: Look) -> Vec<Stretch> {
        self.of(choice, |water| water.stretches(look)).unwrap_or_default()
    }

    /// See [`LowWater::around`]; everywhere, if nothing is known.
    pub(crate) fn around(&self, choice: &Choice) -> (Uuid, Uuid) {
        self.of(choice, |water| water.around()).flatten().unwrap_or((Uuid::nil(), Uuid::max()))
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
    /// The oldest and the youngest job of the last lease.
    last: Option<(JobId, JobId)>,
    /// When a look last put a mark back. One that began before that knows nothing of it.
    lowered: Option<Instant>,
    far: Turn,
    front: Turn,
    step: Turn,
    /// Steps go back through the last seconds and through all that was before, in turn.
    sweeps: [Sweep; 2],
    /// What the last look that was near took.
    near: Duration,
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
            (Look::Near | Look::Step, Some(seen)) => Some(self.at.min(seen.earlier(NEAR))),
            (Look::Near | Look::Step, None) => Some(self.at.earlier(NEAR)),
            (Look::Far, _) => Some(self.at.earlier(FAR)),
            (Look::Front, _) => None,
        }
    }
}

/// When a costly look was taken last, and what it cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) last: Option<Instant>,
    pub(crate) took: Duration,
    /// It found something that a look from the mark would not have met.
    pub(crate) paid: bool,
}

impl Turn {
    /// Whether another one now would keep all of them within one part in `share` of the time.
    pub(crate) fn is_due(&self, now: Instant, share: u32) -> bool {
        let share = if self.paid { SHARE_THAT_PAYS } else { share };
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.took * share)
    }
}

impl LowWater {
    fn new(now: Instant) -> Self {
        Self {
            marks: HashMap::new(),
            last: None,
            lowered: None,
            far: Turn::default(),
            front: Turn::default(),
            step: Turn::default(),
            sweeps: [Sweep::new(Duration::ZERO, Some(FAR)), Sweep::new(FAR, None)],
            near: Duration::ZERO,
            looking_back: None,
            leased: (0, 0),
            since: now,
            fed: now,
        }
    }

    fn share(&self, now: Instant) -> u32 {
        if self.is_hungry(now) { SHARE_THAT_PAYS } else { SHARE }
    }

    fn is_hungry(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.fed) >= HUNGRY
    }

    /// Nobody looks back.
    fn is_alone(&self, now: Instant) -> bool {
        self.looking_back.is_none_or(|since| now.saturating_duration_since(since) >= LOST)
    }

    /// One look from the front would take too long.
    fn takes_steps(&self) -> bool {
        self.front.took >= SLOW
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
        let few = self.leased.0 + self.leased.1 < FEW_JOBS && !self.takes_steps();
        let share = self.share(now);
        if few {
            Look::Front
        } else if !self.is_alone(now) {
            Look::Near
        } else if self.takes_steps() {
            if self.step.is_due(now, share / STEP_SHARE) { Look::Step } else { Look::Near }
        } else if self.front.is_due(now, share) {
            Look::Front
        } else if self.far.is_due(now, share) {
            Look::Far
        } else {
            Look::Near
        }
    }

    /// After a look that found nothing: a look further back that is to be taken at once.
    fn look_again(&mut self, look: Look, now: Instant) -> Option<Look> {
        let again = match self.due(now) {
            Look::Front if look != Look::Front => Some(Look::Front),
            Look::Step => Some(Look::Step),
            // there is nothing better to do
            _ if self.takes_steps() && self.is_alone(now) && self.is_hungry(now) => Some(Look::Step),
            _ => None,
        };
        if again.is_some() {
            self.looking_back = Some(now);
        }
        again
    }

    /// A look is over, whatever came of it.
    fn ends(&mut self, look: Look) {
        if look != Look::Near {
            self.looking_back = None;
        }
    }

    /// Between which ids the next jobs probably lie: around those of the last lease.
    fn around(&self) -> Option<(Uuid, Uuid)> {
        let (oldest, youngest) = self.last?;
        let upto = JobId::floor(youngest.created_at()? + YOUNGER);
        Some((oldest.earlier(OLDER).as_uuid(), upto.as_uuid()))
    }

    /// A look failed, maybe because it took too long: another one may be taken at once.
    fn gave_up(&mut self, look: Look) {
        self.ends(look);
        match look {
            Look::Front => self.front.took = self.front.took.max(SLOW),
            Look::Step => self.sweeps[0].is_too_long(),
            Look::Near | Look::Far => {}
        }
    }

    /// Where this look looks, lane by lane; in those that are not named, everywhere.
    fn stretches(&self, look: Look) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        for (lane, mark) in &self.marks {
            let Some(start) = mark.start(look) else { continue };
            if look == Look::Step {
                let (after, upto) = self.sweeps[0].step(start);
                stretches.push(Stretch { lane: *lane, after: after.as_uuid(), upto: upto.as_uuid() });
            }
            stretches.push(Stretch { lane: *lane, after: start.as_uuid(), upto: Uuid::max() });
        }
        stretches
    }

    /// The step at hand has seen all that it covers. The next one is of the other way; once the longer way is cheap as a whole, one look
    /// takes it again.
    fn went(&mut self, took: Duration, now: Instant) {
        let starts = self.marks.values().filter_map(|mark| mark.start(Look::Step));
        let first = starts.map(|near| self.sweeps[0].step(near).0).all(|after| after.as_uuid().is_nil());
        let whole = self.sweeps[0].went(took, first);
        if let Some(took) = whole.filter(|_| first) {
            self.front = Turn { last: Some(now), took, paid: false };
        }
        self.sweeps.rotate_left(1);
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
        let mut ends: Option<(JobId, JobId)> = None;
        let (mut past_near, mut past_far, mut in_step) = (false, false, false);
        for (lane, id) in leased {
            if walked.last() != Some(&lane) {
                walked.push(lane);
            }
            let mark = self.marks.entry(lane).or_insert(Mark::new(id));
            past_near |= mark.start(Look::Near).is_some_and(|start| id < start.earlier(ASTRAY));
            past_far |= mark.start(Look::Far).is_some_and(|start| id < start);
            in_step = looked.look == Look::Step && mark.start(Look::Step).is_some_and(|start| id <= start);
            mark.youngest = id.max(mark.youngest);
            last = Some((lane, id));
            ends = Some(ends.map_or((id, id), |(oldest, youngest)| (id.min(oldest), id.max(youngest))));
            self.fed = now;
            self.leased.0 += 1;
        }
        self.last = ends.or(self.last);
        let turn = |paid| Turn { last: Some(now), took: looked.walk, paid };
        self.ends(looked.look);
        match looked.look {
            Look::Front => {
                self.front = turn(past_far);
                self.far = Turn { last: Some(now), paid: past_near, ..self.far };
            }
            Look::Far => self.far = turn(past_near),
            Look::Near => self.near = looked.walk,
            Look::Step => {
                let took = looked.walk.saturating_sub(self.near);
                self.step = Turn { last: Some(now), took, paid: past_near };
                // whoever has enough before the step's end takes it again
                if looked.full && in_step {
                    return;
                }
                self.went(took, now);
            }
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
