//! Tests of `deploy.sh`, `validate.sh`, `load-test.sh` and `chaos.sh` with a fake cluster and a fake API: the order of
//! their steps, what they reject, what they never print, and that each check can fail.

mod api;
mod changes;
mod chaos;
mod deploy;
mod load;
mod secret;
mod validate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use self::api::Answers;
use crate::manifests::{kubectl_renders, root};

/// A copy of the manifests with its own fake cluster.
struct ScriptDir(PathBuf);

impl ScriptDir {
    /// `None` without a kubectl that can render.
    fn new(name: &str) -> Option<Self> {
        if !kubectl_renders() {
            println!("SKIPPED: no kubectl that renders");
            return None;
        }
        // with the process id, because the tests may run twice at the same time
        let own = format!("{name}-{}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts").join(own);
        let _absent = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("fake-cluster")).unwrap();
        for directory in ["k8s", "k8s-overlays"] {
            let copied = Command::new("cp").arg("-r").arg(root().join(directory)).arg(&dir).status().unwrap();
            assert!(copied.success());
        }
        // a file of the developer
        let _absent = fs::remove_file(dir.join("k8s/secret-values.yaml"));
        Some(Self(dir))
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let fake_cluster = root().join("crates/k8s-tests/tests/fake-cluster");
        let path = std::env::var("PATH").unwrap();
        let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap().stdout;
        Command::new(self.0.join(script))
            .args(arguments)
            .current_dir(&self.0)
            .env("PATH", format!("{}:{path}", fake_cluster.display()))
            .env("REAL_KUBECTL", String::from_utf8(real).unwrap().trim())
            .env("FAKE_CLUSTER", self.0.join("fake-cluster"))
            .output()
            .unwrap()
    }

    /// Sets the state of the fake cluster; see its script.
    fn with(&self, file: &str, text: &str) -> &Self {
        fs::write(self.0.join("fake-cluster").join(file), text).unwrap();
        self
    }

    /// Starts a fake API, to which the port-forwards of the fake cluster lead.
    fn with_api(&self, answers: Answers) {
        self.with("api-port", &api::start(answers).to_string());
    }

    /// Creates an overlay.
    fn with_overlay(&self, name: &str, components: &[&str], patches: &str) {
        let dir = self.0.join("k8s-overlays").join(name);
        fs::create_dir_all(&dir).unwrap();
        let listed: Vec<_> =
            components.iter().map(|name| format!("  - ../../k8s/components/{name}\n")).collect();
        let listed = listed.concat();
        let head =
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../k8s]\n";
        fs::write(dir.join("kustomization.yaml"), format!("{head}components:\n{listed}{patches}")).unwrap();
    }

    /// Checks that every port-forward and every followed log of a script has ended.
    fn assert_no_forward_left(&self) {
        let begun = fs::read_to_string(self.0.join("fake-cluster/forwards")).unwrap();
        for process in begun.lines() {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z "), "still there: {stat}");
        }
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.join("fake-cluster/calls")).unwrap_or_default()
    }
}

impl Drop for ScriptDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _absent = fs::remove_dir_all(&self.0);
        }
    }
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_scripts_check_the_version_of_bash() {
    for script in ["deploy.sh", "validate.sh", "scripts/chaos.sh", "scripts/load-test.sh"] {
        let text = fs::read_to_string(root().join("k8s").join(script)).unwrap();
        assert!(text.lines().take(12).any(|line| line.contains("BASH_VERSINFO")), "{script}");
    }
}
