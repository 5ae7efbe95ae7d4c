//! A change of the configuration restarts the pods: an annotation of each pod template is the checksum of the
//! configuration that the pod reads.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::manifests::{Pod, Variant, texts, variants};
use crate::wiring::config_maps;

/// SHA-256 over `name/key=value` lines, in order.
fn checksum(variant: &Variant, pod: &Pod<'_>) -> Option<String> {
    let mut lines = String::new();
    for name in config_maps(pod) {
        for (key, value) in texts(&variant.get("ConfigMap", name)["data"]) {
            writeln!(lines, "{name}/{key}={value}").unwrap();
        }
    }
    let digest = Sha256::digest(lines.as_bytes());
    (!lines.is_empty())
        .then(|| digest.iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

#[test]
fn checksums_follow_the_configuration() {
    let mut findings = Vec::new();
    for variant in variants() {
        for pod in variant.pods().filter(|pod| pod.owner["kind"] != "Job") {
            let Some(wanted) = checksum(variant, &pod) else { continue };
            let found = &pod.template["metadata"]["annotations"]["checksum/config"];
            if *found != wanted.as_str() {
                findings.push(format!(
                    "{}: {}: write checksum/config: {wanted}, not {found}",
                    variant.name,
                    pod.name()
                ));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
