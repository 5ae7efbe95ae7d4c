//! The environment of a pod is one that its binary understands: every key is read, every value is accepted by the command line
//! itself, and nothing that is required is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _, Parser as _};
use serde_json::Value;

use crate::manifests::{Pod, Variant, list, text, texts, variants};

fn command(binary: &str) -> Command {
    match binary {
        "jobqueue-api" => jobqueue_api::args::Cli::command(),
        "jobqueue-worker" => jobqueue_worker::Args::command(),
        "jobqueue-reaper" => jobqueue_reaper::Args::command(),
        other => panic!("no binary {other}"),
    }
}

/// Variable → flag, of everything that the binary reads.
fn variables(command: &Command) -> BTreeMap<String, String> {
    let options = command.get_arguments();
    let named =
        options.filter_map(|arg| Some((arg.get_env()?.to_str()?.to_owned(), arg.get_long()?.to_owned())));
    named.collect()
}

/// Own variables of a container, then those of its ConfigMaps.
fn environment(variant: &Variant, pod: &Pod<'_>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let container = &pod.spec()["containers"][0];
    let own =
        list(&container["env"]).iter().map(|e| (text(&e["name"]).to_owned(), text(&e["value"]).to_owned()));
    let maps = list(&container["envFrom"]).iter().map(|source| text(&source["configMapRef"]["name"]));
    let shared = maps.flat_map(|name| texts(&variant.get("ConfigMap", name)["data"])).collect();
    (own.collect(), shared)
}

#[test]
fn every_key_is_read_by_somebody() {
    for variant in variants() {
        let mut shared_keys = BTreeSet::new();
        let mut read = BTreeSet::new();
        for pod in variant.pods() {
            let Some(binary) = pod.binary() else { continue };
            let known = variables(&command(binary));
            let (own, shared) = environment(variant, &pod);
            for key in own.keys() {
                assert!(known.contains_key(key), "{}: {}: nobody reads {key}", variant.name, pod.name());
            }
            shared_keys.extend(shared.into_keys());
            read.extend(known.into_keys());
        }
        let unread: Vec<_> = shared_keys.difference(&read).collect();
        assert!(unread.is_empty(), "{}: nobody reads {unread:?} of the ConfigMap", variant.name);
    }
}

/// What the pod mounts, as files here, so that the binary can read them.
fn mounted(variant: &Variant, pod: &Pod<'_>, path: &str) -> PathBuf {
    let container = &pod.spec()["containers"][0];
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

/// A made-up value of the secret's key that a volume shows as this file.
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

/// The command line that means the same as the environment.
fn command_line(variant: &Variant, pod: &Pod<'_>) -> Vec<String> {
    let binary = pod.binary().unwrap();
    let container = &pod.spec()["containers"][0];
    let words: Vec<_> = list(&container["args"]).iter().map(|word| text(word).to_owned()).collect();
    let mut command = command(binary);
    command.build();
    let command = words.first().map_or(&command, |word| command.find_subcommand(word).unwrap());
    let known = variables(command);
    let (own, mut environment) = environment(variant, pod);
    environment.extend(own);
    let mut line = vec![binary.to_owned()];
    line.extend(words);
    for (key, value) in environment {
        let Some(flag) = known.get(&key) else { continue };
        let value =
            if value.starts_with('/') { mounted(variant, pod, &value).display().to_string() } else { value };
        line.push(format!("--{flag}={value}"));
    }
    line
}

#[tokio::test]
async fn the_binaries_accept_their_environment() {
    let mut seen = BTreeSet::new();
    for variant in variants() {
        for pod in variant.pods() {
            let Some(binary) = pod.binary() else { continue };
            let place = format!("{}: {}", variant.name, pod.name());
            let line = command_line(variant, &pod);
            seen.insert(binary);
            match binary {
                "jobqueue-worker" => {
                    let args = jobqueue_worker::Args::try_parse_from(&line);
                    let args = args.unwrap_or_else(|error| panic!("{place}: {error}"));
                    let worker =
                        args.worker.builder(&args.database).and_then(jobqueue_worker::WorkerBuilder::build);
                    worker.unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                "jobqueue-reaper" => {
                    let args = jobqueue_reaper::Args::try_parse_from(&line);
                    let args = args.unwrap_or_else(|error| panic!("{place}: {error}"));
                    args.duties.check().unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                _ => {
                    let cli = jobqueue_api::args::Cli::try_parse_from(&line);
                    let cli = cli.unwrap_or_else(|error| panic!("{place}: {error}"));
                    assert_eq!(cli.command.is_some(), pod.owner["kind"] == "Job", "{place}");
                    if cli.command.is_none() {
                        let settings =
                            cli.serve.settings().unwrap_or_else(|error| panic!("{place}: {error}"));
                        assert!(settings.key.is_some(), "{place}: the API must have a key");
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), 3);
}
