//! The test vectors of submissions, in SQL. The tests of the core and of the API use the same ones.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::Row as _;
use uuid::Uuid;

use crate::bench::Bench;

const VECTORS: &str = include_str!("../../../core/tests/vectors/submissions.json");

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    submission: &'a RawValue,
    /// The pointer of the first error; `None` if the submission is valid.
    error: Option<String>,
    /// Why SQL accepts it although REST does not.
    not_in_sql: Option<String>,
    /// Whether the JSON is ambiguous, which a value of type jsonb never is.
    #[serde(default)]
    malformed: bool,
    /// How SQL rejects it if not by a check of the function, but by the types of its parameters.
    sqlstate: Option<String>,
}

/// The types of the JSON parameters of a call.
const TYPES: [&str; 3] = ["", "::json", "::jsonb"];

/// A call of `jobqueue.enqueue` with the fields of a submission, in any order.
fn call(submission: &RawValue, json_type: &str) -> String {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(submission.get()).unwrap();
    let mut arguments: Vec<String> =
        fields.iter().map(|(name, value)| argument(name, value.get(), json_type)).collect();
    if !fields.contains_key("kind") {
        arguments.push("kind => NULL".to_owned());
    }
    format!("SELECT jobqueue.enqueue({})", arguments.join(", "))
}

fn argument(name: &str, value: &str, json_type: &str) -> String {
    let value = match (name, serde_json::from_str::<serde_json::Value>(value)) {
        ("payload", _) => format!("$json${value}$json${json_type}"),
        (_, Ok(serde_json::Value::Null)) => "NULL".to_owned(),
        ("retry" | "unique" | "metadata" | "on_end", _) => format!("$json${value}$json${json_type}"),
        ("run_at" | "expires_at", Ok(serde_json::Value::String(text))) => quoted(&text),
        (_, Ok(serde_json::Value::String(text))) => format!("{}::text", quoted(&text)),
        (_, Ok(serde_json::Value::Array(items))) if items.is_empty() => "'{}'::text[]".to_owned(),
        (_, Ok(serde_json::Value::Array(items))) => {
            let items = items.iter().map(|item| item.as_str().map_or(item.to_string(), quoted));
            format!("ARRAY[{}]", items.collect::<Vec<_>>().join(","))
        }
        (_, value) => value.unwrap().to_string(),
    };
    format!("\"{name}\" => {value}")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[tokio::test]
async fn each_submission_has_its_verdict() {
    let bench = Bench::new().await;
    let vectors: Vec<Vector<'_>> = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors.iter().filter(|vector| vector.not_in_sql.is_none()) {
        for json_type in TYPES.into_iter().filter(|json_type| !vector.malformed || *json_type != "::jsonb") {
            let call = call(vector.submission, json_type);
            let mut transaction = bench.pool.begin().await.unwrap();
            let outcome = sqlx::query(&call).fetch_one(&mut *transaction).await;
            match (outcome, &vector.error) {
                (Ok(row), None) => {
                    row.get::<Uuid, _>(0);
                    // runs the checks of the commit and rolls back, so that no job holds a key of the next ones
                    sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *transaction).await.unwrap();
                }
                (Err(error), Some(pointer)) => {
                    let error = error.as_database_error().unwrap();
                    // the type jsonb itself rejects some texts
                    let jsonb = json_type == "::jsonb" && error.code().unwrap().starts_with("22P");
                    if let Some(state) = &vector.sqlstate {
                        assert_eq!(error.code().unwrap(), state.as_str(), "{call}: {error}");
                    } else if !jsonb {
                        assert_eq!(error.code().unwrap(), "22023", "{call}: {error}");
                        let named = error.message().split(' ').next().unwrap();
                        assert_eq!(format!("/{named}"), *pointer, "{call}: {error}");
                    }
                }
                (Ok(_), Some(pointer)) => panic!("{pointer} is accepted: {call}"),
                (Err(error), None) => panic!("{call}: {error}"),
            }
        }
    }
}
