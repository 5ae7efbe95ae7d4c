//! Exactly the causes that hold are named, in their order, in sentences.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(NOW + seconds, 0).unwrap()
}

/// Facts of a queued job that nothing holds.
fn free() -> Facts {
    Facts {
        now: at(0),
        queue: "mail".parse().unwrap(),
        kind: "send".parse().unwrap(),
        state: JobState::Queued,
        read_only: false,
        census_at: Some(at(-1)),
        queue_paused_at: None,
        kind_paused_at: None,
        workers: ServingWorkers { of_queue: 2, serving: 1, paused: 0, slots: 4, has_room: true, last: None },
        ahead: JobsAhead { jobs: 0, exact: true },
    }
}

fn waiting(run_at: i64, pending: u32, last: Option<Ended>) -> JobState {
    let last = last.map(|ended| LastAttempt { ended, error: Some("first line\nsecond line".into()) });
    JobState::Waiting { run_at: at(run_at), pending, attempt: 2, max_attempts: 10, last }
}

fn codes(facts: &Facts) -> Vec<String> {
    let code = |reason: &Reason| serde_json::to_value(reason).unwrap()["code"].as_str().unwrap().to_owned();
    explain(facts).reasons().iter().map(code).collect()
}

/// The causes in the order in which they bind.
const ORDER: [&str; 12] = [
    "database_read_only",
    "waits_for_jobs",
    "scheduled_until",
    "retry_waits",
    "snoozed",
    "census_old",
    "queue_paused",
    "kind_paused",
    "no_worker",
    "workers_paused",
    "slots_busy",
    "behind",
];

fn states() -> impl Strategy<Value = JobState> {
    let last = prop::option::of(prop::sample::select(vec![Ended::Retried, Ended::Snoozed, Ended::Lost]));
    prop_oneof![
        Just(JobState::Queued),
        (-2i64..3, 0u32..3, last).prop_map(|(run_at, pending, last)| waiting(run_at, pending, last)),
    ]
}

fn all_facts() -> impl Strategy<Value = Facts> {
    let workers = (0u64..3, 0u64..3, any::<bool>(), 0u64..2);
    let times = (prop::option::of(-90i64..1), prop::option::of(-9i64..1), prop::option::of(-9i64..1));
    (states(), any::<bool>(), times, workers, 0u64..3).prop_map(|(state, read_only, times, workers, jobs)| {
        Facts {
            state,
            read_only,
            census_at: times.0.map(at),
            queue_paused_at: times.1.map(at),
            kind_paused_at: times.2.map(at),
            workers: ServingWorkers {
                of_queue: workers.0 + workers.1,
                serving: workers.1,
                paused: workers.3,
                slots: workers.1 * 4,
                has_room: workers.1 > 0 && workers.2,
                last: None,
            },
            ahead: JobsAhead { jobs, exact: true },
            ..free()
        }
    })
}

proptest! {
    #[test]
    fn exactly_the_causes_that_hold_are_named_in_their_order(facts in all_facts()) {
        let (waits, later, pending, ended) = match &facts.state {
            JobState::Waiting { run_at, pending, last, .. } => {
                (true, *run_at > facts.now, *pending > 0, last.as_ref().map(|last| last.ended))
            }
            _ => (false, false, false, None),
        };
        let (retried, snoozed) = (ended == Some(Ended::Retried), ended == Some(Ended::Snoozed));
        let silent = facts.census_at.is_none_or(|seen| seen < at(-60));
        let holds = [
            facts.read_only,
            pending,
            later && !retried && !snoozed,
            later && retried,
            later && snoozed,
            waits && silent,
            facts.queue_paused_at.is_some(),
            facts.kind_paused_at.is_some(),
            facts.workers.serving == 0 && facts.workers.paused == 0,
            facts.workers.serving == 0 && facts.workers.paused > 0,
            facts.workers.serving > 0 && !facts.workers.has_room,
            facts.ahead.jobs > 0,
        ];
        let expected: Vec<&str> = ORDER.into_iter().zip(holds).filter(|(_, holds)| *holds).map(|(code, _)| code).collect();
        prop_assert_eq!(codes(&facts), expected.clone());
        prop_assert_eq!(explain(&facts) == Explanation::CanStart, expected.is_empty());
    }

    #[test]
    fn every_sentence_is_one_line_and_ends(facts in all_facts()) {
        let explanation = explain(&facts);
        let reasons = explanation.reasons().iter().flat_map(|reason| [reason.sentence(), reason.resolution()]);
        for sentence in reasons.chain([explanation.sentence()]) {
            prop_assert!(sentence.ends_with('.') && sentence.lines().count() == 1, "{}", sentence);
        }
    }
}

#[test]
fn sentences_have_the_facts() {
    let facts = Facts { state: waiting(60, 0, Some(Ended::Retried)), ..free() };
    assert_eq!(
        explain(&facts).sentence(),
        "Attempt 2 of 10 failed (first line); the next one begins at 2027-01-15T08:01:00.000Z."
    );
    let more = Facts { ahead: JobsAhead { jobs: 1000, exact: false }, ..free() };
    assert_eq!(explain(&more).sentence(), "More than 1000 jobs ahead of it in its queue can start.");
    let last = Some(("old".to_owned(), at(-100)));
    let none = Facts { workers: ServingWorkers { of_queue: 1, last, ..ServingWorkers::default() }, ..free() };
    assert_eq!(
        explain(&none).sentence(),
        "No live worker leases queue `mail` and kind `send`; 1 live worker of the queue without this kind; `old` last did, seen at 2027-01-15T07:58:20.000Z."
    );
}

fn tick() -> NextTick {
    NextTick {
        schedule: "nightly".parse().unwrap(),
        error: None,
        enabled: true,
        paused_at: None,
        fires_at: Some(at(0)),
        waiting: None,
        skips_during: None,
    }
}

#[test]
fn the_next_tick_of_a_schedule_has_reasons_of_its_own() {
    let previous = crate::JobId::from_ticks(7, 0);
    let waits = |previous| Some(WaitingTick { tick: at(-60), previous });
    let later = Some(at(60));
    for (tick, expected) in [
        (tick(), vec![]),
        (NextTick { fires_at: later, ..tick() }, vec!["scheduled_until"]),
        (NextTick { fires_at: later, waiting: waits(Some(previous)), ..tick() }, vec!["overlap"]),
        (NextTick { fires_at: later, waiting: waits(None), ..tick() }, vec![]),
        (
            NextTick { fires_at: later, skips_during: Some(previous), ..tick() },
            vec!["scheduled_until", "overlap_skips"],
        ),
        (NextTick { skips_during: Some(previous), ..tick() }, vec!["overlap_skips"]),
        (NextTick { fires_at: None, skips_during: Some(previous), ..tick() }, vec!["schedule_ended"]),
        (NextTick { fires_at: None, ..tick() }, vec!["schedule_ended"]),
        (NextTick { enabled: false, fires_at: None, ..tick() }, vec!["schedule_disabled"]),
        (
            NextTick { paused_at: Some(at(-5)), fires_at: None, waiting: waits(Some(previous)), ..tick() },
            vec!["schedule_paused", "overlap"],
        ),
        (NextTick { error: Some("no.".into()), fires_at: None, ..tick() }, vec!["schedule_failed"]),
    ] {
        let facts = Facts { state: JobState::Tick(tick.clone()), ..free() };
        assert_eq!(codes(&facts), expected, "{tick:?}");
        let held = Facts {
            read_only: true,
            census_at: None,
            queue_paused_at: Some(at(-1)),
            ahead: JobsAhead { jobs: 1, exact: true },
            ..facts
        };
        let all =
            [vec!["database_read_only"], expected, vec!["census_old", "queue_paused", "behind"]].concat();
        assert_eq!(codes(&held), all, "{tick:?}");
        for reason in explain(&held).reasons() {
            for sentence in [reason.sentence(), reason.resolution()] {
                assert!(
                    sentence.ends_with('.') && !sentence.ends_with("..") && sentence.lines().count() == 1,
                    "{sentence}"
                );
            }
        }
    }
    let state = JobState::Tick(NextTick { waiting: waits(Some(previous)), ..tick() });
    let explanation = explain(&Facts { state, ..free() });
    let sentence = format!(
        "The tick 2027-01-15T07:59:00.000Z of schedule `nightly` waits for the end of job {previous}, the one of the tick before, because its `overlap` is `queue_one`."
    );
    assert_eq!(explanation.sentence(), sentence);
    let state = JobState::Tick(NextTick { skips_during: Some(previous), ..tick() });
    let sentence = format!(
        "The ticks of schedule `nightly` have no job until job {previous}, the one of an earlier tick, has ended, because its `overlap` is `skip`."
    );
    assert_eq!(explain(&Facts { state, ..free() }).sentence(), sentence);
}

#[test]
fn a_job_that_runs_or_has_ended_has_no_reasons() {
    let run = Run {
        attempt: 1,
        worker_id: None,
        worker_name: Some("w".into()),
        since: Some(at(-5)),
        lease_expires_at: Some(at(5)),
    };
    let running = explain(&Facts { state: JobState::Running(run), read_only: true, ..free() });
    assert_eq!((running.verdict(), running.reasons().len()), ("running", 0));
    assert_eq!(
        running.sentence(),
        "Attempt 1 has been running on worker `w` since 2027-01-15T07:59:55.000Z; its lease ends at 2027-01-15T08:00:05.000Z unless it is renewed."
    );
    let ended = explain(&Facts { state: JobState::Ended { status: Status::Failed, at: at(-1) }, ..free() });
    assert_eq!(
        (ended.verdict(), &*ended.sentence()),
        ("ended", "The job ended at 2027-01-15T07:59:59.000Z; its status is failed.")
    );
}
