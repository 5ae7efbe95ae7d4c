//! The job that takes the place of a dead letter: the same, with another payload.

use crate::field::FieldError;
use crate::job::{JobRecord, NewJob, Start};
use crate::json::Json;
use crate::limits::{DEFAULT_MAX_SNOOZES, Limits};
use crate::unique::Unique;

/// The member of the metadata that names the job that was replaced.
pub const RETRY_OF: &str = "retry_of";

/// A new job like `old`, with this payload and unique key. Its metadata names the old one. It starts at once, whenever the old one was to start.
pub fn replacement(
    old: &JobRecord,
    unique: Option<Unique>,
    payload: Json,
    limits: &Limits,
) -> Result<NewJob, Vec<FieldError>> {
    if payload.len() > limits.payload_bytes {
        let message = format!("must have at most {} bytes of JSON", limits.payload_bytes);
        return Err(vec![FieldError::new("/payload", "too_long", message)]);
    }
    let job = old.job.clone();
    let mark = Json::parse(format!(r#"{{"{RETRY_OF}":"{}"}}"#, job.id));
    let metadata = mark
        .and_then(|mark| job.metadata.as_ref().map_or(Ok(mark.clone()), |metadata| metadata.merged(&mark)));
    Ok(NewJob {
        queue: job.queue,
        kind: job.kind,
        payload,
        priority: job.priority,
        start: Start::Now,
        expires_at: job.expires_at,
        max_attempts: job.max_attempts,
        max_snoozes: Some(old.max_snoozes).filter(|most| *most != DEFAULT_MAX_SNOOZES),
        retry: job.retry,
        timeout: job.timeout,
        soft_timeout: job.soft_timeout,
        unique,
        tags: job.tags,
        // the metadata of a stored job is an object
        metadata: metadata.ok().or(job.metadata),
        traceparent: job.traceparent,
        // the secret of the old one cannot be read
        on_end: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;
    use crate::status::Status;

    fn record(metadata: Option<&str>) -> JobRecord {
        let metadata = metadata.map(|text| Json::parse(text.to_owned()).unwrap());
        JobRecord {
            job: crate::job::Job { metadata, tags: vec!["a".to_owned()], ..job() },
            status: Status::Failed,
            created_at: chrono::DateTime::default(),
            run_at: None,
            started_at: None,
            finished_at: None,
            worker_id: None,
            lease_expires_at: None,
            cancel_requested: false,
            snoozes: 3,
            max_snoozes: DEFAULT_MAX_SNOOZES,
            result: None,
            error: None,
            webhook_url: None,
        }
    }

    #[test]
    fn it_differs_in_the_payload_and_names_the_old_job() {
        let payload = || Json::parse("[1]".to_owned()).unwrap();
        for (metadata, expected) in
            [(None, "{".to_owned()), (Some(r#"{"a":1,"retry_of":"x"}"#), r#"{"a":1,"#.to_owned())]
        {
            let old = record(metadata);
            let new = replacement(&old, None, payload(), &Limits::default()).unwrap();
            let expected = format!(r#"{expected}"retry_of":"{}"}}"#, old.job.id);
            assert_eq!(new.metadata.unwrap().as_str(), expected);
            assert_eq!((new.payload.as_str(), &new.tags, new.max_snoozes), ("[1]", &old.job.tags, None));
            assert_eq!(
                (new.queue, new.kind, new.max_attempts),
                (old.job.queue, old.job.kind, old.job.max_attempts)
            );
        }
    }

    #[test]
    fn a_payload_that_is_too_large_is_refused() {
        let limits = Limits { payload_bytes: 2, ..Limits::default() };
        let errors =
            replacement(&record(None), None, Json::parse("[1]".to_owned()).unwrap(), &limits).unwrap_err();
        assert_eq!(errors[0].pointer, "/payload");
    }
}
