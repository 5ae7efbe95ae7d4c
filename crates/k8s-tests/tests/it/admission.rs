//! The admission policy of the component `pod-deletion-cost`: its expressions are evaluated on pods before and after a
//! change.

use std::sync::Arc;

use cel::{Context, Env, Value as Cel, to_value};
use serde_json::{Value, json};

use crate::manifests::{list, text, variant};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const POD: &str = "authentication.kubernetes.io/pod-name";

/// A request to change a pod.
struct Change {
    user: &'static str,
    extra: Value,
    before: Value,
    after: Value,
}

impl Change {
    /// As the API server passes it: empty values are omitted.
    fn user_info(&self) -> Value {
        let mut info = json!({ "username": self.user });
        if self.extra != json!({}) {
            info["extra"] = self.extra.clone();
        }
        info
    }
}

fn evaluate(expression: &str, variables: &[(String, Cel)]) -> Cel {
    let env = Arc::new(Env::stdlib());
    let program = env.compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut context = Context::with_env(env);
    for (name, value) in variables {
        context.add_variable_from_value(name.clone(), value.clone());
    }
    program.execute(&context).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Whether the policy admits the change; `None` if it does not apply to it.
fn admits(spec: &Value, change: &Change) -> Option<bool> {
    let request = json!({
        "name": change.before["metadata"]["name"],
        "namespace": "jobqueue",
        "userInfo": change.user_info(),
    });
    let given = [("request", &request), ("oldObject", &change.before), ("object", &change.after)];
    let mut known: Vec<(String, Cel)> =
        given.into_iter().map(|(name, value)| (name.to_owned(), to_value(value).unwrap())).collect();
    let is_true = |condition: &Value, known: &[(String, Cel)]| {
        evaluate(text(&condition["expression"]), known) == Cel::Bool(true)
    };
    if !list(&spec["matchConditions"]).iter().all(|condition| is_true(condition, &known)) {
        return None;
    }
    let mut variables = std::collections::HashMap::new();
    for variable in list(&spec["variables"]) {
        let value = evaluate(text(&variable["expression"]), &known);
        variables.insert(text(&variable["name"]).to_owned(), value);
    }
    known.push(("variables".to_owned(), variables.into()));
    Some(list(&spec["validations"]).iter().all(|validation| is_true(validation, &known)))
}

fn pod(annotations: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "worker-7", "labels": { "a": "b" }, "ownerReferences": [{ "name": "set" }], "finalizers": ["theirs"] },
        "spec": { "containers": [{ "image": "worker" }] },
    });
    if !annotations.is_null() {
        pod["metadata"]["annotations"] = annotations;
    }
    pod
}

#[test]
fn a_worker_may_change_the_cost_of_its_own_pod_and_nothing_else() {
    let Some(variant) = variant("pod-deletion-cost") else { return };
    let spec = &variant.get("ValidatingAdmissionPolicy", "jobqueue-worker-own-pod")["spec"];
    let worker = "system:serviceaccount:jobqueue:jobqueue-worker";
    let own = json!({ POD: ["worker-7"] });
    let change = |before: Value, after: Value| Change { user: worker, extra: own.clone(), before, after };
    let passes = |change: &Change| admits(spec, change);
    let (bare, low, high) =
        (pod(Value::Null), pod(json!({ COST: "1" })), pod(json!({ COST: "2", "x": "y" })));
    for (before, after) in
        [(&bare, &low), (&low, &bare), (&low, &pod(json!({ COST: "3" }))), (&pod(json!({ "x": "y" })), &high)]
    {
        assert_eq!(passes(&change(before.clone(), after.clone())), Some(true), "{before} → {after}");
    }
    let with = |path: &str, value: Value| {
        let mut changed = low.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed
    };
    for after in [
        pod(json!({ COST: "1", "other": "1" })),
        with("/metadata/labels", json!({ "a": "c" })),
        with("/metadata/finalizers", json!(["mine"])),
        with("/metadata/ownerReferences", json!([])),
        with("/spec/containers", json!([{ "image": "other" }])),
    ] {
        assert_eq!(passes(&change(low.clone(), after.clone())), Some(false), "{after}");
    }
    assert_eq!(
        passes(&change(high.clone(), pod(json!({ COST: "2" })))),
        Some(false),
        "removes an annotation"
    );
    for extra in [json!({ POD: ["worker-8"] }), json!({})] {
        let other = Change { extra, ..change(bare.clone(), low.clone()) };
        assert_eq!(passes(&other), Some(false), "another pod: {}", other.extra);
    }
    let kubelet =
        Change { user: "system:node:n1", ..change(bare.clone(), with("/spec/containers", json!([]))) };
    assert_eq!(passes(&kubelet), None, "others are none of its business");
}

#[test]
fn the_token_may_patch_pods_and_the_policy_is_bound() {
    let Some(variant) = variant("pod-deletion-cost") else { return };
    let rules = &variant.get("Role", "jobqueue-worker-own-pod")["rules"];
    assert_eq!(*rules, json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["patch"] }]));
    let binding = &variant.get("ValidatingAdmissionPolicyBinding", "jobqueue-worker-own-pod")["spec"];
    assert_eq!(*binding, json!({ "policyName": "jobqueue-worker-own-pod", "validationActions": ["Deny"] }));
    let constraints =
        &variant.get("ValidatingAdmissionPolicy", "jobqueue-worker-own-pod")["spec"]["matchConstraints"];
    let rule = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"] }]);
    assert_eq!(constraints["resourceRules"], rule, "a patch is an update");
    let policy = &variant.get("ValidatingAdmissionPolicy", "jobqueue-worker-own-pod")["spec"];
    assert_eq!(policy["failurePolicy"], "Fail");
    let subject = &variant.get("RoleBinding", "jobqueue-worker-own-pod")["subjects"][0];
    assert_eq!((&subject["name"], &subject["namespace"]), (&json!("jobqueue-worker"), &json!("jobqueue")));
}

/// Also the workers of the pools, if that component comes first.
#[test]
fn every_worker_has_its_pod_name_and_the_token_and_no_other_pod_does() {
    for (name, pools) in [("pod-deletion-cost", 1), ("many together", 8), ("many with cnpg", 8)] {
        let Some(variant) = variant(name) else { return };
        let mut workers = 0;
        for pod in variant.pods() {
            let spec = &pod.template["spec"];
            let has_token = list(&spec["volumes"]).iter().any(|volume| volume["name"] == "service-account");
            let is_worker = pod.binary() == Some("jobqueue-worker");
            assert_eq!(has_token, is_worker, "{name}: {}", pod.name());
            if is_worker {
                workers += 1;
                let worker = &spec["containers"][0];
                let named = list(&worker["env"]).iter().find(|env| env["name"] == "WORKER_POD_NAME").unwrap();
                assert_eq!(named["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
                assert_eq!(spec["serviceAccountName"], "jobqueue-worker", "the subject of the policy");
                let mounts = |container: &Value| {
                    list(&container["volumeMounts"]).iter().any(|mount| mount["name"] == "service-account")
                };
                assert!(
                    mounts(worker) && !list(&spec["initContainers"]).iter().any(mounts),
                    "{}",
                    pod.name()
                );
            }
        }
        assert_eq!(workers, pools, "{name}");
    }
}
