//! The environment of a pod fits its binary: every key is read, the command line accepts every value, and no required
//! variable is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _, Parser as _};
use serde_json::Value;

use crate::manifests::{Pod, Variant, list, text, texts, variants};

pub(crate) fn command(binary: &str) -> Command {
    match binary {
        "jobqueue-api" => jobqueue_api::args::ApiCli::command(),
        "jobqueue-worker" => jobqueue_worker::WorkerCli::command(),
        "jobqueue-reaper" => jobqueue_reaper::ReaperCli::command(),
        "jobqueue" => jobqueue_cli::Cli::command(),
        other => panic!("no binary {other}"),
    }
}

/// Variable → flag, for every variable that the binary reads.
pub(crate) fn variables(command: &Command) -> BTreeMap<String, String> {
    let options = command.get_arguments();
    let named =
        options.filter_map(|arg| Some((arg.get_env()?.to_str()?.to_owned(), arg.get_long()?.to_owned())));
    named.collect()
}

/// The variables that tell `jobqueue`, which is in the image of the API too, where the API is and its key.
pub(crate) fn variables_of_the_client() -> BTreeMap<String, String> {
    let mut known = variables(&subcommand("jobqueue", &["get".to_owned()]));
    known.retain(|key, _| key.starts_with("JOBQUEUE_"));
    known
}

/// The variables of a container, and those of its ConfigMaps.
fn environment(variant: &Variant, container: &Value) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    // values from the downward API are unknown here, so their path is used as the value
    let value = |e: &Value| {
        e["value"].as_str().unwrap_or_else(|| text(&e["valueFrom"]["fieldRef"]["fieldPath"])).to_owned()
    };
    let own = list(&container["env"]).iter().map(|e| (text(&e["name"]).to_owned(), value(e)));
    let maps = list(&container["envFrom"]).iter().map(|source| text(&source["configMapRef"]["name"]));
    let shared = maps.flat_map(|name| texts(&variant.get("ConfigMap", name)["data"])).collect();
    (own.collect(), shared)
}

/// Every container that runs one of our binaries.
fn programs(variant: &Variant) -> Vec<(Pod<'_>, &Value, &str)> {
    let mut programs = Vec::new();
    for pod in variant.pods() {
        programs.extend(pod.programs().map(|(container, binary)| (pod, container, binary)));
    }
    programs
}

/// The arguments of a container.
fn words(container: &Value) -> Vec<String> {
    list(&container["args"]).iter().map(|word| text(word).to_owned()).collect()
}

/// The definition of the command line of the subcommand that the arguments select.
fn subcommand(binary: &str, words: &[String]) -> Command {
    let mut chosen = command(binary);
    chosen.build();
    for (at, word) in words.iter().enumerate() {
        match chosen.find_subcommand(word) {
            Some(subcommand) => chosen = subcommand.clone(),
            None if at > 0 => break,
            None => panic!("{binary} has no subcommand {word}"),
        }
    }
    chosen
}

#[test]
fn every_key_is_read_by_a_binary() {
    for variant in variants() {
        let mut shared_keys = BTreeSet::new();
        let mut read = BTreeSet::new();
        for (pod, container, binary) in programs(variant) {
            let known = variables(&subcommand(binary, &words(container)));
            let (own, shared) = environment(variant, container);
            let of_client =
                if pod.name() == "jobqueue-api" { variables_of_the_client() } else { BTreeMap::new() };
            for key in own.keys().filter(|key| !of_client.contains_key(*key)) {
                assert!(known.contains_key(key), "{}: {}: no binary reads {key}", variant.name, pod.name());
            }
            shared_keys.extend(shared.into_keys());
            read.extend(known.into_keys());
        }
        let unread: Vec<_> = shared_keys.difference(&read).collect();
        assert!(unread.is_empty(), "{}: no binary reads {unread:?} of the ConfigMap", variant.name);
    }
}

/// Creates the files that the pod mounts, so that the binary can read them.
fn mounted(variant: &Variant, pod: &Pod<'_>, container: &Value, path: &str) -> PathBuf {
    let mounts = list(&container["volumeMounts"]);
    let mount = mounts.iter().find(|mount| path.starts_with(&format!("{}/", text(&mount["mountPath"]))));
    let mount = mount.unwrap_or_else(|| panic!("{}: {path} is in no mount", pod.name()));
    let file = path.rsplit('/').next().unwrap();
    let volume = list(&pod.spec()["volumes"]).iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    let content = if let Some(name) = volume["configMap"]["name"].as_str() {
        texts(&variant.get("ConfigMap", name)["data"])[file].clone()
    } else {
        secret_content(pod, volume, file)
    };
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("mounts").join(variant.name.replace(' ', "-"));
    fs::create_dir_all(&directory).unwrap();
    let here = directory.join(format!("{}-{file}", pod.name()));
    fs::write(&here, content).unwrap();
    here
}

/// A fake value of the secret's key that a volume mounts as this file.
fn secret_content(pod: &Pod<'_>, volume: &Value, file: &str) -> String {
    let projected = list(&volume["projected"]["sources"]).iter().map(|source| &source["secret"]["items"]);
    let items = projected.chain([&volume["secret"]["items"]]).flat_map(list);
    let key = items.into_iter().find(|item| item["path"] == file).map(|item| text(&item["key"]));
    match key.unwrap_or_else(|| panic!("{}: no {file} in the mounted secret", pod.name())) {
        "DATABASE_URL" | "DATABASE_URL_POOLED" => {
            "postgresql+asyncpg://u:p@postgres:5432/jobqueue".to_owned()
        }
        "uri" => "postgresql://u:p@jobqueue-db-rw.jobqueue:5432/jobqueue".to_owned(),
        key => format!("{key}-").repeat(8),
    }
}

/// The command line that is equivalent to the environment.
fn command_line(variant: &Variant, pod: &Pod<'_>, container: &Value, binary: &str) -> Vec<String> {
    let words = words(container);
    let known = variables(&subcommand(binary, &words));
    let (own, mut environment) = environment(variant, container);
    environment.extend(own);
    let mut line = vec![binary.to_owned()];
    line.extend(words);
    for (key, value) in environment {
        let Some(flag) = known.get(&key) else { continue };
        let value = if value.starts_with('/') {
            mounted(variant, pod, container, &value).display().to_string()
        } else {
            value
        };
        line.push(format!("--{flag}={value}"));
    }
    line
}

#[tokio::test]
async fn the_binaries_accept_their_environment() {
    let mut seen = BTreeSet::new();
    for variant in variants() {
        for (pod, container, binary) in programs(variant) {
            let place = format!("{}: {} {}", variant.name, pod.name(), text(&container["name"]));
            let line = command_line(variant, &pod, container, binary);
            seen.insert(binary);
            match binary {
                "jobqueue-worker" => {
                    let args = jobqueue_worker::WorkerCli::try_parse_from(&line);
                    let args = args.unwrap_or_else(|error| panic!("{place}: {error}"));
                    let worker =
                        args.worker.builder(&args.database).and_then(jobqueue_worker::WorkerBuilder::build);
                    worker.unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                "jobqueue-reaper" => {
                    let args = jobqueue_reaper::ReaperCli::try_parse_from(&line);
                    assert!(args.is_ok(), "{place}: {args:?}");
                }
                "jobqueue" => {
                    let cli = jobqueue_cli::Cli::try_parse_from(&line);
                    assert!(cli.is_ok(), "{place}: {cli:?}");
                    let file = line.iter().position(|word| word == "-f").unwrap() + 1;
                    assert!(mounted(variant, &pod, container, &line[file]).exists(), "{place}");
                }
                _ => {
                    let cli = jobqueue_api::args::ApiCli::try_parse_from(&line);
                    let cli = cli.unwrap_or_else(|error| panic!("{place}: {error}"));
                    let expected = match text(&container["name"]) {
                        "api" => "None",
                        "migrate" => "Some(Migrate",
                        _ => "Some(Wait",
                    };
                    assert!(format!("{:?}", cli.command).starts_with(expected), "{place}: {:?}", cli.command);
                    if cli.command.is_none() {
                        let settings =
                            cli.serve.settings().unwrap_or_else(|error| panic!("{place}: {error}"));
                        assert!(settings.key.is_some(), "{place}: the API must have a key");
                    }
                }
            }
        }
    }
    // the command line is in a component
    assert_eq!(seen.len(), if variants().len() > 1 { 4 } else { 3 });
}

/// No process starts before the database answers and has the schema. The migration only waits for an answer.
#[test]
fn every_pod_that_uses_the_database_waits_for_it_first() {
    for variant in variants() {
        let mut waits = 0;
        for pod in variant.pods().filter(Pod::uses_database) {
            let place = format!("{}: {}", variant.name, pod.name());
            let init = &pod.spec()["initContainers"][0];
            let wanted: &[&str] =
                if pod.owner["kind"] == "Job" { &["wait", "--database-only"] } else { &["wait"] };
            let words: Vec<_> = list(&init["args"]).iter().map(text).collect();
            assert_eq!(words, wanted, "{place}");
            assert!(text(&init["image"]).contains("jobqueue-api:"), "{place}: the image that can");
            // the same database over the same connection as the process itself
            let own = |container: &Value| {
                let mut own = environment(variant, container).0;
                own.retain(|key, _| key.starts_with("DATABASE_"));
                own
            };
            assert_eq!(own(init), own(&pod.spec()["containers"][0]), "{place}");
            waits += 1;
        }
        assert!(waits >= 4, "{}", variant.name);
    }
}

/// `kubectl exec deploy/jobqueue-api -- jobqueue get jobs` needs no option.
#[test]
fn the_command_line_in_the_pod_of_the_api_finds_the_api_and_its_key() {
    for variant in variants() {
        let container =
            &variant.get("Deployment", "jobqueue-api")["spec"]["template"]["spec"]["containers"][0];
        let own = environment(variant, container).0;
        assert_eq!(own["JOBQUEUE_API_KEY_FILE"], own["API_SECRET_KEY_FILE"], "{}", variant.name);
        let port = list(&container["ports"]).iter().find(|port| port["name"] == "http").unwrap();
        let url = format!("http://127.0.0.1:{}", port["containerPort"]);
        assert_eq!(own["JOBQUEUE_URL"], url, "{}", variant.name);
    }
}
