//! Dead letters: each way in and each way out, search, groups, and a retry with another payload.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{Failure, JobDraft, JobId, Limits, Outcome, Status};
use jobqueue_store::{
    Cancelled, DeadLetterFilter, DeadLetterGroup, GroupFilter, GroupOrder, Replaced, Retention, Retried,
    Settled, StoreError,
};

use crate::bench::{Bench, DAY, MINUTE, boom, draft, failed, json};
use crate::checker::check_snapshot;

mod load;
mod redrive;

/// Counts, and checks that what the groups say is exact.
pub(crate) async fn counted(bench: &Bench) -> Vec<DeadLetterGroup> {
    while bench.store.upkeep().count_dead_letters().await.unwrap() {}
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.dead_letter_tally").await, 0);
    let broken = check_snapshot(&bench.pool).await;
    assert!(!broken.iter().any(|what| what.starts_with('D')), "{broken:?}");
    let totals = "SELECT count(*) FROM (SELECT queue_id, count(*) AS n FROM jobqueue.dead_letter GROUP BY queue_id) d
                  FULL JOIN (SELECT * FROM jobqueue.dead_letter_total WHERE count <> 0) t ON t.queue_id = d.queue_id
                  WHERE d.n IS DISTINCT FROM t.count";
    assert_eq!(bench.count(totals).await, 0);
    groups(bench, &GroupFilter::default(), GroupOrder::Count).await
}

async fn groups(bench: &Bench, filter: &GroupFilter, order: GroupOrder) -> Vec<DeadLetterGroup> {
    let (groups, more) = bench.store.dead_letters().groups(filter, order, None, 100).await.unwrap();
    assert!(!more);
    groups
}

async fn found(bench: &Bench, filter: DeadLetterFilter) -> Vec<JobId> {
    let (letters, more) = bench.store.dead_letters().list(&filter, None, 100).await.unwrap();
    assert!(!more);
    let ids: Vec<JobId> = letters.into_iter().map(|letter| letter.id).collect();
    assert_eq!(bench.store.dead_letters().find(&filter, 100).await.unwrap(), ids);
    assert_eq!(
        bench.store.dead_letters().count(&filter).await.unwrap(),
        Some(u64::try_from(ids.len()).unwrap())
    );
    ids
}

async fn all(bench: &Bench) -> Vec<JobId> {
    found(bench, DeadLetterFilter::default()).await
}

/// Fails a job with this error.
async fn dead_with(bench: &Bench, draft: JobDraft, kind: &str, message: &str) -> JobId {
    let id = bench.add(draft).await;
    let leased = bench.lease_one().await;
    assert_eq!(leased.job.id, id);
    let failure = Failure { kind: kind.to_owned(), message: message.to_owned(), details: None };
    assert_eq!(bench.end(leased, Outcome::Discarded(failure)).await, Settled::Applied(Status::Failed));
    id
}

/// The ids without their order.
fn sorted(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn every_way_to_fail_makes_a_dead_letter_and_no_other_end_does() {
    let mut bench = Bench::new().await;
    let mut dead = vec![bench.dead(draft()).await];
    let once = || JobDraft { max_attempts: Some(1), ..draft() };
    for outcome in [failed(), Outcome::Overran(MINUTE), Outcome::LeaseLost] {
        dead.push(bench.add(once()).await);
        let leased = bench.lease_one().await;
        bench.end(leased, outcome).await;
    }
    // a snooze too many
    dead.push(bench.add(JobDraft { max_snoozes: Some(0), ..draft() }).await);
    let leased = bench.lease_one().await;
    bench.end(leased, Outcome::Snoozed(MINUTE)).await;
    // a dead worker
    dead.push(bench.add(once()).await);
    bench.lease_one().await;
    bench.pass(10 * MINUTE);
    assert_eq!(bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs, dead[5..]);
    // a job that cannot be read
    dead.push(bench.add(once()).await);
    bench.execute(&format!("UPDATE jobqueue.body SET max_attempts = -1 WHERE id = '{}'", dead[6])).await;
    bench.lease(1).await;
    assert_eq!(bench.status_number(dead[6]).await, 6);
    // none of these is one
    bench.done(draft()).await;
    let cancelled = bench.add(draft()).await;
    assert_eq!(bench.store.jobs().cancel(&[cancelled], &boom()).await.unwrap(), [Cancelled::Now]);
    let soon = bench.store.time().await.unwrap().map(|now| (now + MINUTE).to_rfc3339());
    let expired = bench.add(JobDraft { expires_at: soon, ..draft() }).await;
    bench.pass(2 * MINUTE);
    assert_eq!(bench.store.expire_due(10).await.unwrap(), 1);
    assert_eq!(bench.status(expired).await, Status::Cancelled);
    bench.add(draft()).await;
    let leased = bench.lease_one().await;
    bench.end(leased, failed()).await;

    bench.execute(&format!("UPDATE jobqueue.body SET max_attempts = 1 WHERE id = '{}'", dead[6])).await;
    assert_eq!(sorted(all(&bench).await), dead);
    let types: Vec<String> = counted(&bench).await.into_iter().map(|group| group.error_type).collect();
    for kind in ["boom", "timeout", "lease_lost", "too_many_snoozes"] {
        assert!(types.iter().any(|known| known == kind), "{types:?}");
    }
}

#[tokio::test]
async fn every_way_out_removes_the_dead_letter() {
    let mut bench = Bench::new().await;
    let mut dead = Vec::new();
    for _ in 0..6 {
        dead.push(bench.dead(draft()).await);
    }
    let before = counted(&bench).await;
    assert_eq!((before.len(), before[0].count), (1, 6));
    assert_eq!(before[0].examples, [dead[5], dead[4], dead[3]]);
    // retried over REST, in SQL, deleted by `forget`, purged, replaced
    assert_eq!(bench.store.jobs().retry(&dead[..1]).await.unwrap(), [Retried::Now]);
    bench.execute(&format!("SELECT jobqueue.retry('{}')", dead[1])).await;
    bench.execute(&format!("SELECT jobqueue.forget(ARRAY['{}']::uuid[])", dead[2])).await;
    assert_eq!(bench.store.dead_letters().purge(&dead[1..4]).await.unwrap(), 1, "a job that is queued stays");
    let replaced = bench.store.dead_letters().replace(dead[4], json("{}"), &Limits::default()).await.unwrap();
    assert!(matches!(replaced, Replaced::By { .. }), "{replaced:?}");
    assert_eq!(bench.store.jobs().retry(&dead[4..5]).await.unwrap(), [Retried::Replaced]);
    bench.execute(&format!("SELECT jobqueue.retry('{}')", dead[4])).await;
    assert_eq!(bench.status(dead[4]).await, Status::Failed, "the new job runs in its place");
    assert_eq!(all(&bench).await, [dead[5]]);
    let after = counted(&bench).await;
    assert_eq!(
        (after[0].count, after[0].first_failed_at),
        (1, before[0].first_failed_at),
        "first seen stays"
    );
    // its day is dropped
    bench.pass(40 * DAY);
    let retention = Retention { completed: DAY, failed: 30 * DAY };
    let pruned = bench.store.upkeep().prune(retention).await.unwrap();
    assert!(pruned.days > 0 && pruned.jobs >= 1, "{pruned:?}");
    assert!(all(&bench).await.is_empty() && counted(&bench).await.is_empty());
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.replacement").await, 0);
    // one that fails again is one again
    while let Some(leased) = bench.lease(1).await.pop() {
        bench.end(leased, Outcome::Discarded(boom())).await;
    }
    assert_eq!(counted(&bench).await[0].count, 3, "two were retried, one is new");
}

#[tokio::test]
async fn a_pass_finds_what_earlier_versions_left() {
    let mut bench = Bench::new().await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(bench.dead(draft()).await);
    }
    bench.store.dead_letters().replace(dead[0], json("1"), &Limits::default()).await.unwrap();
    while bench.store.upkeep().compare_dead_letters().await.unwrap().1 {}
    // as before the migration, and with a dead letter whose job is gone
    bench.execute("DELETE FROM jobqueue.dead_letter; DELETE FROM jobqueue.dead_letter_cause").await;
    let waits = bench.add(draft()).await;
    bench
        .execute(&format!("INSERT INTO jobqueue.dead_letter VALUES ('{waits}', now(), '{waits}', 1, 1)"))
        .await;
    assert_eq!(
        bench.store.upkeep().compare_dead_letters().await.unwrap(),
        (0, false),
        "the next pass is not due"
    );
    bench.pass(11 * MINUTE);
    let mut changed = 0;
    loop {
        let (more, again) = bench.store.upkeep().compare_dead_letters().await.unwrap();
        changed += more;
        if !again {
            break;
        }
    }
    assert_eq!((changed, sorted(all(&bench).await)), (3, dead[1..].to_vec()), "the replaced one stays out");
    let groups = counted(&bench).await;
    assert_eq!((groups.len(), groups[0].count, groups[0].error_type.as_str()), (1, 2, "boom"));
}

#[tokio::test]
async fn groups_have_the_same_kind_and_cause() {
    let mut bench = Bench::new().await;
    let other = || JobDraft { kind: "other".into(), ..draft() };
    dead_with(&bench, draft(), "io", "user 4711 has no 'mail'").await;
    bench.pass(MINUTE);
    let newest = dead_with(&bench, draft(), "io", "user 4712 has no 'phone'").await;
    dead_with(&bench, other(), "io", "user 4713 has no 'mail'").await;
    bench.pass(MINUTE);
    let last = dead_with(&bench, draft(), "net", "user 1 has no 'mail'").await;
    let all = counted(&bench).await;
    assert_eq!(all.iter().map(|group| group.count).collect::<Vec<_>>(), [2, 1, 1]);
    let largest = &all[0];
    assert_eq!((largest.message.as_str(), largest.kind.as_str()), ("user <n> has no <text>", "noop"));
    assert!((largest.last_failed_at - largest.first_failed_at).num_seconds() >= 60);
    assert_eq!(largest.examples[0], newest);
    for examples in [0, 1] {
        let groups = bench.store.dead_letters().largest_groups(2, examples).await.unwrap();
        let shown: Vec<_> = groups.iter().map(|group| (group.count, group.examples.len())).collect();
        let examples = usize::try_from(examples).unwrap();
        assert_eq!(shown, [(2, examples), (1, examples)]);
    }
    let by_time = groups(&bench, &GroupFilter::default(), GroupOrder::LastFailedAt).await;
    assert_eq!(by_time[0].examples, [last]);

    for (filter, expected) in [
        (GroupFilter { kind: Some("other".parse().unwrap()), ..GroupFilter::default() }, 1),
        (GroupFilter { kind: Some("unknown".parse().unwrap()), ..GroupFilter::default() }, 0),
        (GroupFilter { error_type: Some("io".to_owned()), ..GroupFilter::default() }, 2),
        (GroupFilter { text: Some("HAS NO".to_owned()), ..GroupFilter::default() }, 3),
        (GroupFilter { text: Some("%".to_owned()), ..GroupFilter::default() }, 0),
        (GroupFilter { queue: Some("default".parse().unwrap()), ..GroupFilter::default() }, 3),
        (GroupFilter { queue: Some("none".parse().unwrap()), ..GroupFilter::default() }, 0),
    ] {
        assert_eq!(groups(&bench, &filter, GroupOrder::Count).await.len(), expected, "{filter:?}");
    }
    // pages of one
    for order in [GroupOrder::Count, GroupOrder::LastFailedAt] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page =
                bench.store.dead_letters().groups(&GroupFilter::default(), order, after, 1).await.unwrap();
            after = page.0.last().map(|group| group.position(order));
            seen.extend(page.0);
            if !page.1 {
                break;
            }
        }
        assert_eq!(seen, groups(&bench, &GroupFilter::default(), order).await);
    }
    let detail = bench.store.dead_letters().group(largest.fingerprint).await.unwrap().unwrap();
    assert_eq!(detail.queues, [("default".to_owned(), 2)]);
    assert_eq!((detail.examples.len(), detail.examples[0].message.as_str()), (2, "user 4712 has no 'phone'"));
    assert_eq!(bench.store.dead_letters().group(uuid::Uuid::nil()).await.unwrap(), None);
}

#[tokio::test]
async fn a_group_in_two_queues_is_one_and_its_queues_are_counted_apart() {
    let bench = Bench::new().await;
    for queue in ["default", "default", "mail"] {
        let id = bench.add(JobDraft { queue: Some(queue.to_owned()), ..draft() }).await;
        let request = crate::bench::request(Some(bench.worker), &[queue], 1);
        let leased = bench.store.lease(&request).await.unwrap().pop().unwrap();
        assert_eq!(leased.job.id, id);
        bench.end(leased, Outcome::Discarded(boom())).await;
    }
    let all = counted(&bench).await;
    assert_eq!((all.len(), all[0].count), (1, 3));
    let mail = GroupFilter { queue: Some("mail".parse().unwrap()), ..GroupFilter::default() };
    assert_eq!(groups(&bench, &mail, GroupOrder::Count).await[0].count, 1);
    let detail = bench.store.dead_letters().group(all[0].fingerprint).await.unwrap().unwrap();
    assert_eq!(detail.queues, [("default".to_owned(), 2), ("mail".to_owned(), 1)]);
    assert!(bench.store.take_census(10).await.unwrap());
    let census = bench.store.census().await.unwrap();
    assert_eq!(census.queues.iter().map(|queue| queue.dead_letters).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn dead_letters_are_found_by_each_criterion() {
    let mut bench = Bench::new().await;
    let tagged =
        |tags: &[&str]| JobDraft { tags: Some(tags.iter().map(ToString::to_string).collect()), ..draft() };
    let first = dead_with(&bench, tagged(&["a", "b"]), "io", "Disk full on /dev/sda1").await;
    bench.pass(MINUTE);
    let second = dead_with(&bench, tagged(&["a"]), "net", "no route to 10.0.0.1").await;
    let between = bench.store.dead_letters().get(second).await.unwrap().unwrap().failed_at;
    bench.pass(MINUTE);
    let third = dead_with(&bench, JobDraft { kind: "other".into(), ..draft() }, "io", "Disk full").await;
    assert_eq!(all(&bench).await, [third, second, first]);
    let group = bench.store.dead_letters().get(first).await.unwrap().unwrap().fingerprint;
    let any = DeadLetterFilter::default;
    for (filter, expected) in [
        (DeadLetterFilter { group: Some(group), ..any() }, vec![first]),
        (DeadLetterFilter { queues: vec!["default".parse().unwrap()], ..any() }, vec![third, second, first]),
        (
            DeadLetterFilter { queues: vec!["a".parse().unwrap(), "default".parse().unwrap()], ..any() },
            vec![third, second, first],
        ),
        (DeadLetterFilter { queues: vec!["a".parse().unwrap()], ..any() }, vec![]),
        (DeadLetterFilter { kinds: vec!["other".parse().unwrap()], ..any() }, vec![third]),
        (DeadLetterFilter { tags: vec!["a".to_owned()], ..any() }, vec![second, first]),
        (DeadLetterFilter { tags: vec!["b".to_owned(), "a".to_owned()], ..any() }, vec![first]),
        (
            DeadLetterFilter { error_types: vec!["io".to_owned(), "x".to_owned()], ..any() },
            vec![third, first],
        ),
        (DeadLetterFilter { text: Some("disk FULL".to_owned()), ..any() }, vec![third, first]),
        (DeadLetterFilter { text: Some("10.0.0.1".to_owned()), ..any() }, vec![second]),
        (DeadLetterFilter { text: Some("_".to_owned()), ..any() }, vec![]),
        (DeadLetterFilter { failed_after: Some(between), ..any() }, vec![third, second]),
        (DeadLetterFilter { failed_before: Some(between), ..any() }, vec![first]),
    ] {
        assert_eq!(found(&bench, filter.clone()).await, expected, "{filter:?}");
    }
    // pages of one, with the position of the last
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = bench.store.dead_letters().list(&any(), after, 1).await.unwrap();
        after = page.last().map(|letter| (letter.failed_at, letter.id));
        seen.extend(page.into_iter().map(|letter| letter.id));
        if !more {
            break;
        }
    }
    assert_eq!(seen, [third, second, first]);
}

#[tokio::test]
async fn hostile_errors_are_stored_and_cut() {
    let bench = Bench::new().await;
    let huge = "ä 12 \u{0}\u{202e}".repeat(1024 * 1024);
    let mut ids = Vec::new();
    for (kind, message) in
        [("x", huge.as_str()), (huge.as_str(), ""), ("", ""), ("\u{1f}\n", "\u{1f}\u{feff}\u{d7ff}💥")]
    {
        // the API cuts the failure before it settles; a handler in this process need not
        let failure = Failure::new(kind, message);
        let id = bench.add(draft()).await;
        let leased = bench.lease_one().await;
        bench.end(leased, Outcome::Discarded(failure)).await;
        ids.push(id);
    }
    assert_eq!(sorted(all(&bench).await), ids);
    for group in counted(&bench).await {
        assert!(group.message.len() <= 255 && group.error_type.len() <= 128, "{group:?}");
        assert!(!group.message.chars().any(char::is_control), "{group:?}");
    }
    let (letters, _) = bench.store.dead_letters().list(&DeadLetterFilter::default(), None, 10).await.unwrap();
    assert!(letters.iter().all(|letter| letter.message.chars().count() <= 500));
}

#[tokio::test]
async fn a_retry_with_another_payload_is_a_new_job_that_takes_the_place() {
    let mut bench = Bench::new().await;
    let unique =
        || UniqueDraft { key: "k".into(), statuses: Some(Status::ALL.to_vec()), ..UniqueDraft::default() };
    let old = JobDraft {
        priority: Some(7),
        max_attempts: Some(4),
        max_snoozes: Some(9),
        unique: Some(unique()),
        tags: Some(vec!["t".to_owned()]),
        metadata: Some(json(r#"{"a":1}"#)),
        ..draft()
    };
    let dead = bench.dead(old).await;
    let letters = bench.store.dead_letters();
    let Replaced::By { id, status, queue } =
        letters.replace(dead, json("[2]"), &Limits::default()).await.unwrap()
    else {
        panic!("it was not replaced")
    };
    assert_eq!((status, queue.as_str()), (Status::Queued, "default"));
    let (new, before) = (bench.record(id).await, bench.record(dead).await);
    assert_eq!((new.job.payload.as_str(), new.job.attempt, new.job.max_attempts), ("[2]", 0, 4));
    assert_eq!((new.job.priority, &new.job.tags, new.max_snoozes), (7, &before.job.tags, 9));
    assert_eq!(new.job.unique_key.as_deref(), Some("k"), "the old job held it and has passed it on");
    assert_eq!(new.job.metadata.unwrap().as_str(), format!(r#"{{"a":1,"retry_of":"{dead}"}}"#));
    assert_eq!(before.status, Status::Failed);
    assert_eq!(letters.replaced_by(dead).await.unwrap(), Some(id));
    assert_eq!(letters.replace(dead, json("[3]"), &Limits::default()).await.unwrap(), Replaced::Before(id));
    assert_eq!(letters.replace(id, json("[3]"), &Limits::default()).await.unwrap(), Replaced::NotFailed);
    let unknown = JobId::from_ticks(1 << 50, 9);
    assert_eq!(letters.replace(unknown, json("0"), &Limits::default()).await.unwrap(), Replaced::Unknown);
    let small = Limits { payload_bytes: 2, ..Limits::default() };
    let dead = bench.dead(JobDraft { priority: Some(9), ..draft() }).await;
    assert!(matches!(letters.replace(dead, json("[33]"), &small).await.unwrap(), Replaced::Invalid(_)));
    // twice at the same time: one job
    let both =
        tokio::join!(letters.replace(dead, json("1"), &small), letters.replace(dead, json("2"), &small));
    let made = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(made.iter().filter(|made| matches!(made, Replaced::By { .. })).count(), 1, "{made:?}");
    assert!(made.iter().any(|made| matches!(made, Replaced::Before(_))), "{made:?}");

    let soon = bench.store.time().await.unwrap().map(|now| (now + MINUTE).to_rfc3339());
    let expiring = bench.dead(JobDraft { expires_at: soon, priority: Some(99), ..draft() }).await;
    bench.pass(2 * MINUTE);
    let expired = bench.store.dead_letters().replace(expiring, json("1"), &Limits::default()).await.unwrap();
    assert_eq!(expired, Replaced::Expired);
    assert_eq!(all(&bench).await, [expiring]);
    counted(&bench).await;
}

#[tokio::test]
async fn a_unique_key_that_another_job_holds_is_not_taken() {
    let bench = Bench::new().await;
    let keyed =
        || JobDraft { unique: Some(UniqueDraft { key: "k".into(), ..UniqueDraft::default() }), ..draft() };
    let dead = bench.dead(keyed()).await;
    let holder = bench.add(keyed()).await;
    let refused = bench.store.dead_letters().replace(dead, json("1"), &Limits::default()).await.unwrap();
    assert_eq!(refused, Replaced::KeyTaken(holder));
    assert_eq!(all(&bench).await, [dead], "nothing has changed");
}

#[tokio::test]
async fn a_search_that_reads_too_many_is_refused_not_failed() {
    let bench = Bench::new().await;
    bench.dead(draft()).await;
    let lock = bench.db.hold("LOCK TABLE jobqueue.dead_letter IN ACCESS EXCLUSIVE MODE").await;
    let error = bench.store.dead_letters().find(&DeadLetterFilter::default(), 1).await.unwrap_err();
    assert!(!matches!(error, StoreError::TooBroad), "a lock is not the filter's fault: {error}");
    lock.rollback().await.unwrap();
}
