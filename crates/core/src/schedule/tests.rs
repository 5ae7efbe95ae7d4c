//! Tests of timings, of drafts, and of what a pass decides.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::job::JobDraft;
use crate::json::Json;
use crate::limits::Limits;
use crate::name::ScheduleName;

fn at(text: &str) -> DateTime<Utc> {
    crate::time::timestamp(text).unwrap()
}

#[test]
fn an_interval_keeps_to_its_anchor() {
    let every = Timing::Every { every: TimeDelta::seconds(90), anchor: at("2026-01-01T00:00:30Z") };
    let next = |after| every.next_after(at(after)).unwrap();
    assert_eq!(next("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:30Z"));
    assert_eq!(next("2026-01-01T00:00:30Z"), at("2026-01-01T00:02:00Z"), "a tick is not its own successor");
    assert_eq!(next("2026-01-01T00:01:59.999Z"), at("2026-01-01T00:02:00Z"));
    assert_eq!(next("2025-12-31T23:58:59Z"), at("2025-12-31T23:59:00Z"), "also before the anchor");
}

#[test]
fn a_single_time_comes_once() {
    let once = Timing::Once(at("2026-01-01T00:00:00Z"));
    assert_eq!(once.next_after(at("2025-01-01T00:00:00Z")), Some(at("2026-01-01T00:00:00Z")));
    assert_eq!(once.next_after(at("2026-01-01T00:00:00Z")), None);
}

proptest! {
    #[test]
    fn ticks_of_an_interval_are_multiples_of_it(step in 1_i64..10_000_000, offset in -1_000_000_000_000_i64..1_000_000_000_000) {
        let anchor = at("2026-01-01T00:00:00Z");
        let (every, after) = (TimeDelta::milliseconds(step), anchor + TimeDelta::milliseconds(offset));
        let next = next_multiple(every, anchor, after).unwrap();
        prop_assert!(next > after && next - after <= every);
        prop_assert_eq!((next - anchor).num_milliseconds().rem_euclid(step), 0);
    }
}

fn name() -> ScheduleName {
    "nightly".parse().unwrap()
}

/// Every minute, at the full minute.
fn draft() -> ScheduleDraft {
    let job = JobDraft { kind: "report".into(), ..JobDraft::default() };
    ScheduleDraft { interval_seconds: Some(60.0), job, ..ScheduleDraft::default() }
}

fn parse(draft: ScheduleDraft) -> Schedule {
    Schedule::parse(&name(), draft, &Limits::default()).unwrap()
}

fn errors(draft: ScheduleDraft) -> Vec<(String, &'static str)> {
    let errors = Schedule::parse(&name(), draft, &Limits::default()).unwrap_err();
    errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

#[test]
fn all_errors_come_at_once() {
    let job = JobDraft {
        kind: "a b".into(),
        run_at: Some("2027-01-01T00:00:00Z".into()),
        expires_at: Some("2027-01-01T00:00:00Z".into()),
        metadata: Some(Json::parse(r#"{"tick":1}"#.into()).unwrap()),
        ..JobDraft::default()
    };
    let wrong = ScheduleDraft {
        cron: Some("61 * * * *".into()),
        time_zone: Some("Berlin".into()),
        anchor: Some("2027-01-01T00:00:00Z".into()),
        start_at: Some("now".into()),
        end_at: Some("2027-01-01".into()),
        max_runs: Some(0),
        jitter_seconds: Some(-1.0),
        expires_after_seconds: Some(0.0),
        missed_limit: Some(1001),
        owner: Some(String::new()),
        description: Some("x".repeat(1025)),
        job,
        ..ScheduleDraft::default()
    };
    let expected = [
        ("/anchor", "conflict"),
        ("/cron", "invalid"),
        ("/time_zone", "invalid"),
        ("/start_at", "invalid"),
        ("/end_at", "invalid"),
        ("/max_runs", "out_of_range"),
        ("/jitter_seconds", "out_of_range"),
        ("/expires_after_seconds", "out_of_range"),
        ("/missed_limit", "out_of_range"),
        ("/missed_limit", "conflict"),
        ("/owner", "required"),
        ("/description", "too_long"),
        ("/job/run_at", "conflict"),
        ("/job/expires_at", "conflict"),
        ("/job/metadata", "conflict"),
        ("/job/kind", "invalid"),
    ];
    let expected: Vec<_> = expected.map(|(pointer, code)| (pointer.to_owned(), code)).into();
    assert_eq!(errors(wrong), expected);
}

#[test]
fn a_schedule_has_exactly_one_kind_of_times() {
    let none = ScheduleDraft { interval_seconds: None, ..draft() };
    assert_eq!(errors(none.clone()), [("/cron".to_owned(), "required")]);
    let cron = Some("* * * * *".to_owned());
    let at = Some("2027-01-01T00:00:00Z".to_owned());
    for (wrong, pointer) in [
        (ScheduleDraft { cron: cron.clone(), ..draft() }, "/interval_seconds"),
        (ScheduleDraft { at: at.clone(), ..draft() }, "/at"),
        (ScheduleDraft { cron: cron.clone(), at: at.clone(), ..none.clone() }, "/at"),
        (ScheduleDraft { dst: Some(Dst::Skip), ..draft() }, "/dst"),
        (ScheduleDraft { time_zone: Some("UTC".into()), ..draft() }, "/time_zone"),
        (ScheduleDraft { cron: cron.clone(), anchor: at.clone(), ..none.clone() }, "/anchor"),
    ] {
        assert_eq!(errors(wrong), [(pointer.to_owned(), "conflict")]);
    }
    let all = ScheduleDraft {
        cron: Some("61 * * * *".into()),
        at: Some("now".into()),
        interval_seconds: Some(0.0),
        max_runs: Some(0),
        ..none.clone()
    };
    let expected = [
        ("/interval_seconds", "conflict"),
        ("/at", "conflict"),
        ("/cron", "invalid"),
        ("/interval_seconds", "out_of_range"),
        ("/at", "invalid"),
        ("/max_runs", "out_of_range"),
    ];
    assert_eq!(errors(all), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    let sun = |latitude, longitude| ScheduleDraft {
        solar: Some(Solar::Sunset),
        latitude,
        longitude,
        ..none.clone()
    };
    assert_eq!(
        errors(sun(None, Some(181.0))),
        [("/latitude".to_owned(), "required"), ("/longitude".to_owned(), "out_of_range")]
    );
    assert_eq!(
        errors(ScheduleDraft { latitude: Some(1.0), ..draft() }),
        [("/latitude".to_owned(), "conflict")]
    );
    let never = ScheduleDraft { solar: Some(Solar::DawnAstronomical), ..sun(Some(90.0), Some(0.0)) };
    assert_eq!(errors(never), [("/solar".to_owned(), "invalid")]);
    let sunset = parse(sun(Some(52.5), Some(13.4)));
    assert_eq!(sunset.in_words(), "Sunset at 52.5, 13.4");
    assert!(sunset.first_after(minute(0)).is_some());
    for good in [ScheduleDraft { cron, ..none.clone() }, ScheduleDraft { at, ..none }, draft()] {
        parse(good);
    }
}

#[test]
fn bounds_that_depend_on_each_other_are_checked() {
    let late = ScheduleDraft {
        start_at: Some("2027-01-02T00:00:00Z".into()),
        end_at: Some("2027-01-01T00:00:00Z".into()),
        ..draft()
    };
    assert_eq!(errors(late), [("/end_at".to_owned(), "out_of_range")]);
    let job = JobDraft { delay_seconds: Some(20.0), ..draft().job };
    let expiring = |seconds| ScheduleDraft {
        jitter_seconds: Some(10.0),
        expires_after_seconds: Some(seconds),
        job: job.clone(),
        ..draft()
    };
    assert_eq!(errors(expiring(30.0)), [("/expires_after_seconds".to_owned(), "out_of_range")]);
    parse(expiring(30.001));
    for wrong in [0.999, f64::NAN, f64::INFINITY, -60.0, 1e12] {
        let wrong = ScheduleDraft { interval_seconds: Some(wrong), ..draft() };
        assert_eq!(errors(wrong), [("/interval_seconds".to_owned(), "out_of_range")]);
    }
}

#[test]
fn a_stored_draft_is_read_as_it_was_written() {
    let text = concat!(
        r#"{"cron":"0 2 * * *","time_zone":"Europe/Berlin","dst":"both","missed":"all","missed_limit":3,"overlap":"queue_one","#,
        r#""job":{"kind":"k","payload":{ "n" : 18446744073709551616 },"unique":{"key":"u","scope":"kind","on_conflict":"return"},"tags":["t"]}}"#
    );
    let draft: ScheduleDraft = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&draft).unwrap(), text);
    assert_eq!(parse(draft.clone()).overlap, Overlap::QueueOne);
    let null: ScheduleDraft = serde_json::from_str(r#"{"job":{"payload":null}}"#).unwrap();
    assert_eq!(null.job.payload.unwrap().as_str(), "null");
    assert!(serde_json::from_str::<ScheduleDraft>(r#"{"corn":"* * * * *"}"#).is_err());
    let value = serde_json::to_value(ScheduleDraft::default()).unwrap();
    assert_eq!(value, serde_json::json!({ "job": { "kind": "" } }), "an absent field is not stored");
}

#[test]
fn the_job_carries_its_tick_and_expires_relative_to_it() {
    let metadata = |text: &str| Some(Json::parse(text.into()).unwrap());
    let job = |text: &str| {
        let job = JobDraft { metadata: metadata(text), ..draft().job };
        let draft = ScheduleDraft { expires_after_seconds: Some(90.0), job, ..draft() };
        parse(draft).job(at("2026-01-01T00:00:00.5Z"), at("2026-01-01T00:00:01Z"))
    };
    assert_eq!(job("{}").expires_at, Some(at("2026-01-01T00:01:30.5Z")));
    let mark = r#"{"schedule":"nightly","tick":"2026-01-01T00:00:00.500Z""#;
    for (given, rest) in [("{}", "}"), ("{ }", " }"), (r#"{"a": 1.0 }"#, r#","a": 1.0 }"#)] {
        assert_eq!(job(given).metadata.unwrap().as_str(), format!("{mark}{rest}"));
    }
    let plain = parse(draft()).job(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
    assert_eq!(plain.metadata.unwrap().as_str(), r#"{"schedule":"nightly","tick":"2026-01-01T00:00:00Z"}"#);
    let list = JobDraft { metadata: metadata("[]"), ..draft().job };
    assert_eq!(errors(ScheduleDraft { job: list, ..draft() }), [("/job/metadata".to_owned(), "invalid")]);
}

#[test]
fn a_new_schedule_has_missed_no_tick() {
    let first = |draft, now| parse(draft).begin(0, at(now));
    assert_eq!(first(draft(), "2026-01-01T00:00:00Z"), Some(at("2026-01-01T00:01:00Z")));
    let from = |start: &str| ScheduleDraft { start_at: Some(start.into()), ..draft() };
    assert_eq!(first(from("2026-01-01T00:05:00Z"), "2026-01-01T00:00:00Z"), Some(at("2026-01-01T00:05:00Z")));
    assert_eq!(first(from("2020-01-01T00:00:00Z"), "2026-01-01T00:00:30Z"), Some(at("2026-01-01T00:01:00Z")));
    let past = ScheduleDraft { interval_seconds: None, at: Some("2026-01-01T00:00:00Z".into()), ..draft() };
    assert_eq!(first(past, "2026-01-01T00:00:00Z"), None);
    let until = ScheduleDraft { end_at: Some("2026-01-01T00:00:59Z".into()), ..draft() };
    assert_eq!(first(until, "2026-01-01T00:00:00Z"), None);
    let used = ScheduleDraft { max_runs: Some(2), ..draft() };
    assert_eq!(parse(used).begin(2, at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn words_and_local_times_are_for_people() {
    let every = |seconds| parse(ScheduleDraft { interval_seconds: Some(seconds), ..draft() }).in_words();
    assert_eq!(
        [every(1.0), every(90.0), every(7200.0), every(1.5), every(86_400.0)],
        ["Every second", "Every 90 seconds", "Every 2 hours", "Every 1500 milliseconds", "Every day"]
    );
    let cron = ScheduleDraft {
        interval_seconds: None,
        cron: Some("30 2 * * *".into()),
        time_zone: Some("europe/berlin".into()),
        ..draft()
    };
    let cron = parse(cron);
    assert!(cron.in_words().ends_with("(Europe/Berlin)"), "{}", cron.in_words());
    assert_eq!(cron.local(at("2026-07-01T00:30:00Z")), "2026-07-01T02:30:00+02:00");
}

fn minute(n: u32) -> DateTime<Utc> {
    at("2026-01-01T00:00:00Z") + TimeDelta::minutes(n.into())
}

/// The minutes and fates of the ticks of a pass.
fn fates(pass: &Pass) -> Vec<(i64, Fate)> {
    pass.ticks.iter().map(|(tick, fate)| ((*tick - minute(0)).num_minutes(), *fate)).collect()
}

fn progress(next: u32, is_running: bool) -> Progress {
    Progress { next: Some(minute(next)), is_running, ..Progress::default() }
}

#[test]
fn each_overlap_rule_does_what_it_says() {
    let of = |overlap| parse(ScheduleDraft { overlap: Some(overlap), ..draft() });
    for overlap in [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::CancelPrevious] {
        let free = of(overlap).pass(progress(1, false), minute(1));
        assert_eq!((fates(&free), free.next), (vec![(1, Fate::Fired)], Some(minute(2))), "{overlap:?}");
        assert!(free.waiting.is_none() && !free.cancels_previous);
    }
    let busy = |overlap| of(overlap).pass(progress(1, true), minute(1));
    assert_eq!(fates(&busy(Overlap::Allow)), [(1, Fate::Fired)]);
    assert_eq!(fates(&busy(Overlap::Skip)), [(1, Fate::Overlap)]);
    let queued = busy(Overlap::QueueOne);
    assert_eq!((fates(&queued), queued.waiting), (vec![(1, Fate::Waiting)], Some(minute(1))));
    let cancelling = busy(Overlap::CancelPrevious);
    assert_eq!((fates(&cancelling), cancelling.cancels_previous), (vec![(1, Fate::Fired)], true));
}

#[test]
fn one_tick_waits_and_fires_when_the_job_has_ended() {
    let schedule = parse(ScheduleDraft { overlap: Some(Overlap::QueueOne), ..draft() });
    let waiting = Progress { waiting: Some(minute(1)), ..progress(2, true) };
    let second = schedule.pass(waiting, minute(2));
    assert_eq!((fates(&second), second.waiting), (vec![(2, Fate::Overlap)], Some(minute(1))));
    let ended = schedule.pass(Progress { is_running: false, ..waiting }, minute(2));
    assert_eq!(fates(&ended), [(1, Fate::Fired), (2, Fate::Waiting)]);
    assert_eq!((ended.waiting, ended.next), (Some(minute(2)), Some(minute(3))));
    let last = schedule.pass(Progress { next: None, is_running: false, ..waiting }, minute(2));
    assert_eq!((fates(&last), last.waiting, last.next), (vec![(1, Fate::Fired)], None, None));
}

#[test]
fn of_several_ticks_the_last_replaces_the_others() {
    let all = ScheduleDraft { missed: Some(Missed::All), ..draft() };
    let cancel =
        parse(ScheduleDraft { overlap: Some(Overlap::CancelPrevious), max_runs: Some(1), ..all.clone() });
    let pass = cancel.pass(progress(1, false), minute(1));
    assert_eq!((fates(&pass), pass.next), (vec![(1, Fate::Fired)], None));
    let cancel = parse(ScheduleDraft { overlap: Some(Overlap::CancelPrevious), ..all.clone() });
    let pass = cancel.pass(progress(1, false), minute(3));
    assert_eq!(fates(&pass), [(1, Fate::Overlap), (2, Fate::Overlap), (3, Fate::Fired)]);
    assert!(!pass.cancels_previous);
    let skip = parse(ScheduleDraft { overlap: Some(Overlap::Skip), ..all });
    let pass = skip.pass(progress(1, false), minute(3));
    assert_eq!(fates(&pass), [(1, Fate::Fired), (2, Fate::Overlap), (3, Fate::Overlap)]);
}

#[test]
fn it_ends_after_its_last_run_and_expired_ticks_have_no_job() {
    let limited = parse(ScheduleDraft { max_runs: Some(2), missed: Some(Missed::All), ..draft() });
    let pass = limited.pass(progress(1, false), minute(4));
    assert_eq!((fates(&pass), pass.next), (vec![(1, Fate::Fired), (2, Fate::Fired)], None));
    let one_left = Progress { runs: 1, ..progress(1, false) };
    assert_eq!(fates(&limited.pass(one_left, minute(4))), [(1, Fate::Fired)]);
    let expiring = ScheduleDraft { expires_after_seconds: Some(90.0), missed: Some(Missed::All), ..draft() };
    let pass = parse(expiring).pass(progress(1, false), minute(4));
    assert_eq!(fates(&pass), [(1, Fate::Expired), (2, Fate::Expired), (3, Fate::Fired), (4, Fate::Fired)]);
    let waits = ScheduleDraft { overlap: Some(Overlap::QueueOne), max_runs: Some(1), ..draft() };
    let pass = parse(waits).pass(progress(1, true), minute(1));
    assert_eq!(
        (fates(&pass), pass.next),
        (vec![(1, Fate::Waiting)], None),
        "the tick that waits is its last"
    );
}

#[test]
fn the_status_follows_from_what_is_stored() {
    use ScheduleStatus::{Active, Disabled, Ended, Failed, Paused};
    for (stored, status) in [
        ((true, false, true, true), Failed),
        ((false, false, true, true), Disabled),
        ((false, true, true, true), Paused),
        ((false, true, false, true), Active),
        ((false, true, false, false), Ended),
    ] {
        assert_eq!(ScheduleStatus::of(stored.0, stored.1, stored.2, stored.3), status);
    }
    for fate in Fate::ALL {
        assert_eq!(Fate::of(fate.word()), Some(fate));
    }
}

#[test]
fn schedules_with_jitter_fire_at_different_times() {
    let fires = |name: &str| {
        let draft = ScheduleDraft { jitter_seconds: Some(30.0), ..draft() };
        let schedule = Schedule::parse(&name.parse().unwrap(), draft, &Limits::default()).unwrap();
        schedule.plan.fires_at(minute(1))
    };
    let parts: std::collections::BTreeSet<_> = (0..50).map(|n| fires(&format!("s{n}"))).collect();
    assert!(parts.len() > 45, "{}", parts.len());
}

proptest! {
    /// With any rules, and however often it is asked: each tick is decided once, in order, at most one waits, and no more jobs are
    /// enqueued than allowed.
    #[test]
    fn passes_decide_each_tick_once(
        steps in prop::collection::vec((0_u32..6, any::<bool>()), 1..40),
        overlap in prop::sample::select(vec![Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::CancelPrevious]),
        missed in prop::sample::select(vec![Missed::Skip, Missed::One, Missed::All]),
        max_runs in prop::option::of(1_i64..8),
    ) {
        let schedule = parse(ScheduleDraft { overlap: Some(overlap), missed: Some(missed), max_runs, ..draft() });
        let (mut state, mut now, mut decided) = (progress(1, false), minute(0), Vec::new());
        for (step, ended) in steps {
            now += TimeDelta::minutes(step.into());
            state.is_running &= !ended;
            let pass = schedule.pass(state, now);
            let fired = pass.ticks.iter().filter(|(_, fate)| *fate == Fate::Fired).count();
            if matches!(overlap, Overlap::Skip | Overlap::QueueOne) {
                prop_assert!(fired <= usize::from(!state.is_running));
            }
            for (tick, _) in &pass.ticks {
                if state.waiting == Some(*tick) { continue; }
                prop_assert!(decided.last().is_none_or(|last| last < tick));
                decided.push(*tick);
            }
            state = Progress {
                next: pass.next,
                waiting: pass.waiting,
                is_running: state.is_running || fired > 0,
                runs: state.runs + u64::try_from(fired).unwrap(),
            };
            prop_assert!(max_runs.is_none_or(|most| state.runs <= most.cast_unsigned()));
        }
        let expected: Vec<_> = (1..).map(minute).take(decided.len()).collect();
        prop_assert_eq!(decided, expected);
    }
}
