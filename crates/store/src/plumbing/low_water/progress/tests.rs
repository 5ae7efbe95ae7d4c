//! Schedule and marks together, without a database.

use std::time::Duration;

use super::super::budget::{SHARE, SHARE_IF_FOUND, SLOW_SCAN};
use super::super::schedule::{FEW_JOBS, LATELY, PRESUMED_DEAD};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn id(millis: u64) -> JobId {
    JobId::from_ticks((1_790_000_000_000 + millis) << 12, 7)
}

/// Records a scan that began `ago` before `now` and found these jobs, without the database's time.
fn scan(
    progress: &mut ScanProgress,
    (start, now, ago): (ScanStart, Instant, Duration),
    took: Duration,
    leased: &[(i32, JobId)],
    full: bool,
) {
    let began = now.checked_sub(ago).unwrap();
    let result = ScanResult { start, began, began_at: None, took, full };
    progress.record(&result, now, leased.iter().copied());
}

fn busy(now: Instant, took: Duration) -> ScanProgress {
    let mut progress = ScanProgress::new(now);
    let jobs: Vec<_> = (0..u64::try_from(FEW_JOBS).unwrap()).map(|n| (1, id(n))).collect();
    scan(&mut progress, (ScanStart::Front, now, took), took, &jobs, false);
    progress
}

#[test]
fn the_next_bodies_are_expected_around_those_of_the_last_lease() {
    let now = Instant::now();
    let mut progress = ScanProgress::new(now);
    assert_eq!(progress.likely_ids(), None);
    let hour = 3_600_000;
    for leased in [[(1, id(200 * hour)), (2, id(190 * hour))], [(1, id(100 * hour)), (2, id(103 * hour))]] {
        scan(&mut progress, (ScanStart::Front, now, MS), MS, &leased, false);
        scan(&mut progress, (ScanStart::Front, now, MS), MS, &[], false);
    }
    let (oldest, youngest) = progress.likely_ids().unwrap();
    for (hours, inside) in [(87, false), (89, true), (103, true), (105, false), (200, false)] {
        assert_eq!((oldest..=youngest).contains(&id(hours * hour).as_uuid()), inside, "{hours}");
    }
}

#[test]
fn the_next_scan_corrects_the_marks_after_a_clock_was_set_back() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    let at = |hours: u64| id(hours * 3_600_000);
    for hours in [48, 1] {
        let seen = at(hours).created_at();
        let result =
            ScanResult { start: ScanStart::Front, began: now, began_at: seen, took: MS, full: false };
        progress.record(&result, now, [(1, at(hours))].into_iter());
    }
    assert!(progress.ranges(ScanStart::Near)[0].after < at(1).as_uuid());
}

#[test]
fn a_process_with_few_jobs_always_scans_from_the_front() {
    let now = Instant::now();
    let mut progress = ScanProgress::new(now);
    assert_eq!([progress.next(now), progress.next(now)], [ScanStart::Front; 2]);
    scan(&mut progress, (ScanStart::Front, now, 5 * MS), 5 * MS, &[(1, id(0))], false);
    assert_eq!(progress.schedule.due(now), ScanStart::Front);
    scan(&mut progress, (ScanStart::Front, now, SLOW_SCAN), SLOW_SCAN, &[], false);
    assert_ne!(progress.schedule.due(now), ScanStart::Front, "unless that is slow");
}

#[test]
fn a_busy_process_starts_before_its_mark_and_scans_back_for_a_small_share_of_the_time() {
    let now = Instant::now();
    let mut progress = busy(now, 10 * MS);
    assert_eq!(progress.schedule.due(now), ScanStart::Far, "its duration is not known yet");
    scan(&mut progress, (ScanStart::Far, now, MS), MS, &[], false);
    assert_eq!(progress.schedule.due(now), ScanStart::Near);
    assert_eq!(progress.schedule.due(now + SHARE * MS), ScanStart::Far);
    assert_eq!(progress.schedule.due(now + SHARE * 10 * MS), ScanStart::Front);
    let ranges = progress.ranges(ScanStart::Near);
    assert_eq!(ranges.len(), 1);
    let (lane, start) = (ranges[0].lane, ranges[0].after);
    let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
    assert!(lane == 1 && start < id(mark - 24).as_uuid() && start > id(mark - 26).as_uuid(), "{start}");
    assert_eq!(progress.ranges(ScanStart::Front), []);
}

#[test]
fn a_deep_queue_is_not_scanned_twice_and_later_commits_are_found_in_any_queue() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    let mut after = |at: u64, seen: u64| {
        let seen = id(seen).created_at();
        let result =
            ScanResult { start: ScanStart::Near, began: now + SECOND, began_at: seen, took: MS, full: true };
        progress.record(&result, now + SECOND, [(1, id(at))].into_iter());
        progress.ranges(ScanStart::Near)[0].after
    };
    assert_eq!(
        after(20_000, 50_000),
        id(20_000).as_uuid(),
        "30 s of jobs wait: start where the last one stopped"
    );
    let shallow = after(49_990, 50_000);
    assert!(shallow < id(49_976).as_uuid() && shallow > id(49_973).as_uuid(), "25 ms before the scan");
    assert_eq!(after(30_000, 60_000), id(30_000).as_uuid());
}

#[test]
fn a_full_scan_behind_the_mark_is_continued_until_no_jobs_are_left_there() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    let young = progress.marks.lanes[&1].at;
    scan(
        &mut progress,
        (ScanStart::Front, now + SECOND, MS),
        MS,
        &[(2, id(3)), (1, id(4)), (1, id(5))],
        true,
    );
    assert_eq!((progress.marks.lanes[&1].at, progress.marks.lanes[&2].at), (id(5), id(3)));
    scan(&mut progress, (ScanStart::Near, now + SECOND, 2 * MS), 2 * MS, &[(1, young)], true);
    assert_eq!(progress.marks.lanes[&1].at, id(5), "that scan began before the mark moved back");
    let quick = (ScanStart::Near, now + SECOND + 5 * MS, 20 * MS);
    scan(&mut progress, quick, MS, &[(1, young)], true);
    assert_eq!(progress.marks.lanes[&1].at, id(5), "so did this one, although it was short");
    scan(&mut progress, (ScanStart::Near, now + 2 * SECOND, MS), MS, &[(1, id(6))], true);
    assert_eq!(progress.marks.lanes[&1].at, id(6));
    scan(&mut progress, (ScanStart::Near, now + 3 * SECOND, MS), MS, &[(1, id(7))], false);
    assert_eq!(progress.marks.lanes[&1].at, young, "no jobs are left there");
}

#[test]
fn lanes_before_the_last_one_are_passed_although_every_scan_is_full() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    for n in 1..4 {
        let near = (ScanStart::Near, now + SECOND, MS);
        scan(&mut progress, near, MS, &[(2, id(100 * n)), (1, id(20_000 + n))], true);
        assert_eq!((progress.marks.lanes[&2].at, progress.marks.lanes[&1].at), (id(100 * n), id(20_000 + n)));
    }
}

#[test]
fn the_time_of_a_scan_counts_for_all_lanes_that_it_read_to_their_end() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    let mut scan = |seen: Option<u64>, leased: &[(i32, JobId)], full| {
        let seen = seen.and_then(|seen| id(seen).created_at());
        let result =
            ScanResult { start: ScanStart::Near, began: now + SECOND, began_at: seen, took: MS, full };
        progress.record(&result, now + SECOND, leased.iter().copied());
        let seen = |lane| progress.marks.lanes.get(&lane).and_then(|mark| mark.scanned_at);
        [seen(2), seen(1)]
    };
    let floor = |millis| id(millis).created_at().map(JobId::floor);
    assert_eq!(scan(Some(20_000), &[(2, id(5)), (1, id(15_000))], true), [floor(20_000); 2]);
    assert_eq!(
        scan(Some(30_000), &[(2, id(9))], true),
        [floor(30_000), floor(20_000)],
        "it stopped in lane 2"
    );
    assert_eq!(
        scan(None, &[], false),
        [floor(30_000), floor(20_000)],
        "it found nothing, so its time is unknown"
    );
    assert_eq!(scan(Some(40_000), &[(1, id(16_000))], false), [floor(40_000); 2], "it read everything");
}

#[test]
fn a_process_that_finds_nothing_for_a_second_scans_back_sooner() {
    let now = Instant::now();
    let took = Duration::from_millis(90);
    let mut progress = busy(now, took);
    scan(&mut progress, (ScanStart::Near, now + SECOND, MS), MS, &[(1, id(0))], false);
    let later = now + SECOND + SHARE_IF_FOUND * took;
    assert_eq!(progress.next_rescan(ScanStart::Near, later), None, "it has just found a job");
    assert_eq!(
        progress.next_rescan(ScanStart::Near, later + SECOND),
        Some(ScanStart::Front),
        "it found nothing for a second"
    );
}

#[test]
fn a_scan_back_that_found_a_job_is_repeated_sooner() {
    let now = Instant::now();
    let mut progress = busy(now, 99 * MS);
    let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
    for (found, share) in [(mark - 200, SHARE_IF_FOUND), (mark - 30, SHARE), (mark - 200, SHARE_IF_FOUND)] {
        scan(&mut progress, (ScanStart::Far, now, MS), MS, &[(1, id(found))], false);
        let due = now + share * MS;
        let before = now + share * MS / 2;
        assert_eq!(
            (progress.schedule.due(before), progress.schedule.due(due)),
            (ScanStart::Near, ScanStart::Far),
            "{found}"
        );
    }
    scan(&mut progress, (ScanStart::Front, now, 50 * MS), 50 * MS, &[(1, id(mark - 200))], false);
    assert_ne!(
        progress.schedule.due(now + SHARE_IF_FOUND * 50 * MS),
        ScanStart::Front,
        "a far scan would have found it"
    );
}

#[test]
fn an_empty_scan_is_followed_by_one_from_the_front_if_that_is_due() {
    let now = Instant::now();
    let mut progress = busy(now, 10 * MS);
    assert_eq!(progress.next_rescan(ScanStart::Near, now), None);
    assert_eq!(progress.next_rescan(ScanStart::Near, now + SHARE * 10 * MS), Some(ScanStart::Front));
    assert_eq!(
        progress.next_rescan(ScanStart::Near, now + SHARE * 10 * MS),
        None,
        "another call does it now"
    );
    progress.schedule.ended(ScanStart::Front);
    assert_eq!(progress.next_rescan(ScanStart::Front, now + SHARE * 10 * MS), None);
}

#[test]
fn marks_do_not_move_back_after_partial_scans_and_a_quiet_process_ignores_them() {
    let now = Instant::now();
    let mut progress = busy(now, MS);
    scan(&mut progress, (ScanStart::Near, now, MS), MS, &[(1, id(5)), (2, id(6))], false);
    assert_eq!(progress.ranges(ScanStart::Near).len(), 2);
    assert_eq!(progress.marks.lanes[&1].at, id(u64::try_from(FEW_JOBS).unwrap() - 1));
    scan(&mut progress, (ScanStart::Near, now + LATELY, MS), MS, &[], false);
    assert_ne!(progress.schedule.due(now + LATELY), ScanStart::Near, "a scan back is due");
    scan(&mut progress, (ScanStart::Near, now + 2 * LATELY, MS), MS, &[], false);
    assert_eq!(progress.schedule.due(now + 2 * LATELY), ScanStart::Front);
}

#[test]
fn while_one_call_scans_back_the_next_one_scans_near() {
    let now = Instant::now();
    let mut progress = busy(now, 50 * MS);
    let due = now + SHARE * 50 * MS;
    assert_eq!([progress.next(due), progress.next(due)], [ScanStart::Front, ScanStart::Near]);
    scan(&mut progress, (ScanStart::Near, due + MS, MS), MS, &[(1, id(0))], true);
    assert_eq!(progress.schedule.due(due + SECOND), ScanStart::Near, "the scan back has not ended");
    assert_eq!(progress.schedule.due(due + PRESUMED_DEAD), ScanStart::Front, "it is presumed dead");
    progress.schedule.ended(ScanStart::Near);
    assert_eq!(progress.schedule.due(due + SECOND), ScanStart::Near, "the scan back has not ended");
    progress.schedule.ended(ScanStart::Front);
    assert_eq!(progress.next(due + SECOND), ScanStart::Front, "the scan back failed");
    scan(&mut progress, (ScanStart::Front, due + SECOND, 50 * MS), 50 * MS, &[], false);
    assert_eq!(progress.schedule.due(due + SECOND), ScanStart::Far, "its duration is not known yet");
    assert_eq!(progress.schedule.due(due + SECOND + SHARE * 50 * MS), ScanStart::Front);
}

#[test]
fn if_a_scan_from_the_front_is_slow_older_ids_are_scanned_in_steps() {
    let mut now = Instant::now();
    let mut progress = busy(now, 2 * SECOND);
    let near = progress.marks.lanes[&1].start(ScanStart::Near).unwrap();
    assert_eq!(progress.next(now), ScanStart::Step);
    let parts = progress.ranges(ScanStart::Step);
    assert_eq!(
        (parts.len(), parts[0].upto, parts[1].after),
        (2, near.earlier(Duration::ZERO).as_uuid(), near.as_uuid())
    );
    assert!(parts[0].after < parts[0].upto && parts[1].upto == Uuid::max());
    // the older range has more jobs: the step is repeated
    let old = near.earlier(200 * MS);
    scan(&mut progress, (ScanStart::Step, now, 30 * MS), 30 * MS, &[(1, old)], true);
    assert_eq!(
        (progress.ranges(ScanStart::Step), progress.marks.lanes[&1].start(ScanStart::Near)),
        (parts, Some(near))
    );
    now += SHARE_IF_FOUND * 30 * MS;
    assert_eq!(progress.next(now), ScanStart::Step, "it found a job");
    // then no more jobs in both sweeps
    let mut steps = 0;
    while progress.schedule.takes_steps() {
        steps += 1;
        scan(&mut progress, (ScanStart::Step, now + SECOND, MS), MS, &[], false);
        let again = progress.next_rescan(ScanStart::Near, now + SECOND);
        assert!(steps < 100 && again.is_some() == progress.schedule.takes_steps(), "{steps}: {again:?}");
    }
    assert_eq!(
        progress.schedule.due(now + SECOND),
        ScanStart::Far,
        "all steps together took {steps} ms: scans from the front again"
    );
    progress.failed(ScanStart::Front);
    assert!(progress.schedule.takes_steps(), "the failed scan may have been slow");
}
