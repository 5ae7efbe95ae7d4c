//! The test vectors of submissions, over REST. The tests of the core and of the store use the same ones.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bench::Api;

const VECTORS: &str = include_str!("../../../core/tests/vectors/submissions.json");

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    submission: &'a RawValue,
    /// The pointer of the first error; `None` if the submission is valid.
    error: Option<String>,
    /// Whether the JSON is ambiguous and therefore rejected before any field is checked.
    #[serde(default)]
    malformed: bool,
}

#[tokio::test]
async fn each_submission_has_its_verdict() {
    let api = Api::start().await;
    let vectors: Vec<Vector<'_>> = serde_json::from_str(VECTORS).unwrap();
    let mut wrong = Vec::new();
    for Vector { submission, error, malformed } in vectors {
        let answer = api.post_text("/v1/jobs", submission.get()).await;
        let right = match &error {
            None => answer.status == 201,
            Some(_) if malformed => answer.status == 400,
            Some(pointer) => answer.status == 422 && answer.pointers().first() == Some(pointer),
        };
        if !right {
            wrong.push(format!("{error:?} {submission} {} {:.200}", answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
