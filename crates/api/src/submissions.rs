//! What the routes that submit jobs use. Owns the way of a submission from its draft to its commit; the checks are
//! those of the core.

use std::sync::Arc;

use jobqueue_core::{FieldError, Grant, JobDraft, JobId, Limits, NewJob, RouteTable};
use jobqueue_store::{Answer, Notifier, Store, StoreError, Submission};

use crate::body_memory::BodyMemory;
use crate::keys::limits;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::submitter::{Submitter, startable};

/// Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Submissions(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// Has connections of its own: a submission never waits for a connection that readers hold.
    store: StoreAccess,
    /// For the routes: with the connections of plain submissions, so that these never wait for those that have a key.
    routes: StoreAccess,
    submitter: Submitter,
    limits: Limits,
    notifier: Notifier,
}

impl Submissions {
    /// The stores are that of submissions and that of routes.
    pub(crate) fn new(
        [store, routes]: [StoreAccess; 2],
        submitter: Submitter,
        limits: Limits,
        notifier: Notifier,
    ) -> Self {
        Self(Arc::new(Parts { store, routes, submitter, limits, notifier }))
    }

    /// Stores one job, in one transaction with others that arrive at the same time.
    pub(crate) async fn submit(&self, submission: Submission, memory: BodyMemory) -> Result<Answer, Problem> {
        let answer = self.0.submitter.submit(submission, memory).await?;
        self.0.submitter.note(&answer);
        Ok(answer)
    }

    /// Stores a batch in a transaction of its own.
    pub(crate) async fn submit_batch(&self, submission: Submission) -> Result<Answer, Problem> {
        let submission = self.0.submitter.named(submission).await?;
        let (answer, submission) = self
            .call(|store| async move {
                let mut answers = store.enqueue(std::slice::from_ref(&submission)).await?;
                Ok((answers.pop(), submission))
            })
            .await?;
        let answer = answer.ok_or_else(Problem::internal)?;
        self.0.submitter.note(&answer);
        for queue in startable(&submission, &answer) {
            self.0.notifier.wake(queue);
        }
        Ok(answer)
    }

    /// The limits of a job, without the time.
    pub(crate) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The job of a draft, with the defaults of the first route for its kind, or what is wrong with it. Fails if its queue or kind is none of
    /// the grant.
    pub(crate) async fn job(
        &self,
        draft: JobDraft,
        grant: &Grant,
    ) -> Result<Result<NewJob, Vec<FieldError>>, Problem> {
        limits::webhook(grant, draft.on_end.is_some())?;
        if grant.has_everything() {
            return self.routed(draft).await;
        }
        limits::draft(grant, &draft)?;
        let job = self.routed(draft).await?;
        if let Ok(job) = &job {
            limits::submission(grant, job)?;
        }
        Ok(job)
    }

    /// Those of these jobs that the grant includes.
    pub(crate) async fn granted(&self, grant: &Grant, ids: Vec<JobId>) -> Result<Vec<JobId>, Problem> {
        limits::only_granted(&self.0.store, grant, ids).await
    }

    async fn routed(&self, mut draft: JobDraft) -> Result<Result<NewJob, Vec<FieldError>>, Problem> {
        let routes = self.routes().await?;
        let Some(route) = routes.find(&draft.kind) else {
            let limits = self.limits_of(draft.has_timestamp()).await?;
            return Ok(NewJob::parse(draft, &limits));
        };
        let has_timestamp = draft.has_timestamp() || route.expires_after(&draft).is_some();
        let limits = self.limits_of(has_timestamp).await?;
        route.fill(&mut draft, limits.now);
        Ok(NewJob::parse(draft, &limits))
    }

    /// The routes that apply now. The database is asked only if they were not checked recently.
    pub(crate) async fn routes(&self) -> Result<Arc<RouteTable>, Problem> {
        match self.0.store.store().recent_route_table() {
            Some(routes) => Ok(routes),
            None => self.0.routes.call(|store| async move { store.route_table().await }).await,
        }
    }

    /// The limits of a new job, with the database's time if the job has a timestamp. The database is asked only until
    /// its time is known; after that, its last answer is carried forward. Each check of the routes brings a new one.
    pub(crate) async fn limits_of(&self, has_timestamp: bool) -> Result<Limits, Problem> {
        let limits = self.0.limits;
        if !has_timestamp {
            return Ok(limits);
        }
        let now = match self.0.store.store().last_known_time() {
            Some(now) => Some(now),
            None => self.call(|store| async move { store.time().await }).await?,
        };
        Ok(Limits { now, ..limits })
    }

    /// Makes a store call for a submission: see [`StoreAccess::call`].
    pub(crate) async fn call<T, F, Fut>(&self, call: F) -> Result<T, Problem>
    where
        F: FnOnce(Store) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.0.store.call(call).await
    }

    /// The number of submissions that wait for their commit.
    pub(crate) fn waiting(&self) -> usize {
        self.0.submitter.waiting()
    }
}
