//! The checks of a schedule's draft. They record all field errors.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::definition::{Schedule, Template};
use super::{Cron, Missed, Place, Plan, ScheduleDraft, Solar, Timing, Zone};
use crate::field::FieldError;
use crate::job::check::short_text;
use crate::job::{JobDraft, NewJob};
use crate::json::Json;
use crate::limits::{Limits, MAX_DESCRIPTION_BYTES, MAX_OWNER_BYTES};
use crate::name::ScheduleName;
use crate::time::{self, TIMESTAMP_RULE};

/// Shortest interval.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Longest interval: ten years. A longer one is most likely a wrong unit.
const MAX_INTERVAL: Duration = Duration::from_hours(10 * 366 * 24);
/// Longest jitter.
const MAX_JITTER: Duration = Duration::from_hours(24);
/// Largest `max_runs`.
const MAX_RUNS: i64 = 1_000_000_000;
/// Largest `missed_limit`.
const MAX_MISSED: i64 = 1000;
/// `missed_limit` of a schedule that does not set it.
const DEFAULT_MISSED: usize = 100;

impl Schedule {
    /// Checks a draft and reports all field errors at once.
    pub fn parse(
        name: &ScheduleName,
        draft: ScheduleDraft,
        limits: &Limits,
    ) -> Result<Self, Vec<FieldError>> {
        Checker { limits, errors: Vec::new() }.schedule(name, draft)
    }

    /// Reads what is stored, or says what is wrong with it. Sizes were checked by the limits of the API that stored it.
    pub fn of_stored(name: &ScheduleName, spec: &Json) -> Result<Self, String> {
        let draft: ScheduleDraft = spec.to().map_err(|error| error.to_string())?;
        let limits = Limits { payload_bytes: usize::MAX, metadata_bytes: usize::MAX, ..Limits::default() };
        Self::parse(name, draft, &limits).map_err(|errors| {
            let sentences = errors.into_iter().map(|error| format!("{} {}", error.pointer, error.message));
            sentences.collect::<Vec<_>>().join("; ")
        })
    }
}

/// Collects the errors of one draft.
struct Checker<'a> {
    limits: &'a Limits,
    errors: Vec<FieldError>,
}

impl Checker<'_> {
    fn schedule(mut self, name: &ScheduleName, draft: ScheduleDraft) -> Result<Schedule, Vec<FieldError>> {
        let timing = self.timing(&draft);
        let start = self.timestamp("/start_at", draft.start_at.as_deref());
        let end = self.timestamp("/end_at", draft.end_at.as_deref());
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            self.note("/end_at", "out_of_range", "must not be before start_at");
        }
        let max_runs = self.whole("/max_runs", draft.max_runs, MAX_RUNS);
        let jitter = self.seconds("/jitter_seconds", draft.jitter_seconds, Duration::ZERO..=MAX_JITTER);
        let expires_after = self.expires_after(&draft, jitter);
        let missed = draft.missed.unwrap_or_default();
        let missed_limit = self.whole("/missed_limit", draft.missed_limit, MAX_MISSED);
        if draft.missed_limit.is_some() && missed != Missed::All {
            self.note("/missed_limit", "conflict", "is only for missed \"all\"");
        }
        self.texts(&draft);
        let template = self.template(name, draft.job);
        let (Some(timing), Some(template), true) = (timing, template, self.errors.is_empty()) else {
            return Err(self.errors);
        };
        let missed_limit =
            missed_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_MISSED);
        let jitter = jitter.unwrap_or_default();
        Ok(Schedule {
            plan: Plan { timing, missed, missed_limit, end, jitter, seed: seed(name) },
            start,
            enabled: draft.enabled.unwrap_or(true),
            max_runs,
            expires_after,
            overlap: draft.overlap.unwrap_or_default(),
            template,
        })
    }

    fn note(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, message));
    }

    fn timing(&mut self, draft: &ScheduleDraft) -> Option<Timing> {
        for (pointer, given, of, belongs) in [
            ("/time_zone", draft.time_zone.is_some(), "cron", draft.cron.is_some()),
            ("/dst", draft.dst.is_some(), "cron", draft.cron.is_some()),
            ("/latitude", draft.latitude.is_some(), "solar", draft.solar.is_some()),
            ("/longitude", draft.longitude.is_some(), "solar", draft.solar.is_some()),
            ("/anchor", draft.anchor.is_some(), "interval_seconds", draft.interval_seconds.is_some()),
        ] {
            if given && !belongs {
                self.note(pointer, "conflict", format!("is only for {of}"));
            }
        }
        let given = [
            ("/cron", draft.cron.is_some()),
            ("/interval_seconds", draft.interval_seconds.is_some()),
            ("/solar", draft.solar.is_some()),
            ("/at", draft.at.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given).map(|(pointer, _)| pointer);
        if given.next().is_none() {
            self.note("/cron", "required", "give one of cron, interval_seconds, solar and at");
        }
        for other in given {
            self.note(other, "conflict", "give only one of cron, interval_seconds, solar and at");
        }
        // each is checked, so that one answer has all errors
        let cron = draft.cron.as_ref().and_then(|text| self.cron(text, draft));
        let every = draft.interval_seconds.and_then(|seconds| self.every(seconds, draft.anchor.as_deref()));
        let sun = draft.solar.and_then(|event| self.sun(event, draft));
        let once = self.timestamp("/at", draft.at.as_deref()).map(Timing::Once);
        cron.or(every).or(sun).or(once)
    }

    fn sun(&mut self, event: Solar, draft: &ScheduleDraft) -> Option<Timing> {
        let mut degrees = |pointer: &str, value: Option<f64>, most: f64| match value {
            None => self.note(pointer, "required", "is required with solar"),
            Some(value) if !(-most..=most).contains(&value) => {
                self.note(pointer, "out_of_range", format!("must be between -{most} and {most}"));
            }
            Some(_) => {}
        };
        degrees("/latitude", draft.latitude, 90.0);
        degrees("/longitude", draft.longitude, 180.0);
        let place = Place::new(draft.latitude?, draft.longitude?)?;
        if event.next_after(place, DateTime::UNIX_EPOCH).is_none() {
            self.note("/solar", "invalid", "never happens at this place");
        }
        Some(Timing::Sun { event, place })
    }

    fn cron(&mut self, text: &str, draft: &ScheduleDraft) -> Option<Timing> {
        let cron =
            text.parse::<Cron>().map_err(|error| self.note("/cron", "invalid", error.to_string())).ok();
        let zone = match &draft.time_zone {
            None => Some(Zone::utc()),
            Some(name) => Zone::named(name),
        };
        if zone.is_none() {
            self.note(
                "/time_zone",
                "invalid",
                "must be a time zone of the IANA database, such as Europe/Berlin",
            );
        }
        Some(Timing::Cron { cron: cron?, zone: zone?, dst: draft.dst.unwrap_or_default() })
    }

    fn every(&mut self, seconds: f64, anchor: Option<&str>) -> Option<Timing> {
        let every = self.seconds("/interval_seconds", Some(seconds), MIN_INTERVAL..=MAX_INTERVAL);
        let anchor = match anchor {
            None => Some(DateTime::UNIX_EPOCH),
            anchor => self.timestamp("/anchor", anchor),
        };
        Some(Timing::Every { every: every?, anchor: anchor? })
    }

    /// A timestamp, exact to the microsecond, as Postgres stores it.
    fn timestamp(&mut self, pointer: &str, text: Option<&str>) -> Option<DateTime<Utc>> {
        let at = time::timestamp(text?);
        if at.is_none() {
            self.note(pointer, "invalid", TIMESTAMP_RULE);
        }
        at.map(|at| at.trunc_subsecs(6))
    }

    /// A duration, exact to the millisecond.
    fn seconds(
        &mut self,
        pointer: &str,
        value: Option<f64>,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Option<TimeDelta> {
        let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        let Some(duration) = time::seconds(value?, range) else {
            self.note(pointer, "out_of_range", format!("must be between {least} and {most} seconds"));
            return None;
        };
        Some(TimeDelta::milliseconds(i64::try_from(duration.as_millis()).ok()?))
    }

    fn whole(&mut self, pointer: &str, value: Option<i64>, most: i64) -> Option<u64> {
        let value = value?;
        if !(1..=most).contains(&value) {
            self.note(pointer, "out_of_range", format!("must be between 1 and {most}"));
        }
        u64::try_from(value).ok()
    }

    /// A job that expires before it can start would never run.
    fn expires_after(&mut self, draft: &ScheduleDraft, jitter: Option<TimeDelta>) -> Option<TimeDelta> {
        let range = Duration::from_millis(1)..=self.limits.horizon;
        let after = self.seconds("/expires_after_seconds", draft.expires_after_seconds, range)?;
        let delay = draft.job.delay_seconds.and_then(|delay| Duration::try_from_secs_f64(delay).ok());
        let delay = TimeDelta::from_std(delay.unwrap_or_default()).unwrap_or_default();
        let starts = jitter.unwrap_or_default().checked_add(&delay).unwrap_or(TimeDelta::MAX);
        if after <= starts {
            let message = "must be more than jitter_seconds and the delay_seconds of the job together";
            self.note("/expires_after_seconds", "out_of_range", message);
        }
        Some(after)
    }

    fn texts(&mut self, draft: &ScheduleDraft) {
        let owner = draft.owner.as_deref().and_then(|text| short_text("/owner", text, MAX_OWNER_BYTES));
        self.errors.extend(owner);
        let note = draft.description.as_deref();
        let note = note.and_then(|text| short_text("/description", text, MAX_DESCRIPTION_BYTES));
        self.errors.extend(note);
    }

    /// The job, checked by the same rules as a submission, with the members that each tick adds to its metadata.
    fn template(&mut self, name: &ScheduleName, mut job: JobDraft) -> Option<Template> {
        for (pointer, given) in
            [("/job/run_at", job.run_at.is_some()), ("/job/expires_at", job.expires_at.is_some())]
        {
            if given {
                let message = "is not for schedules, because it would be the same for all ticks; see delay_seconds and expires_after_seconds";
                self.note(pointer, "conflict", message);
            }
        }
        if job.on_end.take().is_some() {
            let message =
                "is not for schedules, which are shown with everything they have: use a route for the kind";
            self.note("/job/on_end", "conflict", message);
        }
        (job.run_at, job.expires_at) = (None, None);
        let metadata = job.metadata.take();
        let mut errors = Vec::new();
        match Template::marked(metadata.as_ref(), name, DateTime::UNIX_EPOCH) {
            Ok(marked) => job.metadata = Some(marked),
            Err(error) => errors.push(error),
        }
        let draft = job.clone();
        let parsed = NewJob::parse(job, self.limits).map_err(|more| errors.extend(more)).ok();
        self.errors.extend(errors.into_iter().map(|error| error.below("/job")));
        Some(Template { job: parsed?, draft, metadata, expires_after_start: None, name: name.clone() })
    }
}

/// A number that differs between schedules and never changes (FNV-1a of the name).
fn seed(name: &ScheduleName) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
