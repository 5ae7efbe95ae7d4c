//! The Dockerfiles and `compose.yaml` agree with each other and with the manifests. `scripts/container-test` builds and
//! runs them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::environment::{command, variables, variables_of_the_client};
use crate::manifests::{base, list, parse, read, text, texts};

const NAMES: [&str; 3] = ["api", "worker", "reaper"];

/// The instructions of a Dockerfile, without comments and with continuation lines joined.
fn instructions(name: &str) -> Vec<String> {
    let file = read(&format!("Dockerfile.{name}"));
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.lines().map(words).filter(|line| !line.is_empty()).collect()
}

/// The build stage and the run stage: the instructions before and after the second `FROM`.
fn stages(name: &str) -> (Vec<String>, Vec<String>) {
    let mut build = instructions(name);
    let second = build.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let run = build.split_off(second);
    (build, run)
}

#[test]
fn one_stage_builds_for_all_images_so_that_they_share_its_layers() {
    let (build, _) = stages("api");
    assert!(build.iter().any(|line| line.contains("cargo build --locked")), "{build:?}");
    assert!(build.iter().any(|line| line.contains("SQLX_OFFLINE=true")), "{build:?}");
    for name in NAMES {
        assert_eq!(stages(name).0, build, "Dockerfile.{name}");
        assert!(build.iter().any(|line| line.contains(&format!("--package jobqueue-{name}"))));
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        assert!(!manifest.contains("[features]"), "{name}: the build leaves out its default features");
    }
    assert!(
        build.iter().any(|line| line.contains("--package jobqueue-cli --no-default-features")),
        "{build:?}"
    );
}

#[test]
fn an_image_contains_its_program_and_runs_it_as_the_user_of_the_manifests() {
    for name in NAMES {
        let (_, run) = stages(name);
        let binary = format!("/usr/local/bin/jobqueue-{name}");
        assert_eq!(run[0], "FROM gcr.io/distroless/cc-debian12:nonroot");
        let copies: Vec<_> =
            run.iter().filter(|line| line.starts_with("COPY") || line.starts_with("ADD")).collect();
        let copy = |program: &str| format!("COPY --from=build /out/{program} /usr/local/bin/{program}");
        let mut wanted = vec![copy(&format!("jobqueue-{name}"))];
        wanted.extend((name == "api").then(|| copy("jobqueue")));
        assert_eq!(copies, wanted.iter().collect::<Vec<_>>(), "{name}");
        assert!(!run.iter().any(|line| line.starts_with("RUN")), "{name}: there is no shell to run it");
        assert!(run.contains(&format!("ENTRYPOINT [\"{binary}\"]")), "{name}");
        let version = format!("ARG VERSION={}", env!("CARGO_PKG_VERSION"));
        assert!(run.contains(&version), "{name}: the version of the workspace");
        let label = format!("org.opencontainers.image.title=\"jobqueue-{name}\"");
        assert!(run.iter().any(|line| line.starts_with("LABEL") && line.contains(&label)), "{name}");

        let pod = &base().get("Deployment", &format!("jobqueue-{name}"))["spec"]["template"]["spec"];
        let context = &pod["securityContext"];
        assert!(run.contains(&format!("USER {}:{}", context["runAsUser"], context["runAsGroup"])), "{name}");
        assert!(pod["containers"][0]["command"].is_null(), "{name}: the image sets its program");
        let exposed: BTreeSet<_> = run
            .iter()
            .filter_map(|line| line.strip_prefix("EXPOSE "))
            .flat_map(str::split_whitespace)
            .collect();
        let ports = list(&pod["containers"][0]["ports"]).iter().map(|port| port["containerPort"].to_string());
        let ports: Vec<_> = ports.collect();
        assert_eq!(exposed, ports.iter().map(String::as_str).collect(), "{name}");
    }
}

/// All labels come from build arguments that are derived from the commit, so that the same source code gives the same
/// image.
#[test]
fn every_image_has_labels_of_its_source_and_every_documented_build_sets_them() {
    let arguments = ["VERSION", "REVISION", "CREATED", "SOURCE"];
    for name in NAMES {
        let (build, run) = stages(name);
        for argument in arguments {
            let label = format!("org.opencontainers.image.{}=\"${argument}\"", argument.to_lowercase());
            assert!(run.iter().any(|line| line.starts_with("LABEL") && line.contains(&label)), "{label}");
            assert!(run.iter().any(|line| line.starts_with(&format!("ARG {argument}="))), "{argument}");
        }
        let clocks = ["$(date", "`date"];
        assert!(!build.iter().chain(&run).any(|line| clocks.iter().any(|clock| line.contains(clock))));
    }
    for page in ["docs/operations.md", "k8s/ci-cd-example.yaml"] {
        for argument in ["SOURCE_DATE_EPOCH", "REVISION", "CREATED", "SOURCE"] {
            assert!(read(page).contains(&format!("--build-arg {argument}=")), "{page}: {argument}");
        }
    }
}

#[test]
fn a_build_gets_only_the_files_that_it_needs() {
    let ignored = read(".dockerignore");
    let lines: Vec<_> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "everything is left out but what is named");
    let named: BTreeSet<_> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(named, [".sqlx", "Cargo.lock", "Cargo.toml", "crates", "migrations"].into());
}

fn compose() -> Value {
    // Compose resolves YAML's merge keys; this test reads the keys of a service and those that it merges.
    parse(&read("compose.yaml")).swap_remove(0)
}

#[test]
fn compose_runs_the_images_of_the_manifests_with_variables_that_they_read() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let mut ours = BTreeMap::new();
    for (name, service) in services {
        let image = text(&service["image"]);
        let Some(binary) = image.split(':').next().filter(|image| image.starts_with("jobqueue-")) else {
            continue;
        };
        assert_eq!(image.split_once(':').unwrap().1, env!("CARGO_PKG_VERSION"), "{name}");
        let file = text(&service["build"]["dockerfile"]);
        assert_eq!(file.strip_prefix("Dockerfile."), binary.strip_prefix("jobqueue-"), "{name}");
        let mut known = variables(&command(binary));
        if name == "api" {
            known.extend(variables_of_the_client());
        }
        for key in texts(&service["environment"]).into_keys() {
            assert!(known.contains_key(&key), "{name}: {binary} does not read {key}");
        }
        ours.insert(name.as_str(), service);
    }
    assert_eq!(ours.keys().copied().collect::<Vec<_>>(), ["api", "migrate", "reaper", "worker"]);
    assert_eq!(ours["worker"]["scale"], 2);
    let postgres =
        &base().get("StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(services["postgres"]["image"], *postgres);
    for (name, service) in services {
        for port in list(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
    }
}

#[test]
fn graces_in_compose_are_those_of_the_manifests() {
    let compose = compose();
    for name in NAMES {
        let pod = &base().get("Deployment", &format!("jobqueue-{name}"))["spec"]["template"]["spec"];
        let grace = format!("{}s", pod["terminationGracePeriodSeconds"]);
        assert_eq!(compose["services"][name]["stop_grace_period"], grace.as_str(), "{name}");
    }
    let worker = texts(&compose["services"]["worker"]["environment"]);
    let pod = &base().get("Deployment", "jobqueue-worker")["spec"]["template"]["spec"]["containers"][0];
    for key in ["WORKER_SHUTDOWN_GRACE_SECONDS", "WORKER_POD_GRACE_SECONDS"] {
        let wanted = list(&pod["env"]).iter().find(|entry| entry["name"] == key).unwrap();
        assert_eq!(worker[key], text(&wanted["value"]), "{key}");
    }
}

#[test]
fn the_workers_of_compose_run_what_those_of_the_manifests_run() {
    let handlers = texts(&base().get("ConfigMap", "jobqueue-worker-handlers")["data"]);
    let table = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
    };
    assert_eq!(table(&read("compose/worker.toml")), table(&handlers["worker.toml"]));
}
