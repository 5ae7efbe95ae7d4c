//! The OpenAPI document: it is complete and committed, and its page works without the internet.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use jobqueue_api::{Access, openapi, table};
use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;

const REGENERATE: &str = "JOBQUEUE_WRITE_OPENAPI";

fn document() -> Value {
    serde_json::from_str(&openapi::text()).unwrap()
}

#[test]
fn the_committed_document_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, openapi::text()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == openapi::text(),
        "docs/openapi.json is old: run this test with {REGENERATE}=1, and commit it"
    );
}

/// Whether the path is an alias: with a trailing slash, or one of the Django-style health paths.
fn is_alias(path: &str) -> bool {
    path.ends_with('/') || ["/health/live", "/health/startup", "/health/ready"].contains(&path)
}

#[test]
fn every_route_has_its_authentication_and_errors() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let routes: BTreeSet<(String, String)> = table()
        .into_iter()
        .filter(|route| !is_alias(route.path))
        .map(|route| (route.path.to_owned(), route.method.to_ascii_lowercase()))
        .collect();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(routes, described);
    let mut ids = HashSet::new();
    for route in table().into_iter().filter(|route| !is_alias(route.path)) {
        let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
        let place = format!("{} {}", route.method, route.path);
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{place}: the same operationId twice"
        );
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{place}: no summary");
        let refusal =
            &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
        assert_eq!(refusal, "#/components/schemas/Problem", "{place}");
        match route.access {
            Access::Public => assert!(operation.get("security").is_none(), "{place}"),
            Access::Needs(scope) => assert_eq!(operation["security"][0]["key"][0], scope.as_str(), "{place}"),
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let takes_key = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(takes_key, route.method == "POST", "{place}");
    }
}

#[test]
fn every_reference_has_a_target() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|member| walk(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}

#[tokio::test]
async fn the_page_needs_no_external_resources() {
    let api = Api::start().await;
    assert_eq!(api.raw("GET", "/docs", &[], b"").await.header("location"), Some("/docs/"));
    let page = api.raw("GET", "/docs/", &[], b"").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<title>jobqueue API</title>"), "{}", page.text);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    let names = page.text.split(['"']).filter(|part| part.starts_with("./") || part.starts_with("index"));
    let parts: Vec<&str> = names.collect();
    assert!(parts.len() >= 6, "{parts:?}");
    for part in parts {
        let path = format!("/docs/{}", part.trim_start_matches("./"));
        assert_eq!(api.raw("GET", &path, &[], b"").await.status, 200, "{path}");
    }
    let start = api.raw("GET", "/docs/swagger-initializer.js", &[], b"").await.text;
    assert!(start.contains("/openapi.json") && !start.contains("://"), "{start}");
    assert_eq!(api.raw("GET", "/openapi.json", &[], b"").await.text, openapi::text());
}

/// Sends each example as a reader of the page would.
#[tokio::test]
async fn every_example_is_accepted() {
    let (api, document) = (Api::start().await, document());
    let id = api.enqueue(json!({ "kind": "k", "queue": "default", "delay_seconds": 3600 })).await;
    api.put_schedule("default").await;
    api.put_route("default").await;
    let worker = api.register_worker("ada", "other").await;
    let (key, _) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    let dead = api.ended(Outcome::Discarded(Failure::new("boom", "it broke"))).await;
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("requestBody").is_none() {
                continue;
            }
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            assert!(example.is_object(), "{method} {path} has no example");
            let id = if path.contains("dead-letters") { &dead } else { &id };
            let path = path.replace("{id}", id).replace("{name}", "default").replace("{worker_id}", &worker);
            let path = path.replace("{key_id}", &key);
            let body = example.to_string();
            let headers = ["Content-Type: application/json"];
            let answer = api.send(&method.to_ascii_uppercase(), &path, &headers, body.as_bytes()).await;
            let stale =
                path.contains("/leases/") && answer.status == 409 && answer.problem(409) == "stale-lease";
            assert!(stale || (200..300).contains(&answer.status), "{path}: {answer:?}");
            sent += 1;
        }
    }
    assert!(sent >= 10, "{sent}");
}

#[test]
fn errors_are_described_with_their_headers() {
    let document = document();
    for route in table().into_iter().filter(|route| !is_alias(route.path)) {
        let responses = &document["paths"][route.path][route.method.to_ascii_lowercase()]["responses"];
        let place = format!("{} {}", route.method, route.path);
        let mut names = vec!["400", "422", "503"];
        if route.access != Access::Public {
            names.extend(["401", "403", "429"]);
            assert!(responses["401"]["headers"]["WWW-Authenticate"].is_object(), "{place}");
        }
        if route.accepts.body_bytes.is_some() {
            names.extend(["413", "415"]);
        }
        for name in names {
            assert!(
                responses[name]["description"].as_str().is_some_and(|text| text.len() > 5),
                "{place} {name}"
            );
            let problem = &responses[name]["content"]["application/problem+json"]["schema"]["$ref"];
            let probe = route.access == Access::Public && name == "503";
            assert!(probe || problem == "#/components/schemas/Problem", "{place} {name}: {problem}");
        }
    }
}

/// Calls `check` with every property of a schema, recursively.
fn properties(schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check(name, property);
    }
    for part in ["oneOf", "allOf", "anyOf"].iter().filter_map(|part| schema[part].as_array()).flatten() {
        properties(part, check);
    }
}

#[test]
fn every_property_is_described_and_every_value_of_a_request_is_bounded() {
    let document = document();
    let mut wrong = Vec::new();
    for (schema, content) in document["components"]["schemas"].as_object().unwrap() {
        let names_of_requests = ["RetryPolicy", "Failure", "HeartbeatItemBody", "SettleItem"];
        let is_request = schema.ends_with("Body") || names_of_requests.contains(&schema.as_str());
        properties(content, &mut |name, property| {
            let branches = property["oneOf"].as_array().cloned().unwrap_or_default();
            let described = std::iter::once(property)
                .chain(&branches)
                .any(|part| part["description"].as_str().is_some_and(|text| text.len() > 5));
            if !described {
                wrong.push(format!("{schema}.{name} has no description"));
            }
            let types = &property["type"];
            let is =
                |kind: &str| types == kind || types.as_array().is_some_and(|all| all.contains(&kind.into()));
            let bounds = ["minimum", "maximum", "minLength", "maxLength", "pattern", "enum", "format"];
            let numeric = is("integer") || is("number");
            let bounded = if numeric {
                property["minimum"].is_number() && property["maximum"].is_number()
            } else {
                bounds.iter().any(|bound| property.get(bound).is_some())
            };
            if is_request && (numeric || is("string")) && !bounded {
                wrong.push(format!("{schema}.{name} has no bound"));
            }
        });
    }
    let policies = document["components"]["schemas"]["RetryPolicy"]["oneOf"].as_array().unwrap();
    assert!(policies.iter().all(|policy| policy["title"].is_string()), "a strategy has no title");
    for item in
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        let summary = item["summary"].as_str().unwrap();
        if summary.contains('`') {
            wrong.push(format!("Markdown in a summary, where it is not rendered: {summary}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Follows a reference to the schema that it names.
fn resolved<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.map_or(schema, |pointer| document.pointer(pointer).unwrap())
}

/// Whether a schema says which values are accepted. An array does if its items do.
fn is_bounded(schema: &Value, document: &Value) -> bool {
    let schema = resolved(schema, document);
    let types = &schema["type"];
    let is = |kind: &str| types == kind || types.as_array().is_some_and(|all| all.contains(&kind.into()));
    let has = |bound: &str| schema.get(bound).is_some();
    if is("array") {
        return is_bounded(&schema["items"], document);
    }
    if is("integer") || is("number") {
        return has("minimum") && has("maximum");
    }
    !is("string") || ["maxLength", "pattern", "enum", "format"].into_iter().any(has)
}

/// Calls `check` with the items of every array in a schema.
fn items(value: &Value, check: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(members) => {
            if let Some(items) = members.get("items") {
                check(items);
            }
            members.values().for_each(|member| items(member, check));
        }
        Value::Array(parts) => parts.iter().for_each(|part| items(part, check)),
        _ => {}
    }
}

#[test]
fn every_parameter_and_every_item_of_an_array_is_bounded() {
    let document = document();
    let mut wrong = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if !is_bounded(&parameter["schema"], &document) {
                    wrong.push(format!("{path}: the parameter {} has no bound", parameter["name"]));
                }
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        items(schema, &mut |item| {
            if !is_bounded(item, &document) {
                wrong.push(format!("{name}: an array has items without a bound: {item}"));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
