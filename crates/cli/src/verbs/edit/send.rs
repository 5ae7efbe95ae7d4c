//! The request that changes a job.

use reqwest::Method;
use serde_json::value::RawValue;

use crate::client::{Ask, Client};
use crate::exit::CommandResult;

/// Sends a patch, with the version that it may change. Returns the job afterwards.
pub(super) async fn send(
    client: &Client,
    id: &str,
    patch: &str,
    if_match: Option<&str>,
) -> CommandResult<Box<RawValue>> {
    let of_job = ["v1", "jobs", id];
    client.ask(Ask { body: Some(patch), if_match, ..Ask::new(&Method::PATCH, &of_job) }).await
}
