//! Refusals of the API (RFC 9457) as one sentence and an exit code.

use reqwest::StatusCode;
use serde_json::value::RawValue;

use crate::exit::{CommandError, Exit};
use crate::raw::Fields;
use crate::table::printable;

/// The error for a problem document.
pub(crate) fn refusal(status: StatusCode, document: &RawValue) -> CommandError {
    let fields = Fields::of(document);
    let said = explanation(&fields);
    match status {
        StatusCode::UNAUTHORIZED => CommandError::new(
            Exit::Refused,
            "the API does not accept the key; set JOBQUEUE_API_KEY, JOBQUEUE_API_KEY_FILE or the key file of the context",
        ),
        StatusCode::FORBIDDEN => {
            CommandError::new(Exit::Refused, format!("the key may not do this: {said}; use another key"))
        }
        StatusCode::NOT_FOUND => CommandError::new(Exit::NotFound, format!("not found: {said}")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => CommandError::new(
            Exit::Unreachable,
            format!("the API is not available: {said}; repeat the command later"),
        ),
        status if status.is_server_error() => {
            let id = fields.text("request_id");
            CommandError::new(
                Exit::Refused,
                format!("the API failed ({status}): {said}; its log has the request id {id}"),
            )
        }
        _ => CommandError::new(Exit::Refused, format!("the API refused: {said}")),
    }
}

/// The detail, then each field with its mistake.
pub(crate) fn explanation(problem: &Fields<'_>) -> String {
    let (detail, title) = (problem.text("detail"), problem.text("title"));
    let errors: Vec<String> = problem
        .items("errors")
        .into_iter()
        .map(|error| {
            let error = Fields::of(error);
            let place =
                if error.raw("pointer").is_some() { error.text("pointer") } else { error.text("parameter") };
            format!("{} {}", place.trim_start_matches('/'), error.text("message")).trim().to_owned()
        })
        .collect();
    let said = match (errors.is_empty(), detail.is_empty()) {
        (false, _) => errors.join("; "),
        (true, false) => detail,
        (true, true) => title,
    };
    printable(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, document: &str) -> CommandError {
        let document = RawValue::from_string(document.to_owned()).unwrap();
        refusal(StatusCode::from_u16(status).unwrap(), &document)
    }

    #[test]
    fn a_refusal_is_one_sentence() {
        let invalid = of(
            422,
            r#"{"title": "Invalid body", "detail": "see `errors`", "errors": [{"pointer": "/priority", "message": "must be between -100 and 100"}, {"parameter": "limit", "message": "must be positive"}]}"#,
        );
        assert_eq!(invalid.exit, Exit::Refused);
        assert_eq!(
            invalid.to_string(),
            "the API refused: priority must be between -100 and 100; limit must be positive"
        );
        let absent = of(404, r#"{"title": "Not found", "detail": "no job has this id"}"#);
        assert_eq!(
            (absent.exit, absent.to_string().as_str()),
            (Exit::NotFound, "not found: no job has this id")
        );
        assert_eq!(of(401, "{}").exit, Exit::Refused);
        assert_eq!(of(503, "{}").exit, Exit::Unreachable);
    }
}
