//! The OpenAPI document: complete, committed, and shown without the internet.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use jobqueue_api::{Access, openapi, table};
use serde_json::Value;

use crate::bench::Api;

const REGENERATE: &str = "JOBQUEUE_WRITE_OPENAPI";

fn document() -> Value {
    serde_json::from_str(&openapi::text()).unwrap()
}

#[test]
fn the_committed_document_is_this_one() {
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

/// Other names of a path: with a last slash, and those that Django shops expect.
fn is_alias(path: &str) -> bool {
    path.ends_with('/') || ["/health/live", "/health/startup", "/health/ready"].contains(&path)
}

#[test]
fn every_route_is_described_with_its_key_and_its_refusals() {
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
fn every_reference_leads_somewhere() {
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
async fn the_page_needs_nothing_from_elsewhere() {
    let api = Api::start().await;
    assert_eq!(api.raw("GET", "/docs", &[], b"").await.header("location"), Some("/docs/"));
    let page = api.raw("GET", "/docs/", &[], b"").await;
    assert_eq!(page.status, 200);
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
