//! `deploy.sh`, `validate.sh`, `load-test.sh` and `chaos.sh` against stand-ins for the cluster and the API: their order, what they
//! refuse, what they never print, and that each check can fail. Owns the place that they run in.

mod api;
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

/// A copy of the manifests with a stand-in cluster of its own.
struct Place(PathBuf);

impl Place {
    /// `None`: no kubectl here that renders.
    fn new(name: &str) -> Option<Self> {
        if !kubectl_renders() {
            println!("SKIPPED: no kubectl that renders");
            return None;
        }
        // of this process: the tests may run twice at once
        let own = format!("{name}-{}", std::process::id());
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts").join(own);
        let _absent = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("stand-in")).unwrap();
        for directory in ["k8s", "k8s-overlays"] {
            let copied =
                Command::new("cp").arg("-r").arg(root().join(directory)).arg(&place).status().unwrap();
            assert!(copied.success());
        }
        // a developer's own
        let _absent = fs::remove_file(place.join("k8s/secret-values.yaml"));
        Some(Self(place))
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let stand_in = root().join("crates/k8s-tests/tests/stand-in");
        let path = std::env::var("PATH").unwrap();
        let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap().stdout;
        Command::new(self.0.join(script))
            .args(arguments)
            .env("PATH", format!("{}:{path}", stand_in.display()))
            .env("REAL_KUBECTL", String::from_utf8(real).unwrap().trim())
            .env("STAND_IN", self.0.join("stand-in"))
            .output()
            .unwrap()
    }

    /// Tells the stand-in how the cluster is; see there.
    fn with(&self, file: &str, text: &str) -> &Self {
        fs::write(self.0.join("stand-in").join(file), text).unwrap();
        self
    }

    /// Starts an API that the stand-in's port-forwards lead to.
    fn with_api(&self, answers: Answers) {
        self.with("api-port", &api::start(answers).to_string());
    }

    /// An overlay of the operator's own.
    fn with_overlay(&self, name: &str, components: &[&str], patches: &str) {
        let place = self.0.join("k8s-overlays").join(name);
        fs::create_dir_all(&place).unwrap();
        let listed: Vec<_> =
            components.iter().map(|name| format!("  - ../../k8s/components/{name}\n")).collect();
        let listed = listed.concat();
        let head =
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../k8s]\n";
        fs::write(place.join("kustomization.yaml"), format!("{head}components:\n{listed}{patches}")).unwrap();
    }

    /// Every port-forward and every log that a script follows has ended with it.
    fn left_no_forward(&self) {
        let begun = fs::read_to_string(self.0.join("stand-in/forwards")).unwrap();
        for process in begun.lines() {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z "), "still there: {stat}");
        }
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.join("stand-in/calls")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _absent = fs::remove_dir_all(&self.0);
        }
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_scripts_say_which_bash_they_need() {
    for script in ["deploy.sh", "validate.sh", "scripts/chaos.sh", "scripts/load-test.sh"] {
        let text = fs::read_to_string(root().join("k8s").join(script)).unwrap();
        assert!(text.lines().take(12).any(|line| line.contains("BASH_VERSINFO")), "{script}");
    }
}
