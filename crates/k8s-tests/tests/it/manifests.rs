//! The manifests as objects. Renders them (`kubectl kustomize`) and reads them; checks nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// Every component, by the name of its directory.
pub(crate) const COMPONENTS: [&str; 15] = [
    "cnpg",
    "ingress",
    "keda",
    "keda-routed-workers",
    "limitrange-2to1",
    "managed-postgres",
    "otel",
    "pgbouncer",
    "pod-deletion-cost",
    "prometheus-adapter",
    "prometheus-adapter-routed-workers",
    "routed-workers",
    "schedules",
    "servicemonitor",
    "webhook-egress",
];
const OVERLAYS: [&str; 3] = ["dev", "staging", "prod"];
/// Components that are often combined, in the order that their comments require.
const TOGETHER: [(&str, &[&str]); 3] = [
    (
        "many together",
        &[
            "routed-workers",
            "pod-deletion-cost",
            "pgbouncer",
            "otel",
            "schedules",
            "servicemonitor",
            "limitrange-2to1",
        ],
    ),
    (
        "many with cnpg",
        &[
            "routed-workers",
            "prometheus-adapter",
            "prometheus-adapter-routed-workers",
            "cnpg",
            "pod-deletion-cost",
            "otel",
            "ingress",
            "schedules",
            "servicemonitor",
            "limitrange-2to1",
        ],
    ),
    (
        "many with managed postgres",
        &[
            "routed-workers",
            "managed-postgres",
            "keda",
            "keda-routed-workers",
            "pod-deletion-cost",
            "otel",
            "schedules",
        ],
    ),
];

/// One way to deploy: its name, the components in it and its objects.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) components: Vec<String>,
    pub(crate) objects: Vec<Value>,
}

/// A pod template and the object that contains it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) owner: &'a Value,
    pub(crate) template: &'a Value,
}

static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(|| {
    let base = Variant { name: "base".to_owned(), components: Vec::new(), objects: flat_objects() };
    let mut variants = vec![Ok(base)];
    if !kubectl_renders() {
        println!("SKIPPED in part: no kubectl that renders components; only the base is tested");
        return variants.into_iter().flatten().collect();
    }
    variants.extend(OVERLAYS.iter().map(|name| overlay(name)));
    let alone = |name: &&str| with_components(name, &[needs(name), &[*name]].concat());
    variants.extend(COMPONENTS.iter().map(alone));
    variants.extend(TOGETHER.iter().map(|(name, components)| with_components(name, components)));
    variants.into_iter().map(|variant| variant.unwrap_or_else(|error| panic!("{error}"))).collect()
});

/// Every way to deploy: the base, each overlay, the base with each component, and some components together.
pub(crate) fn variants() -> &'static [Variant] {
    &VARIANTS
}

/// The variant with this name; `None` without a kubectl that can render it.
pub(crate) fn variant(name: &str) -> Option<&'static Variant> {
    let found = variants().iter().find(|variant| variant.name == name);
    assert!(found.is_some() || variants().len() == 1, "no variant {name}");
    found
}

/// The base.
pub(crate) fn base() -> &'static Variant {
    &variants()[0]
}

impl Variant {
    pub(crate) fn has(&self, component: &str) -> bool {
        self.components.iter().any(|name| name == component)
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name))
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        let has_pods = |object: &&Value| {
            ["Deployment", "StatefulSet", "Job", "DaemonSet"].iter().any(|kind| object["kind"] == *kind)
        };
        self.objects.iter().filter(has_pods).map(|owner| Pod { owner, template: &owner["spec"]["template"] })
    }
}

impl<'a> Pod<'a> {
    pub(crate) fn name(&self) -> &'a str {
        text(&self.owner["metadata"]["name"])
    }

    pub(crate) fn spec(&self) -> &'a Value {
        &self.template["spec"]
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        texts(&self.template["metadata"]["labels"])
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        list(&self.spec()["containers"]).iter().chain(list(&self.spec()["initContainers"]))
    }

    /// Our binary in the first container.
    pub(crate) fn binary(&self) -> Option<&'a str> {
        binary(&self.spec()["containers"][0])
    }

    /// Whether it is ours and connects to the database: the command line calls the API instead.
    pub(crate) fn uses_database(&self) -> bool {
        self.binary().is_some_and(|binary| binary != "jobqueue")
    }

    /// Every container that runs one of our binaries, with that binary; the main container comes first.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (&'a Value, &'a str)> + use<'a> {
        self.containers().filter_map(|container| Some((container, binary(container)?)))
    }
}

/// What a container of our images runs: the program of its `command`, or that of the image.
fn binary(container: &Value) -> Option<&str> {
    let image = text(&container["image"]);
    let name = image.rsplit('/').next().unwrap_or(image);
    let own = name.split([':', '@']).next().filter(|name| name.starts_with("jobqueue-"))?;
    let program = list(&container["command"]).first().map(text);
    Some(program.map_or(own, |path| path.rsplit('/').next().unwrap_or(path)))
}

/// A list; empty if the field is missing.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string; empty if the field is missing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A map of strings; empty if the field is missing.
pub(crate) fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files that `kubectl apply -f k8s/` reads, in its order.
pub(crate) fn flat_files() -> Vec<String> {
    let is_read = |name: &String| [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
    let entries = fs::read_dir(root().join("k8s")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| is_read(name) && name != "secret-values.yaml").collect();
    names.sort();
    names
}

/// The objects of a file with one or more documents.
pub(crate) fn parse(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"));
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The objects in the files of the base. The Kustomization does not change them, which `flat` checks.
fn flat_objects() -> Vec<Value> {
    let objects = flat_files().into_iter().flat_map(|name| parse(&read(&format!("k8s/{name}"))));
    let only_local =
        |object: &Value| object["metadata"]["annotations"]["config.kubernetes.io/local-config"] == "true";
    objects.filter(|object| !only_local(object)).collect()
}

/// Components need kubectl 1.21; Debian's version is older.
pub(crate) fn kubectl_renders() -> bool {
    let version = Command::new("kubectl").args(["version", "--client", "-o", "json"]).output();
    let answer: Value =
        version.ok().and_then(|version| serde_json::from_slice(&version.stdout).ok()).unwrap_or_default();
    let renders = text(&answer["kustomizeVersion"]).trim_start_matches('v').starts_with(['4', '5', '6']);
    assert!(renders || !must_not_skip(), "CI is set, and there is no kubectl that renders components");
    renders
}

/// If CI is set, a missing tool is a failure, so that checks are not skipped unnoticed.
pub(crate) fn must_not_skip() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// The objects of a directory with a Kustomization.
pub(crate) fn render(name: &str, directory: &Path) -> Variant {
    try_render(name, directory).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, or the error of kustomize.
fn try_render(name: &str, directory: &Path) -> Result<Variant, String> {
    let output = Command::new("kubectl").arg("kustomize").arg(directory).output().unwrap();
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let objects = parse(&String::from_utf8(output.stdout).unwrap());
    Ok(Variant { name: name.to_owned(), components: Vec::new(), objects })
}

fn overlay(name: &str) -> Result<Variant, String> {
    let kustomization = &parse(&read(&format!("k8s-overlays/{name}/kustomization.yaml")))[0];
    let listed = list(&kustomization["components"]).iter().map(text);
    let components = listed.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
    let rendered = try_render(&format!("overlay {name}"), &root().join("k8s-overlays").join(name))?;
    Ok(Variant { components, ..rendered })
}

/// The components that a component needs.
fn needs(component: &str) -> &'static [&'static str] {
    match component {
        "keda-routed-workers" => &["routed-workers", "keda"],
        "prometheus-adapter-routed-workers" => &["routed-workers", "prometheus-adapter"],
        _ => &[],
    }
}

/// The base with components in this order, or the error of kustomize.
pub(crate) fn with_components(name: &str, components: &[&str]) -> Result<Variant, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kustomize").join(name.replace(' ', "-"));
    fs::create_dir_all(&directory).unwrap();
    let directory = directory.canonicalize().unwrap();
    // kustomize needs relative paths
    let up = "../".repeat(directory.components().count() - 1);
    let base = format!("{up}{}/k8s", root().display().to_string().trim_start_matches('/'));
    let lines: Vec<_> = components.iter().map(|name| format!("  - {base}/components/{name}\n")).collect();
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {base}\ncomponents:\n{}",
        lines.concat()
    );
    fs::write(directory.join("kustomization.yaml"), kustomization).unwrap();
    let components = components.iter().map(|name| (*name).to_owned()).collect();
    Ok(Variant { components, ..try_render(name, &directory)? })
}
