//! The secret that `deploy.sh` applies: by the server, as the file has it, and never over what was changed in the cluster.

use std::fs;

use super::{Place, told};

const FILE: &str = "apiVersion: v1
kind: Secret
metadata:
  name: jobqueue-secret
  namespace: jobqueue
  labels: {kept: label}
type: Opaque
data:
  POSTGRES_PASSWORD: Z2VoZWlt
stringData:
  # a comment
  DATABASE_URL: 'postgres://a:geheim@b'   # and another
  API_SECRET_KEY: |
    zwei
    drei
";
/// The same, as a cluster keeps it.
const LIVE: &str = "API_SECRET_KEY endlaQpkcmVpCg==
DATABASE_URL cG9zdGdyZXM6Ly9hOmdlaGVpbUBi
POSTGRES_PASSWORD Z2VoZWlt
";

impl Place {
    fn with_file(&self, text: &str) -> &Self {
        fs::write(self.0.join("k8s/secret-values.yaml"), text).unwrap();
        self
    }

    /// Its values in the cluster, one a line.
    fn live(&self) -> String {
        fs::read_to_string(self.0.join("stand-in/live")).unwrap_or_default()
    }

    fn applies(&self) -> usize {
        self.calls().matches("apply --server-side --force-conflicts").count()
    }

    fn restarts(&self) -> usize {
        self.calls().matches("rollout restart").count()
    }
}

#[test]
fn the_file_is_applied_once_by_the_server_and_leaves_no_text_behind() {
    let Some(place) = Place::new("applied") else { return };
    place.with_file(FILE);
    for round in 0..2 {
        let output = place.run("k8s/deploy.sh", &[]);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(place.live(), LIVE, "round {round}");
        assert_eq!((place.applies(), place.restarts()), (1, 0), "the same again: {}", place.calls());
        for secret in ["geheim", "Z2VoZWlt", "zwei"] {
            assert!(!told(&output).contains(secret) && !place.calls().contains(secret), "{secret}");
        }
    }
    let forgets = "annotate secret jobqueue-secret kubectl.kubernetes.io/last-applied-configuration-";
    assert_eq!(place.calls().matches(forgets).count(), 1, "the copy of an earlier apply: {}", place.calls());
    assert!(!place.calls().contains("apply -f secret"), "{}", place.calls());
}

#[test]
fn a_password_that_was_changed_in_the_cluster_is_not_undone() {
    let Some(place) = Place::new("changed") else { return };
    let changed = LIVE.replace("Z2VoZWlt", "bmV1") + "EXTRA eA==\n";
    place.with_file(FILE).with("secret", "").with("live", &changed);
    for mode in [&[][..], &["--dry-run"]] {
        let output = place.run("k8s/deploy.sh", mode);
        let told = told(&output);
        assert_eq!(output.status.success(), mode.len() == 1, "{told}");
        assert!(told.contains("have other values for: POSTGRES_PASSWORD\n"), "keys, and these alone: {told}");
        for hint in ["--secret keep", "--secret from-file", "deleting the file"] {
            assert!(told.contains(hint), "{hint}: {told}");
        }
        for secret in ["geheim", "Z2VoZWlt", "bmV1", "neu\n"] {
            assert!(!told.contains(secret), "{secret}: {told}");
        }
    }
    let output = place.run("k8s/deploy.sh", &["--secret", "keep"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!((place.live(), place.applies(), place.restarts()), (changed, 0, 0));
    let output = place.run("k8s/deploy.sh", &["--secret", "from-file"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!((place.applies(), place.restarts()), (1, 1), "{}", place.calls());
    assert_eq!(place.live(), LIVE);
    fs::remove_file(place.0.join("k8s/secret-values.yaml")).unwrap();
    let output = place.with("live", "A YQ==\n").run("k8s/deploy.sh", &[]);
    assert!(output.status.success() && place.live() == "A YQ==\n", "{}", told(&output));
    for arguments in [["--secret", "from-file"], ["--secret", "both"]] {
        assert!(!place.run("k8s/deploy.sh", &arguments).status.success(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let Some(place) = Place::new("else") else { return };
    for text in [FILE.replace("name: jobqueue-secret", "name: other"), format!("{FILE}---\n{FILE}")] {
        let output = place.with_file(&text).run("k8s/deploy.sh", &[]);
        assert!(!output.status.success(), "{}", told(&output));
        assert!(told(&output).contains("is not one Secret called jobqueue-secret"), "{}", told(&output));
    }
    let output = place.with_file(&FILE.replace("Z2VoZWlt", "no base64")).run("k8s/deploy.sh", &[]);
    assert!(!output.status.success() && told(&output).contains("POSTGRES_PASSWORD cannot be read"));
    assert_eq!(place.applies(), 0);
}

#[test]
fn the_pooler_finds_its_two_keys() {
    let Some(place) = Place::new("pooled") else { return };
    place.with_overlay("pooled", &["pgbouncer"], "");
    let pooled = ["--overlay", "pooled"];
    place.with_file(FILE);
    let output = told(&place.run("k8s/deploy.sh", &pooled));
    assert!(output.contains("has no DATABASE_URL_POOLED"), "{output}");
    assert_eq!(place.calls().matches("apply").count(), 0, "before anything is changed");
    place.with_file(&FILE.replace("stringData:", "stringData:\n  DATABASE_URL_POOLED: postgres://p"));
    let output = told(&place.run("k8s/deploy.sh", &pooled));
    assert!(output.contains("has no PGBOUNCER_USERLIST"), "{output}");
    let keys = "DATABASE_URL_POOLED eA==\nPGBOUNCER_USERLIST eA==\n";
    place.with("secret", "").with("live", &format!("{LIVE}{keys}"));
    let output = place.run("k8s/deploy.sh", &[&pooled[..], &["--secret", "keep"]].concat());
    assert!(output.status.success(), "the cluster has them: {}", told(&output));

    let Some(place) = Place::new("pooled-anew") else { return };
    place.with_overlay("pooled", &["pgbouncer"], "");
    let output = place.run("k8s/deploy.sh", &[&pooled[..], &["--generate-secret"]].concat());
    assert!(output.status.success(), "{}", told(&output));
    let keys: Vec<_> = place.live().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let wanted =
        ["API_SECRET_KEY", "DATABASE_URL", "DATABASE_URL_POOLED", "PGBOUNCER_USERLIST", "POSTGRES_PASSWORD"];
    assert_eq!(keys, wanted);
    let text = fs::read_to_string(place.0.join("k8s/secret-values.yaml")).unwrap();
    let password = text.lines().find_map(|line| line.strip_prefix("  POSTGRES_PASSWORD: ")).unwrap();
    assert!(
        text.contains(&format!("  PGBOUNCER_USERLIST: '\"postgres\" \"{password}\"'\n")),
        "{}",
        text.len()
    );
}
