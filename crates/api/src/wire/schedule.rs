//! Schedules as they are set and read.

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Dst, Missed, Overlap, ScheduleStatus, Solar};
use jobqueue_core::{JobId, Json, ScheduleDraft};
use jobqueue_store::{ScheduleRecord, TickRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::job::EnqueueBody;
use super::patch::{MergePatch, Patched};
use super::tick::TickView;
use crate::extract::Wire;

/// A schedule: when jobs are enqueued, and which. Exactly one of `cron`, `interval_seconds`, `solar` and `at` is required.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// Cron expression with 5 fields, or 6 with seconds first: numbers, names, ranges, steps, `L`, `W`, `#`; or `@daily` and the like.
    #[schema(min_length = 1, max_length = 255, example = "0 2 * * *")]
    cron: Option<String>,
    /// Time zone of `cron` by its IANA name; default `UTC`.
    #[schema(min_length = 1, max_length = 64, example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// What happens to local times of `cron` that do not exist or exist twice when clocks are set; default `shift`.
    #[schema(value_type = Option<DstWord>)]
    dst: Option<Dst>,
    /// Seconds between two ticks, 1 to 316224000 (ten years), exact to the millisecond.
    #[schema(minimum = 1, maximum = 316_224_000)]
    interval_seconds: Option<f64>,
    /// One of the ticks of `interval_seconds`, as an RFC 3339 timestamp. Default 1970-01-01T00:00:00Z, so every 3600 is on the hour.
    #[schema(format = DateTime)]
    anchor: Option<String>,
    /// Event of the sun at a place. Its time is exact to about two minutes.
    #[schema(value_type = Option<SolarWord>)]
    solar: Option<Solar>,
    /// Degrees north of the place of `solar`, -90 to 90.
    #[schema(minimum = -90, maximum = 90)]
    latitude: Option<f64>,
    /// Degrees east of the place of `solar`, -180 to 180.
    #[schema(minimum = -180, maximum = 180)]
    longitude: Option<f64>,
    /// The only tick, as an RFC 3339 timestamp.
    #[schema(format = DateTime)]
    at: Option<String>,
    /// There is no tick before it. RFC 3339.
    #[schema(format = DateTime)]
    start_at: Option<String>,
    /// There is no tick after it. RFC 3339.
    #[schema(format = DateTime)]
    end_at: Option<String>,
    /// `false`: there are no ticks. Default `true`.
    enabled: Option<bool>,
    /// The schedule ends after it has enqueued so many jobs. Default: never.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    max_runs: Option<i64>,
    /// Each tick fires up to so many seconds later, by a delay of its own that never changes; up to a day, default 0.
    #[schema(minimum = 0, maximum = 86_400)]
    jitter_seconds: Option<f64>,
    /// Seconds after the tick after which its job is cancelled instead of started. Default: never.
    #[schema(minimum = 0.001, maximum = 3_153_600_000_u64)]
    expires_after_seconds: Option<f64>,
    /// What happens to ticks that could not fire within a minute, because no reaper ran; default `one`.
    #[schema(value_type = Option<MissedWord>)]
    missed: Option<Missed>,
    /// How many missed ticks `all` fires at most; default 100.
    #[schema(minimum = 1, maximum = 1000)]
    missed_limit: Option<i64>,
    /// What happens at a tick while the job of the tick before has not ended; default `allow`.
    #[schema(value_type = Option<OverlapWord>)]
    overlap: Option<Overlap>,
    /// The file or program that manages the schedule, to filter by.
    #[schema(min_length = 1, max_length = 255)]
    owner: Option<String>,
    /// A note for people.
    #[schema(min_length = 1, max_length = 1024)]
    description: Option<String>,
    /// The job of each tick, as it is submitted, without `run_at` and `expires_at`. Its metadata gets the members `schedule` and `tick`.
    #[serde(default)]
    job: EnqueueBody,
}

impl Wire for ScheduleBody {}

impl ScheduleBody {
    /// The draft, for the core to check.
    pub(crate) fn into_draft(self) -> ScheduleDraft {
        ScheduleDraft {
            cron: self.cron,
            time_zone: self.time_zone,
            dst: self.dst,
            interval_seconds: self.interval_seconds,
            anchor: self.anchor,
            solar: self.solar,
            latitude: self.latitude,
            longitude: self.longitude,
            at: self.at,
            start_at: self.start_at,
            end_at: self.end_at,
            enabled: self.enabled,
            max_runs: self.max_runs,
            jitter_seconds: self.jitter_seconds,
            expires_after_seconds: self.expires_after_seconds,
            missed: self.missed,
            missed_limit: self.missed_limit,
            overlap: self.overlap,
            owner: self.owner,
            description: self.description,
            job: self.job.into_draft(None),
        }
    }
}

/// A merge patch of a schedule.
pub(crate) type SchedulePatch = MergePatch<ScheduleBody>;

impl Patched for ScheduleBody {
    const FIELDS: &'static [&'static str] = &ScheduleDraft::FIELDS;
}

/// What happens to a tick whose local time does not exist or exists twice.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Dst)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum DstWord {
    /// A time that does not exist has no tick; of a time that exists twice, the first is taken.
    Skip,
    /// A time that does not exist is moved by the length of the gap; of a time that exists twice, the first is taken.
    Shift,
    /// As `shift`, but a time that exists twice has two ticks.
    Both,
}

/// An event of the sun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Solar)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum SolarWord {
    /// 18 degrees below the horizon, in the morning.
    DawnAstronomical,
    /// 12 degrees below the horizon, in the morning.
    DawnNautical,
    /// 6 degrees below the horizon, in the morning.
    DawnCivil,
    /// The upper rim of the sun appears.
    Sunrise,
    /// The middle between sunrise and sunset.
    SolarNoon,
    /// The upper rim of the sun disappears.
    Sunset,
    /// 6 degrees below the horizon, in the evening.
    DuskCivil,
    /// 12 degrees below the horizon, in the evening.
    DuskNautical,
    /// 18 degrees below the horizon, in the evening.
    DuskAstronomical,
}

/// What happens to ticks that could not fire in time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Missed)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum MissedWord {
    /// None of them fires.
    Skip,
    /// The newest fires.
    One,
    /// The newest fire, up to `missed_limit`.
    All,
}

/// What happens at a tick while the job of the tick before has not ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Overlap)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum OverlapWord {
    /// The job is enqueued.
    Allow,
    /// The tick has no job.
    Skip,
    /// The job is enqueued when the other one has ended. Only one tick waits; further ticks have no job.
    QueueOne,
    /// The other job is cancelled, and the new one is enqueued.
    CancelPrevious,
}

/// What a schedule is doing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ScheduleStatus)]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) enum ScheduleStatusWord {
    /// It has a next tick, or will be planned within a second.
    Active,
    /// It was paused.
    Paused,
    /// Its `enabled` is false.
    Disabled,
    /// It is invalid: `error` says why.
    Failed,
    /// It has no further tick.
    Ended,
}

/// A schedule, and how far it has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleView {
    /// Name of the schedule.
    name: String,
    /// Counts what users change, from 1. The `ETag` has it too.
    version: i64,
    /// What the schedule is doing.
    #[schema(value_type = ScheduleStatusWord)]
    status: ScheduleStatus,
    /// Its times in English words; `null` if it is invalid.
    in_words: Option<String>,
    /// What manages it, from the spec.
    owner: Option<String>,
    /// Everything that was set, as a PUT takes it. Absent fields have their defaults.
    #[schema(value_type = ScheduleBody)]
    spec: Json,
    /// The next tick; `null` if there is none, or if it is not planned yet.
    next_tick_at: Option<DateTime<Utc>>,
    /// When the next tick fires: at its time, plus its jitter.
    next_fires_at: Option<DateTime<Utc>>,
    /// The tick whose job waits for the end of `last_job_id`.
    waiting_tick_at: Option<DateTime<Utc>>,
    /// When it was paused.
    paused_at: Option<DateTime<Utc>>,
    /// When it was found to be invalid.
    failed_at: Option<DateTime<Utc>>,
    /// Why it is invalid. It has no ticks until it is changed.
    error: Option<String>,
    /// How many jobs its ticks have enqueued.
    runs: u64,
    /// The job of the last tick that had one.
    last_job_id: Option<Uuid>,
    /// The newest ticks, newest first. Only in the answer for a single schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_ticks: Option<Vec<TickView>>,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    changed_at: DateTime<Utc>,
}

impl ScheduleView {
    /// With the newest ticks.
    pub(crate) fn with_ticks(mut self, ticks: Vec<TickRecord>) -> Self {
        self.last_ticks = Some(ticks.into_iter().map(TickView::from).collect());
        self
    }
}

impl From<ScheduleRecord> for ScheduleView {
    fn from(record: ScheduleRecord) -> Self {
        Self {
            in_words: record.parsed().ok().map(|schedule| schedule.in_words()),
            name: record.name.into(),
            version: record.version,
            status: record.status,
            owner: record.owner,
            spec: record.spec,
            next_tick_at: record.next,
            next_fires_at: record.fires_at,
            waiting_tick_at: record.waiting,
            paused_at: record.paused_at,
            failed_at: record.failed_at,
            error: record.error,
            runs: record.runs,
            last_job_id: record.last_job.map(JobId::as_uuid),
            last_ticks: None,
            created_at: record.created_at,
            changed_at: record.changed_at,
        }
    }
}

/// A page of schedules, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SchedulesView {
    /// The schedules, by name.
    pub(crate) schedules: Vec<ScheduleView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Result of the deletion of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnscheduledView {
    /// Whether this request deleted the schedule. `false`: there was none of this name.
    pub(crate) deleted: bool,
}
