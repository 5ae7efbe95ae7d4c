//! A fake Kubernetes API server for `kubectl apply`: it has the kinds of the base, stores objects, and merges patches.
//! It has no admission and no defaults. Values of a Secret are stored unchanged, without base64.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Group (empty: core), version, plural and kind of the objects of the base.
const KINDS: [(&str, &str, &str, &str); 12] = [
    ("", "v1", "namespaces", "Namespace"),
    ("", "v1", "secrets", "Secret"),
    ("", "v1", "configmaps", "ConfigMap"),
    ("", "v1", "services", "Service"),
    ("", "v1", "serviceaccounts", "ServiceAccount"),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("apps", "v1", "deployments", "Deployment"),
    ("apps", "v1", "statefulsets", "StatefulSet"),
    ("batch", "v1", "jobs", "Job"),
    ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
];

/// A server that runs until the tests end.
#[derive(Clone)]
pub(crate) struct Cluster {
    port: u16,
    /// The objects by their paths.
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cluster = Self { port: listener.local_addr().unwrap().port(), objects: Arc::default() };
        let serving = cluster.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                // an error means that the client closed the connection
                thread::spawn(move || serving.serve(&stream.unwrap()).ok());
            }
        });
        cluster
    }

    /// Runs the real kubectl against this server, without schema validation.
    pub(crate) fn kubectl(&self, directory: &std::path::Path, arguments: &[&str]) -> Output {
        let cache = directory.join("cache");
        Command::new("kubectl")
            .args(["--server", &format!("http://127.0.0.1:{}", self.port), "--cache-dir"])
            .arg(cache)
            .args(arguments)
            .args(["--validate=false"])
            .env("KUBECONFIG", "/nonexistent")
            .current_dir(directory)
            .output()
            .unwrap()
    }

    /// An object, or null.
    pub(crate) fn object(&self, path: &str) -> Value {
        self.objects.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    /// The kinds of all objects, with repetitions.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        let mut kinds: Vec<_> =
            objects.values().map(|object| object["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.split('?').next().unwrap();
        let (status, answer) = self.answer(method, path, &serde_json::from_slice(&body).unwrap_or_default());
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        if let Some(found) = discovery(path) {
            return (200, found);
        }
        let mut objects = self.objects.lock().unwrap();
        let namespace = "/api/v1/namespaces/jobqueue";
        match method {
            "POST" if !path.ends_with("/v1/namespaces") && !objects.contains_key(namespace) => {
                (404, failure("namespaces \"jobqueue\" not found"))
            }
            "POST" => {
                let mut created = body.clone();
                keep_values(&mut created);
                let name = created["metadata"]["name"].as_str().unwrap();
                objects.insert(format!("{path}/{name}"), created.clone());
                (201, created)
            }
            _ => match objects.get_mut(path) {
                None => (404, failure(&format!("{path} not found"))),
                Some(object) => {
                    if method == "PATCH" {
                        merge(object, body);
                        keep_values(object);
                    }
                    (200, object.clone())
                }
            },
        }
    }
}

/// Moves the values of `stringData` to `data`. Other values of `data` stay.
fn keep_values(object: &mut Value) {
    let Some(given) = object.as_object_mut().unwrap().remove("stringData") else { return };
    if given.is_object() {
        merge(&mut object["data"], &given);
    }
}

/// Applies a JSON merge patch. For objects without lists, a strategic merge patch is the same.
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn failure(message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": message})
}

/// The discovery documents: groups, versions and kinds.
fn discovery(path: &str) -> Option<Value> {
    let versions = |group: &str, version: &str| {
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"name": group, "versions": [version.clone()], "preferredVersion": version})
    };
    let groups = KINDS.iter().filter(|(group, ..)| !group.is_empty());
    let groups: BTreeMap<_, _> =
        groups.map(|(group, version, ..)| (group, versions(group, version))).collect();
    match path {
        "/api" => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => {
            let groups: Vec<_> = groups.into_values().collect();
            return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        }
        _ => {}
    }
    let (group, version) = match path.strip_prefix("/apis/") {
        Some(rest) => rest.split_once('/')?,
        None => ("", path.strip_prefix("/api/")?),
    };
    let known = KINDS.iter().filter(|kind| (kind.0, kind.1) == (group, version));
    let resources: Vec<_> = known
        .map(|(.., plural, kind)| {
            json!({"name": plural, "singularName": "", "namespaced": *kind != "Namespace", "kind": kind,
                "verbs": ["create", "get", "list", "patch", "update"]})
        })
        .collect();
    let full = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty())
        .then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": full, "resources": resources}))
}
