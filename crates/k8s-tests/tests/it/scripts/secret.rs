//! The secret that `deploy.sh` applies: server-side, with the values of the file, and never over values that were
//! changed in the cluster.

use std::fs;

use super::{ScriptDir, output_text};

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
/// The same secret as a cluster stores it.
const LIVE: &str = "API_SECRET_KEY endlaQpkcmVpCg==
DATABASE_URL cG9zdGdyZXM6Ly9hOmdlaGVpbUBi
POSTGRES_PASSWORD Z2VoZWlt
";

impl ScriptDir {
    fn with_file(&self, text: &str) -> &Self {
        fs::write(self.0.join("k8s/secret-values.yaml"), text).unwrap();
        self
    }

    /// Its values in the cluster, one per line.
    fn live(&self) -> String {
        fs::read_to_string(self.0.join("fake-cluster/live")).unwrap_or_default()
    }

    fn applies(&self) -> usize {
        self.calls().matches("apply --server-side --force-conflicts").count()
    }

    fn restarts(&self) -> usize {
        self.calls().matches("rollout restart").count()
    }
}

#[test]
fn the_file_is_applied_once_server_side_and_leaves_no_annotation() {
    let Some(dir) = ScriptDir::new("applied") else { return };
    dir.with_file(FILE);
    for round in 0..2 {
        let output = dir.run("k8s/deploy.sh", &[]);
        assert!(output.status.success(), "{}", output_text(&output));
        assert_eq!(dir.live(), LIVE, "round {round}");
        assert_eq!((dir.applies(), dir.restarts()), (1, 0), "the same again: {}", dir.calls());
        for secret in ["geheim", "Z2VoZWlt", "zwei"] {
            assert!(!output_text(&output).contains(secret) && !dir.calls().contains(secret), "{secret}");
        }
    }
    let forgets = "annotate secret jobqueue-secret kubectl.kubernetes.io/last-applied-configuration-";
    assert_eq!(dir.calls().matches(forgets).count(), 1, "the copy of an earlier apply: {}", dir.calls());
    assert!(!dir.calls().contains("apply -f secret"), "{}", dir.calls());
}

#[test]
fn a_password_that_was_changed_in_the_cluster_is_not_undone() {
    let Some(dir) = ScriptDir::new("changed") else { return };
    let changed = LIVE.replace("Z2VoZWlt", "bmV1") + "EXTRA eA==\n";
    dir.with_file(FILE).with("secret", "").with("live", &changed);
    for mode in [&[][..], &["--dry-run"]] {
        let output = dir.run("k8s/deploy.sh", mode);
        let output_text = output_text(&output);
        assert!(!output.status.success(), "{mode:?}: {output_text}");
        assert!(
            output_text.contains("have different values for: POSTGRES_PASSWORD\n"),
            "keys, and these alone: {output_text}"
        );
        for hint in ["--secret keep", "--secret from-file", "deleting the file"] {
            assert!(output_text.contains(hint), "{hint}: {output_text}");
        }
        for secret in ["geheim", "Z2VoZWlt", "bmV1", "neu\n"] {
            assert!(!output_text.contains(secret), "{secret}: {output_text}");
        }
    }
    let output = dir.run("k8s/deploy.sh", &["--secret", "keep"]);
    assert!(output.status.success(), "{}", output_text(&output));
    assert_eq!((dir.live(), dir.applies(), dir.restarts()), (changed, 0, 0));
    let output = dir.run("k8s/deploy.sh", &["--secret", "from-file"]);
    assert!(output.status.success(), "{}", output_text(&output));
    assert_eq!((dir.applies(), dir.restarts()), (1, 1), "{}", dir.calls());
    assert_eq!(dir.live(), LIVE);
    fs::remove_file(dir.0.join("k8s/secret-values.yaml")).unwrap();
    let output = dir.with("live", "A YQ==\n").run("k8s/deploy.sh", &[]);
    assert!(output.status.success() && dir.live() == "A YQ==\n", "{}", output_text(&output));
    for arguments in [["--secret", "from-file"], ["--secret", "both"]] {
        assert!(!dir.run("k8s/deploy.sh", &arguments).status.success(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_not_the_secret_is_rejected() {
    let Some(dir) = ScriptDir::new("else") else { return };
    for text in [FILE.replace("name: jobqueue-secret", "name: other"), format!("{FILE}---\n{FILE}")] {
        let output = dir.with_file(&text).run("k8s/deploy.sh", &[]);
        assert!(!output.status.success(), "{}", output_text(&output));
        assert!(
            output_text(&output).contains("is not exactly one Secret called jobqueue-secret"),
            "{}",
            output_text(&output)
        );
    }
    let blank = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: jobqueue-secret}\n";
    let output = dir.with_file(&format!("{FILE}{blank}")).run("k8s/deploy.sh", &[]);
    assert!(
        !output.status.success(),
        "kubectl would remove the values under `data`: {}",
        output_text(&output)
    );
    assert!(output_text(&output).contains("put them under 'stringData'"), "{}", output_text(&output));
    let output = dir.with_file(&FILE.replace("Z2VoZWlt", "no base64")).run("k8s/deploy.sh", &[]);
    assert!(!output.status.success() && output_text(&output).contains("POSTGRES_PASSWORD cannot be read"));
    assert_eq!(dir.applies(), 0);
}

#[test]
fn a_file_with_the_values_of_an_example_is_refused() {
    let Some(dir) = ScriptDir::new("values") else { return };
    for (file, key) in [
        (FILE.replace("a:geheim@b", "a:YOUR_PASSWORD@b"), "DATABASE_URL"),
        (FILE.replace("Z2VoZWlt", "WU9VUl9QQVNTV09SRA=="), "POSTGRES_PASSWORD"),
        (FILE.replace("zwei", "your-api-key-of-32-characters"), "API_SECRET_KEY"),
    ] {
        let output = dir.with_file(&file).run("k8s/deploy.sh", &[]);
        let line = format!("such as CHANGE_ME or YOUR_PASSWORD: {key}\n");
        assert!(!output.status.success() && output_text(&output).contains(&line), "{}", output_text(&output));
    }
    assert_eq!(dir.applies(), 0);
}

#[test]
fn the_pooler_finds_its_two_keys() {
    let Some(dir) = ScriptDir::new("pooled") else { return };
    dir.with_overlay("pooled", &["pgbouncer"], "");
    let pooled = ["--overlay", "pooled"];
    dir.with_file(FILE);
    let output = output_text(&dir.run("k8s/deploy.sh", &pooled));
    assert!(output.contains("has no DATABASE_URL_POOLED"), "{output}");
    assert_eq!(dir.calls().matches("apply -f").count(), 0, "before anything is changed");
    dir.with_file(&FILE.replace("stringData:", "stringData:\n  DATABASE_URL_POOLED: postgres://p"));
    let output = output_text(&dir.run("k8s/deploy.sh", &pooled));
    assert!(output.contains("has no PGBOUNCER_USERLIST"), "{output}");
    let keys = "DATABASE_URL_POOLED eA==\nPGBOUNCER_USERLIST eA==\n";
    dir.with("secret", "").with("live", &format!("{LIVE}{keys}"));
    let output = dir.run("k8s/deploy.sh", &[&pooled[..], &["--secret", "keep"]].concat());
    assert!(output.status.success(), "the cluster has them: {}", output_text(&output));

    let Some(dir) = ScriptDir::new("pooled-anew") else { return };
    dir.with_overlay("pooled", &["pgbouncer"], "");
    let output = dir.run("k8s/deploy.sh", &[&pooled[..], &["--generate-secret"]].concat());
    assert!(output.status.success(), "{}", output_text(&output));
    let keys: Vec<_> = dir.live().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let wanted =
        ["API_SECRET_KEY", "DATABASE_URL", "DATABASE_URL_POOLED", "PGBOUNCER_USERLIST", "POSTGRES_PASSWORD"];
    assert_eq!(keys, wanted);
    let text = fs::read_to_string(dir.0.join("k8s/secret-values.yaml")).unwrap();
    let (values, blank) = text.split_once("\n---\n").unwrap();
    assert!(values.starts_with("apiVersion: v1\n") && !blank.contains("stringData:"), "{blank}");
    let password = text.lines().find_map(|line| line.strip_prefix("  POSTGRES_PASSWORD: ")).unwrap();
    assert!(
        text.contains(&format!("  PGBOUNCER_USERLIST: '\"postgres\" \"{password}\"'\n")),
        "{}",
        text.len()
    );
}
