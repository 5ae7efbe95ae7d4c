//! No request type accepts an array where the OpenAPI document has an object, or an object where it has an enum. The
//! test walks through the document, so it also checks new request types.

use jobqueue_api::openapi;
use serde_json::{Value, json};

use crate::bench::Api;

/// A request body with one value of the wrong shape, the pointer to it, and serde's message.
#[derive(Debug)]
struct Wrong {
    body: Value,
    pointer: String,
    message: &'static str,
}

struct Document(Value);

impl Document {
    fn read() -> Self {
        Self(serde_json::from_str(&openapi::text()).unwrap())
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(self.0.pointer(&reference[1..]).unwrap()),
            None => schema,
        }
    }

    /// The variants of a schema, without `null`.
    fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema["oneOf"].as_array() {
            Some(all) => {
                all.iter().flat_map(|one| self.variants(one)).filter(|one| one["type"] != "null").collect()
            }
            None => vec![schema],
        }
    }

    /// A value of the right shape; its meaning does not matter.
    fn sample(&self, schema: &Value) -> Value {
        let schema = self.variants(schema)[0];
        if let Some(words) = schema["enum"].as_array() {
            return words[0].clone();
        }
        if let Some(properties) = schema["properties"].as_object() {
            return properties.iter().map(|(name, schema)| (name.clone(), self.sample(schema))).collect();
        }
        match word(schema) {
            "array" => json!([self.sample(&schema["items"])]),
            "integer" | "number" => json!(1),
            "boolean" => json!(true),
            "string" if schema["format"] == "date-time" => json!("2027-01-31T09:00:00Z"),
            "string" => json!("x"),
            _ => json!({}),
        }
    }

    /// All bodies in which the value at `pointer`, or a value below it, has the wrong shape.
    fn wrong(&self, schema: &Value, pointer: &str, body: &Value, all: &mut Vec<Wrong>) {
        for variant in self.variants(schema) {
            let (mut body, sample) = (body.clone(), self.sample(variant));
            *body.pointer_mut(pointer).unwrap() = sample.clone();
            let mut add = |value: Value, message| {
                let mut body = body.clone();
                *body.pointer_mut(pointer).unwrap() = value;
                all.push(Wrong { body, pointer: pointer.to_owned(), message });
            };
            if let Some(words) = variant["enum"].as_array() {
                add(json!({ words[0].as_str().unwrap(): null }), "invalid type: map");
                add(json!([words[0]]), "invalid type: sequence");
            } else if let Some(properties) = variant["properties"].as_object() {
                add(sample.as_object().unwrap().values().cloned().collect(), "invalid type: sequence");
                add(json!([]), "invalid type: sequence");
                for (name, schema) in properties {
                    self.wrong(schema, &format!("{pointer}/{name}"), &body, all);
                }
            } else if word(variant) == "array" {
                self.wrong(&variant["items"], &format!("{pointer}/0"), &body, all);
            }
        }
    }
}

/// The type of a schema that may also allow `null`.
fn word(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|word| *word != "null").unwrap(),
        one => one.as_str().unwrap_or_default(),
    }
}

#[tokio::test]
async fn no_request_type_accepts_an_array_for_an_object() {
    let (api, document) = (Api::start().await, Document::read());
    let (key, _) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    let id = api.enqueue_in("q").await;
    let worker = api.register_worker("ada", "other").await;
    let headers = ["Content-Type: application/json"];
    let schedule = br#"{"cron":"0 0 1 1 *","job":{"kind":"k"}}"#;
    api.send("PUT", "/v1/schedules/q", &headers, schedule).await.expect(201);
    api.put_route("q").await;
    let mut checked = 0;
    for (path, item) in document.0["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let mut all = Vec::new();
            document.wrong(schema, "", &document.sample(schema), &mut all);
            assert!(!all.is_empty(), "{method} {path}");
            for wrong in all {
                let path = path.replace("{name}", "q").replace("{worker_id}", &worker).replace("{id}", &id);
                let path = path.replace("{key_id}", &key);
                let body = wrong.body.to_string();
                let answer = api.send(&method.to_ascii_uppercase(), &path, &headers, body.as_bytes()).await;
                assert_eq!(answer.problem(422), "invalid-body", "{path} {wrong:?}");
                let error = &answer.json()["errors"][0];
                assert_eq!(error["pointer"], wrong.pointer, "{path} {wrong:?} {answer:?}");
                assert!(
                    error["message"].as_str().unwrap().starts_with(wrong.message),
                    "{path} {wrong:?} {answer:?}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked}");
    assert_eq!((api.count().await, api.status(&id).await.as_str()), (1, "queued"));
}

#[tokio::test]
async fn arrays_and_objects_that_were_once_accepted_are_rejected() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    for (path, body) in [
        ("/v1/jobs/cancel", r#"{"filter":[["queued"]]}"#),
        ("/v1/jobs/cancel", r#"{"filter":{"status":[{"queued":null}]}}"#),
        ("/v1/jobs", r#"{"kind":"k","retry":["fixed",1]}"#),
        ("/v1/jobs", r#"{"kind":"k","retry":{"strategy":{"fixed":null},"delay_seconds":1}}"#),
        ("/v1/jobs", r#"{"kind":"k","unique":{"key":"a","scope":{"queue":null}}}"#),
        ("/v1/jobs", r#"{"kind":"k","unique":{"key":"a","statuses":[{"queued":null}]}}"#),
        ("/v1/jobs/batch", r#"[[{"kind":"k"}],true]"#),
        ("/v1/jobs/batch", r#"{"jobs":[["q","k"]]}"#),
        ("/v1/leases/settle", r#"{"items":[{"lease":"x","outcome":{"completed":null}}]}"#),
        ("/v1/leases/heartbeat", r#"{"leases":[["x"]]}"#),
    ] {
        assert_eq!(api.post_text(path, body).await.problem(422), "invalid-body", "{body}");
    }
    assert_eq!((api.count().await, api.status(&id).await.as_str()), (1, "queued"));
}
