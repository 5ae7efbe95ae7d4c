//! The limits of a key by queue and kind, for lists, counts, submissions and leases. Lists and counts leave out what the key does not include;
//! a request that names it is refused.

use chrono::DateTime;
use jobqueue_core::unique::OnConflict;
use jobqueue_core::{
    Grant, JobDraft, JobId, KindName, NewJob, QueueName, RouteTable, Schedule, UniqueScope, WorkerId,
    WorkerName,
};
use jobqueue_store::{DeadLetterFilter, JobFilter, WorkerRecord};

use crate::problem::{Problem, ProblemKind};
use crate::store_access::StoreAccess;

/// Most queues or kinds among which a search by a key with limits looks for those that it includes.
const MAX_NAMES: u32 = 10_000;

/// The request concerns more than the key.
pub(crate) fn too_wide(what: &str) -> Problem {
    let detail = format!("this concerns {what}, and the key is limited to some queues or kinds");
    Problem::new(ProblemKind::Forbidden, detail)
}

/// Refuses keys that are limited by kind.
pub(crate) fn all_kinds(grant: &Grant, what: &str) -> Result<(), Problem> {
    if grant.has_all_kinds() { Ok(()) } else { Err(too_wide(what)) }
}

/// Refuses keys that are limited by queue.
pub(crate) fn all_queues(grant: &Grant, what: &str) -> Result<(), Problem> {
    if grant.has_all_queues() { Ok(()) } else { Err(too_wide(what)) }
}

/// Refuses a queue that the key does not include.
pub(crate) fn queue(grant: &Grant, queue: &QueueName) -> Result<(), Problem> {
    if grant.has_queue(queue) { Ok(()) } else { Err(outside("queue", queue.as_str())) }
}

/// Refuses a kind that the key does not include.
pub(crate) fn kind(grant: &Grant, kind: &KindName) -> Result<(), Problem> {
    if grant.has_kind(kind) { Ok(()) } else { Err(outside("kind", kind.as_str())) }
}

fn outside(what: &str, name: &str) -> Problem {
    Problem::new(ProblemKind::Forbidden, format!("the key does not include the {what} `{name}`"))
}

/// Refuses a webhook: the client that receives it gets what the key must not read.
pub(crate) fn webhook(grant: &Grant, is_set: bool) -> Result<(), Problem> {
    if is_set && grant.hide.hides_end() {
        let detail = "the key does not see results, errors or metadata, or parts of them, so it must not have them sent by `on_end`";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    Ok(())
}

/// Refuses a submission before its route is known: a webhook that a user sends to another queue.
pub(crate) fn draft(grant: &Grant, draft: &JobDraft) -> Result<(), Problem> {
    let target = draft.on_end.as_ref().and_then(|on_end| on_end.queue.as_ref()?.parse().ok());
    target.map_or(Ok(()), |target| queue(grant, &target))
}

/// Refuses a submission of another queue or kind, and one that could cancel such a job.
pub(crate) fn submission(grant: &Grant, job: &NewJob) -> Result<(), Problem> {
    shown(grant, job)?;
    // who takes a key that other jobs use, too, keeps these from being submitted
    let is_shared = |scope| match scope {
        UniqueScope::Kind => !grant.has_all_queues(),
        // the only scope for a key that is limited by both
        UniqueScope::Queue => grant.has_all_queues() && !grant.has_all_kinds(),
        UniqueScope::Global => !grant.has_everything(),
    };
    if job.unique.as_ref().is_some_and(|unique| is_shared(unique.scope)) {
        let own = if grant.has_all_queues() { "kind" } else { "queue" };
        return Err(too_wide(&format!(
            "the unique keys of jobs in other queues or kinds; choose the `scope` `{own}`"
        )));
    }
    Ok(())
}

/// Refuses a job of another queue or kind, and one that could cancel such a job.
fn shown(grant: &Grant, job: &NewJob) -> Result<(), Problem> {
    queue(grant, &job.queue)?;
    kind(grant, &job.kind)?;
    let Some(unique) = job.unique.as_ref().filter(|unique| unique.on_conflict == OnConflict::Replace) else {
        return Ok(());
    };
    let is_inside = match unique.scope {
        UniqueScope::Kind => grant.has_all_queues(),
        UniqueScope::Queue => grant.has_all_kinds(),
        UniqueScope::Global => grant.has_everything(),
    };
    if is_inside {
        Ok(())
    } else {
        Err(too_wide(
            "the jobs that a unique key with `on_conflict` `replace` may cancel; choose another `scope`",
        ))
    }
}

/// Refuses a schedule whose jobs the key could not submit.
pub(crate) fn schedule(grant: &Grant, schedule: &Schedule, routes: &RouteTable) -> Result<(), Problem> {
    let job = job_of(schedule, routes);
    if !has_job(grant, &job) {
        return Err(too_wide("a schedule with jobs of another queue or kind"));
    }
    submission(grant, &job)
}

/// Whether the jobs of a schedule are those of queues and kinds that the key includes.
pub(crate) fn has_schedule(grant: &Grant, schedule: &Schedule, routes: &RouteTable) -> bool {
    has_job(grant, &job_of(schedule, routes))
}

fn job_of(schedule: &Schedule, routes: &RouteTable) -> NewJob {
    schedule.clone().routed(routes).job(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH)
}

fn has_job(grant: &Grant, job: &NewJob) -> bool {
    let target = job.on_end.as_ref().and_then(|on_end| on_end.queue.as_ref());
    shown(grant, job).is_ok() && target.is_none_or(|target| grant.has_queue(target))
}

/// Whether the key includes all queues of a worker. One that has not said its queues may work on any.
pub(crate) fn has_worker(grant: &Grant, worker: &WorkerRecord) -> bool {
    let is_granted = |queue: &String| queue.parse().is_ok_and(|queue| grant.has_queue(&queue));
    grant.has_all_queues() || !worker.queues.is_empty() && worker.queues.iter().all(is_granted)
}

/// Refuses a report under the name of a live worker that has other queues: it would be shown as that worker, and get its commands. Costs a
/// statement, for keys that are limited by queue only.
pub(crate) async fn worker_name(
    store: &StoreAccess,
    grant: &Grant,
    name: Option<&WorkerName>,
) -> Result<(), Problem> {
    let Some(name) = name.filter(|_| !grant.has_all_queues()) else { return Ok(()) };
    let id = WorkerId::of_remote(name);
    let found = store.call(move |store| async move { store.worker(id).await }).await?;
    let is_outside = |queue: &String| !queue.parse().is_ok_and(|queue| grant.has_queue(&queue));
    if found.is_some_and(|worker| worker.queues.iter().any(is_outside)) {
        return Err(too_wide(
            "a worker of other queues, which has this name; give the worker another `name`",
        ));
    }
    Ok(())
}

/// Whether a filter for dead letters finds only those that the key includes.
pub(crate) fn has_filter(grant: &Grant, filter: &DeadLetterFilter) -> bool {
    let queues = || !filter.queues.is_empty() && filter.queues.iter().all(|queue| grant.has_queue(queue));
    let kinds = || !filter.kinds.is_empty() && filter.kinds.iter().all(|kind| grant.has_kind(kind));
    (grant.has_all_queues() || queues()) && (grant.has_all_kinds() || kinds())
}

/// Refuses numbers that are not those of one queue and one kind that the key includes, as far as it is limited by them.
pub(crate) fn one_queue_and_kind(
    grant: &Grant,
    name: Option<&QueueName>,
    of_kind: Option<&KindName>,
) -> Result<(), Problem> {
    match name {
        Some(name) => queue(grant, name)?,
        None => all_queues(grant, "all queues; name one with `queue`")?,
    }
    match of_kind {
        Some(name) => kind(grant, name),
        None => all_kinds(grant, "all kinds; name one with `kind`"),
    }
}

/// Refuses a lease of other queues and kinds.
pub(crate) fn lease(grant: &Grant, queues: &[QueueName], kinds: &[KindName]) -> Result<(), Problem> {
    queues.iter().try_for_each(|name| queue(grant, name))?;
    kinds.iter().try_for_each(|name| kind(grant, name))?;
    if kinds.is_empty() {
        all_kinds(grant, "jobs of all kinds; name the kinds that the worker runs")
    } else {
        Ok(())
    }
}

/// Refuses leases of jobs that the key does not include. Costs a statement, for keys with limits only.
pub(crate) async fn leased(store: &StoreAccess, grant: &Grant, ids: Vec<JobId>) -> Result<(), Problem> {
    if grant.has_everything() || ids.is_empty() {
        return Ok(());
    }
    let known = store.call(move |store| async move { store.queues_and_kinds(&ids).await }).await?;
    let is_inside = known.iter().all(|(_, queue, kind)| grant.has_queue(queue) && grant.has_kind(kind));
    if is_inside { Ok(()) } else { Err(too_wide("a job of another queue or kind")) }
}

/// Those of these jobs that the key includes.
pub(crate) async fn only_granted(
    store: &StoreAccess,
    grant: &Grant,
    ids: Vec<JobId>,
) -> Result<Vec<JobId>, Problem> {
    if grant.has_everything() || ids.is_empty() {
        return Ok(ids);
    }
    let wanted = ids.clone();
    let known = store.call(move |store| async move { store.queues_and_kinds(&wanted).await }).await?;
    let is_granted = |id: &JobId| {
        known.iter().any(|(known, queue, kind)| known == id && grant.has_queue(queue) && grant.has_kind(kind))
    };
    Ok(ids.into_iter().filter(is_granted).collect())
}

/// The filter for the jobs that the key includes. `None`: there are none.
pub(crate) async fn jobs(
    store: &StoreAccess,
    grant: &Grant,
    filter: JobFilter,
) -> Result<Option<JobFilter>, Problem> {
    // payloads of webhooks have results, errors and metadata of other jobs
    let hides_payload = grant.hide.hides_payload() || grant.hide.hides_end();
    for (is_hidden, terms, what) in [
        (hides_payload, &filter.payload, "payloads"),
        (grant.hide.hides_metadata(), &filter.metadata, "metadata"),
    ] {
        if is_hidden && !terms.is_empty() {
            return Err(unsearchable(what));
        }
    }
    let queues = queues(store, grant, filter.queues.clone()).await?;
    let kinds = kinds(store, grant, filter.kinds.clone()).await?;
    Ok(queues.zip(kinds).map(|(queues, kinds)| JobFilter { queues, kinds, ..filter }))
}

fn unsearchable(what: &str) -> Problem {
    let detail = format!("the key does not see {what}, or not all of them, so it must not search them");
    Problem::new(ProblemKind::Forbidden, detail)
}

/// Refuses a search for text in messages that the key does not see.
pub(crate) fn messages(grant: &Grant, text: Option<&str>) -> Result<(), Problem> {
    if text.is_some() && grant.hide.hides_error() { Err(unsearchable("messages of errors")) } else { Ok(()) }
}

/// The filter for the dead letters that the key includes. `None`: there are none.
pub(crate) async fn dead_letters(
    store: &StoreAccess,
    grant: &Grant,
    filter: DeadLetterFilter,
) -> Result<Option<DeadLetterFilter>, Problem> {
    messages(grant, filter.text.as_deref())?;
    let queues = queues(store, grant, filter.queues.clone()).await?;
    let kinds = kinds(store, grant, filter.kinds.clone()).await?;
    Ok(queues.zip(kinds).map(|(queues, kinds)| DeadLetterFilter { queues, kinds, ..filter }))
}

/// The wanted queues that the key includes; if none is named, all that it includes. `None`: there are none. An empty list means all.
async fn queues(
    store: &StoreAccess,
    grant: &Grant,
    wanted: Vec<QueueName>,
) -> Result<Option<Vec<QueueName>>, Problem> {
    if grant.has_all_queues() {
        return Ok(Some(wanted));
    }
    let named = if wanted.is_empty() {
        few(store.call(|store| async move { store.queue_names(MAX_NAMES + 1).await }).await?, "queue")?
    } else {
        wanted
    };
    let granted: Vec<QueueName> = named.into_iter().filter(|queue| grant.has_queue(queue)).collect();
    Ok((!granted.is_empty()).then_some(granted))
}

/// The same of kinds.
async fn kinds(
    store: &StoreAccess,
    grant: &Grant,
    wanted: Vec<KindName>,
) -> Result<Option<Vec<KindName>>, Problem> {
    if grant.has_all_kinds() {
        return Ok(Some(wanted));
    }
    let named = if wanted.is_empty() {
        few(store.call(|store| async move { store.kind_names(MAX_NAMES + 1).await }).await?, "kind")?
    } else {
        wanted
    };
    let granted: Vec<KindName> = named.into_iter().filter(|kind| grant.has_kind(kind)).collect();
    Ok((!granted.is_empty()).then_some(granted))
}

fn few<T>(names: Vec<T>, what: &str) -> Result<Vec<T>, Problem> {
    if u32::try_from(names.len()).is_ok_and(|count| count <= MAX_NAMES) {
        return Ok(names);
    }
    let detail = format!("more than {MAX_NAMES} names would have to be compared with the key; name a {what}");
    Err(Problem::new(ProblemKind::FilterTooBroad, detail))
}
