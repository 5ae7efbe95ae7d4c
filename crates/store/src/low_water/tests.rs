//! Looks and marks without a database.

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
fn the_next_bodies_are_looked_for_around_those_of_the_last_lease() {
    let now = Instant::now();
    let mut water = LowWater::new(now);
    assert_eq!(water.around(), None);
    let hour = 3_600_000;
    for leased in [[(1, id(200 * hour)), (2, id(190 * hour))], [(1, id(100 * hour)), (2, id(103 * hour))]] {
        looked(&mut water, (Look::Front, now, MS), MS, &leased, false);
        looked(&mut water, (Look::Front, now, MS), MS, &[], false);
    }
    let (oldest, youngest) = water.around().unwrap();
    for (hours, inside) in [(87, false), (89, true), (103, true), (105, false), (200, false)] {
        assert_eq!((oldest..=youngest).contains(&id(hours * hour).as_uuid()), inside, "{hours}");
    }
}

#[test]
fn a_clock_that_was_set_back_is_forgotten_with_the_next_look() {
    let now = Instant::now();
    let mut water = busy(now, MS);
    let at = |hours: u64| id(hours * 3_600_000);
    for hours in [48, 1] {
        let seen = at(hours).created_at();
        let looked = Looked { look: Look::Front, began: now, seen, walk: MS, full: false };
        water.looked(looked, now, [(1, at(hours))].into_iter());
    }
    assert!(water.stretches(Look::Near)[0].after < at(1).as_uuid());
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
    let stretches = water.stretches(Look::Near);
    assert_eq!(stretches.len(), 1);
    let (lane, start) = (stretches[0].lane, stretches[0].after);
    let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
    assert!(lane == 1 && start < id(mark - 24).as_uuid() && start > id(mark - 26).as_uuid(), "{start}");
    assert_eq!(water.stretches(Look::Front), []);
}

#[test]
fn nothing_is_walked_twice_in_a_deep_queue_and_what_was_committed_since_is_found_in_any() {
    let now = Instant::now();
    let mut water = busy(now, MS);
    let mut after = |at: u64, seen: u64| {
        let seen = id(seen).created_at();
        let look = Looked { look: Look::Near, began: now + SECOND, seen, walk: MS, full: true };
        water.looked(look, now + SECOND, [(1, id(at))].into_iter());
        water.stretches(Look::Near)[0].after
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
    assert_eq!(look(Some(30_000), &[(2, id(9))], true), [floor(30_000), floor(20_000)], "it came no further");
    assert_eq!(look(None, &[], false), [floor(30_000), floor(20_000)], "nobody told the time");
    assert_eq!(look(Some(40_000), &[(1, id(16_000))], false), [floor(40_000); 2], "it saw everything");
}

#[test]
fn who_finds_nothing_for_a_while_looks_back_sooner() {
    let now = Instant::now();
    let took = Duration::from_millis(90);
    let mut water = busy(now, took);
    looked(&mut water, (Look::Near, now + SECOND, MS), MS, &[(1, id(0))], false);
    let later = now + SECOND + SHARE_THAT_PAYS * took;
    assert_eq!(water.look_again(Look::Near, later), None, "it found something just now");
    assert_eq!(water.look_again(Look::Near, later + SECOND), Some(Look::Front), "hungry");
}

#[test]
fn a_look_back_that_found_something_is_taken_again_sooner() {
    let now = Instant::now();
    let mut water = busy(now, 99 * MS);
    let mark = u64::try_from(FEW_JOBS).unwrap() - 1;
    for (found, share) in [(mark - 200, SHARE_THAT_PAYS), (mark - 30, SHARE), (mark - 200, SHARE_THAT_PAYS)] {
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
    assert_eq!(water.look_again(Look::Near, now), None);
    assert_eq!(water.look_again(Look::Near, now + SHARE * 10 * MS), Some(Look::Front));
    assert_eq!(water.look_again(Look::Near, now + SHARE * 10 * MS), None, "somebody does it now");
    water.ends(Look::Front);
    assert_eq!(water.look_again(Look::Front, now + SHARE * 10 * MS), None);
}

#[test]
fn marks_only_grow_and_quiet_makes_them_needless() {
    let now = Instant::now();
    let mut water = busy(now, MS);
    looked(&mut water, (Look::Near, now, MS), MS, &[(1, id(5)), (2, id(6))], false);
    assert_eq!(water.stretches(Look::Near).len(), 2);
    assert_eq!(water.marks[&1].at, id(u64::try_from(FEW_JOBS).unwrap() - 1));
    looked(&mut water, (Look::Near, now + LATELY, MS), MS, &[], false);
    assert_ne!(water.due(now + LATELY), Look::Near, "looking back is long due");
    looked(&mut water, (Look::Near, now + 2 * LATELY, MS), MS, &[], false);
    assert_eq!(water.due(now + 2 * LATELY), Look::Front);
}

#[test]
fn while_one_call_looks_back_the_next_one_takes_what_has_just_come() {
    let now = Instant::now();
    let mut water = busy(now, 50 * MS);
    let due = now + SHARE * 50 * MS;
    assert_eq!([water.look(due), water.look(due)], [Look::Front, Look::Near]);
    looked(&mut water, (Look::Near, due + MS, MS), MS, &[(1, id(0))], true);
    assert_eq!(water.due(due + SECOND), Look::Near, "it has not ended");
    assert_eq!(water.due(due + LOST), Look::Front, "nobody does it any more");
    water.ends(Look::Near);
    assert_eq!(water.due(due + SECOND), Look::Near, "the other one has not ended");
    water.ends(Look::Front);
    assert_eq!(water.look(due + SECOND), Look::Front, "it failed");
    looked(&mut water, (Look::Front, due + SECOND, 50 * MS), 50 * MS, &[], false);
    assert_eq!(water.due(due + SECOND), Look::Far, "its cost is not known yet");
    assert_eq!(water.due(due + SECOND + SHARE * 50 * MS), Look::Front);
}

#[test]
fn where_a_look_from_the_front_takes_long_old_times_are_looked_through_in_steps() {
    let mut now = Instant::now();
    let mut water = busy(now, 2 * SECOND);
    let near = water.marks[&1].start(Look::Near).unwrap();
    assert_eq!(water.look(now), Look::Step);
    let parts = water.stretches(Look::Step);
    assert_eq!(
        (parts.len(), parts[0].upto, parts[1].after),
        (2, near.earlier(Duration::ZERO).as_uuid(), near.as_uuid())
    );
    assert!(parts[0].after < parts[0].upto && parts[1].upto == Uuid::max());
    // as much as was asked for lies in the old part: on with it
    let old = near.earlier(200 * MS);
    looked(&mut water, (Look::Step, now, 30 * MS), 30 * MS, &[(1, old)], true);
    assert_eq!((water.stretches(Look::Step), water.marks[&1].start(Look::Near)), (parts, Some(near)));
    now += SHARE_THAT_PAYS * 30 * MS;
    assert_eq!(water.look(now), Look::Step, "it paid");
    // then nothing more, all the way: the last seconds and what was before in turn
    let mut steps = 0;
    while water.takes_steps() {
        steps += 1;
        looked(&mut water, (Look::Step, now + SECOND, MS), MS, &[], false);
        let again = water.look_again(Look::Near, now + SECOND);
        assert!(steps < 100 && again.is_some() == water.takes_steps(), "{steps}: {again:?}");
    }
    assert_eq!(water.due(now + SECOND), Look::Far, "all of it took {steps} ms: one look again, in a while");
    water.gave_up(Look::Front);
    assert!(water.takes_steps(), "the failed one may have been too long");
}
