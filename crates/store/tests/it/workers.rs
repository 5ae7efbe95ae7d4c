//! Workers: who counts as alive, and what each runs. A remote worker has a row like any other, but only its leases count.

use std::time::Duration;

use jobqueue_core::{JobDraft, Outcome, Status, WorkerId};
use jobqueue_store::{LeaseRequest, RemoteWorker, Settled, WorkerRecord};

use crate::bench::{Bench, MINUTE, draft, request};

fn remote(name: &str) -> RemoteWorker {
    RemoteWorker {
        name: name.parse().unwrap(),
        queues: vec!["default".parse().unwrap(), "other".parse().unwrap()],
        kinds: vec!["noop".parse().unwrap()],
    }
}

async fn alive(bench: &Bench) -> Vec<WorkerRecord> {
    let workers = bench.store.workers(None, 1000).await.unwrap();
    assert_eq!(bench.store.census().await.unwrap().workers, u64::try_from(workers.len()).unwrap());
    workers
}

async fn names(bench: &Bench) -> Vec<String> {
    alive(bench).await.into_iter().map(|worker| worker.name).collect()
}

#[tokio::test]
async fn workers_are_listed_by_name_with_what_they_run() {
    let bench = Bench::new().await;
    let (blue, green) = (remote("blue"), remote("green"));
    // twice in one call, as when two requests of one worker come together
    bench.store.register_remote_workers(&[green.clone(), blue.clone(), green.clone()]).await.unwrap();
    let mut ids = bench.add_many(25).await;
    ids.push(bench.add(JobDraft { queue: Some("other".into()), ..draft() }).await);
    let asked = request(None, &["default", "other"], 1);
    let holders = [Some(blue.id()), None, Some(green.id())];
    let shares = bench.store.lease_shares(&asked, &holders).await.unwrap();
    assert_eq!(shares.iter().map(|share| share[0].job.id).collect::<Vec<_>>(), ids[..3]);
    let asked = request(Some(bench.worker), &["default", "other"], 100);
    assert_eq!(bench.store.lease(&asked).await.unwrap().len(), 23);

    let workers = alive(&bench).await;
    let listed: Vec<_> =
        workers.iter().map(|worker| (&*worker.name, worker.remote, worker.running)).collect();
    assert_eq!(listed, [("bench", false, 23), ("blue", true, 1), ("green", true, 1)]);
    let [local, first, _] = &workers[..] else { panic!("{workers:?}") };
    assert_eq!((local.id, local.slots, local.version.as_deref()), (bench.worker, Some(4), Some("0")));
    assert_eq!(local.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids[3..23], "the first twenty");
    assert_eq!((first.id, first.slots, &first.version), (WorkerId::of_remote(&blue.name), None, &None));
    assert_eq!(
        (&first.queues[..], &first.kinds[..]),
        (&["default", "other"].map(String::from)[..], &["noop".into()][..])
    );
    let job = &first.jobs[0];
    assert_eq!((job.id, &*job.kind, &*job.queue, job.attempt), (ids[0], "noop", "default", 1));
    assert_eq!(bench.record(ids[0]).await.worker_id, Some(blue.id()), "the job says who runs it");

    let page = bench.store.workers(Some(("bench", bench.worker)), 1).await.unwrap();
    assert_eq!(page[0].name, "blue");
    assert!(bench.store.workers(Some(("green", green.id())), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_remote_worker_counts_while_it_asks_or_holds_a_lease() {
    let mut bench = Bench::new().await;
    let (idle, busy) = (remote("idle"), remote("busy"));
    bench.store.register_remote_workers(&[idle.clone(), busy.clone()]).await.unwrap();
    let id = bench.add(draft()).await;
    let long = LeaseRequest { duration: 30 * MINUTE, ..request(Some(busy.id()), &["default"], 1) };
    let leased = bench.store.lease(&long).await.unwrap().pop().unwrap();
    bench.store.unregister_worker(bench.worker).await.unwrap();
    bench.pass(Duration::from_secs(50));
    assert_eq!(names(&bench).await, ["busy", "idle"]);
    assert_eq!(
        bench
            .store
            .touch_remote_workers(&[idle.id(), WorkerId::of_remote(&"gone".parse().unwrap())])
            .await
            .unwrap(),
        [idle.id()]
    );
    bench.pass(Duration::from_secs(50));
    assert_eq!(names(&bench).await, ["busy", "idle"], "it was heard again");
    bench.pass(20 * MINUTE);
    assert_eq!(names(&bench).await, ["busy"], "its lease is good");
    assert_eq!(bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs, [], "its silence means nothing");
    bench.pass(9 * MINUTE);
    assert!(names(&bench).await.is_empty());
    assert_eq!(bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs, [id]);
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Stale);
}

#[tokio::test]
async fn a_remote_worker_that_settled_is_forgotten_after_minutes_and_a_local_one_after_a_day() {
    let mut bench = Bench::new().await;
    let gone = remote("gone");
    bench.store.register_remote_workers(std::slice::from_ref(&gone)).await.unwrap();
    bench.add(draft()).await;
    let long = LeaseRequest { duration: 60 * MINUTE, ..request(Some(gone.id()), &["default"], 1) };
    let leased = bench.store.lease(&long).await.unwrap().pop().unwrap();
    let prune = async |bench: &Bench| {
        let kept =
            jobqueue_store::Retention { completed: 10 * crate::bench::DAY, failed: 10 * crate::bench::DAY };
        bench.store.upkeep().prune(kept).await.unwrap();
        bench.count("SELECT count(*) FROM jobqueue.worker").await
    };
    bench.pass(15 * MINUTE);
    assert_eq!(prune(&bench).await, 2, "without its row its lease would be taken for a dead worker's");
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
    assert_eq!(prune(&bench).await, 1);
}

/// Only the worker knows how many jobs it runs at once, and its requests do not prove that heartbeats get through.
#[tokio::test]
async fn a_remote_worker_does_not_speak_for_others() {
    let mut bench = Bench::new().await;
    bench.store.register_remote_workers(&[remote("r")]).await.unwrap();
    bench.add(draft()).await;
    let slots = async |bench: &Bench| bench.store.census().await.unwrap().queues[0].slots;
    assert_eq!(slots(&bench).await, Some(4.0));
    bench.pass(Duration::from_secs(40));
    assert_eq!((slots(&bench).await, names(&bench).await), (None, vec!["r".to_owned()]));
}
