//! Reports to Kubernetes how much work would be lost with this pod, so that scaling in removes a pod with
//! little. A ReplicaSet selects pods by the annotation `controller.kubernetes.io/pod-deletion-cost`. The
//! remaining time of a job is unknown, so the cost is the time that its attempt has run: that work starts
//! again elsewhere, and jobs that have run for long tend to run for long. Owns the request to the API server;
//! a failure affects only this hint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jobqueue_runtime::ConfigError;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::sleep;

/// Time limit of a request to the API server.
const LIMIT: Duration = Duration::from_secs(5);
/// The interval is multiplied by a random number in this range, so that the pods of a rollout do not send
/// requests at the same time.
const JITTER: std::ops::Range<f64> = 0.8..1.2;

/// The settings of the reports.
#[derive(Clone, Debug)]
pub(crate) struct PodCost {
    interval: Duration,
    /// The API server's URL without a trailing slash.
    url: String,
    pod: String,
    /// The directory with the service account's files: `token`, `ca.crt`, `namespace`. They are renewed, so
    /// they are read for each request.
    account: PathBuf,
}

impl PodCost {
    /// Settings for the pod of this name.
    pub(crate) fn new(
        interval: Duration,
        url: &str,
        pod: Option<&str>,
        account: &Path,
    ) -> Result<Self, ConfigError> {
        let Some(pod) = pod.filter(|pod| !pod.is_empty()) else {
            return Err(ConfigError(
                "WORKER_POD_DELETION_COST_INTERVAL_SECONDS needs WORKER_POD_NAME: leave it out outside of Kubernetes"
                    .to_owned(),
            ));
        };
        let (url, pod) = (url.trim_end_matches('/').to_owned(), pod.to_owned());
        Ok(Self { interval, url, pod, account: account.to_owned() })
    }

    /// Reports the cost whenever it has changed much. `run_times` returns how long each attempt has run. Never
    /// returns.
    pub(crate) async fn run(self, run_times: impl Fn() -> Vec<Duration>) {
        let (mut reported, mut failed) = (None, false);
        loop {
            let cost = cost(run_times());
            if reported != Some(cost) {
                match self.report(cost).await {
                    Ok(()) => (reported, failed) = (Some(cost), false),
                    Err(error) => {
                        if !failed {
                            let error = format!("{error:#}");
                            tracing::warn!(
                                error,
                                "the pod's deletion cost could not be reported to Kubernetes"
                            );
                        }
                        // the request may have been applied
                        (reported, failed) = (None, true);
                    }
                }
            }
            sleep(self.interval.mul_f64(rand::random_range(JITTER))).await;
        }
    }

    async fn report(&self, cost: u32) -> anyhow::Result<()> {
        let text = async |name: &str| {
            let path = self.account.join(name);
            tokio::fs::read_to_string(&path).await.with_context(|| path.display().to_string())
        };
        let (token, namespace) = (text("token").await?, text("namespace").await?);
        let url = format!("{}/api/v1/namespaces/{}/pods/{}", self.url, namespace.trim(), self.pod);
        let annotations =
            serde_json::json!({ "controller.kubernetes.io/pod-deletion-cost": cost.to_string() });
        let answer = self
            .client()?
            .patch(url)
            .bearer_auth(token.trim())
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(serde_json::json!({ "metadata": { "annotations": annotations } }).to_string())
            .send()
            .await?;
        let status = answer.status();
        ensure!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
        Ok(())
    }

    /// A client that trusts only the cluster's certificate authority.
    fn client(&self) -> anyhow::Result<reqwest::Client> {
        let path = self.account.join("ca.crt");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&path).with_context(|| path.display().to_string())? {
            roots.add(certificate.with_context(|| path.display().to_string())?)?;
        }
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
        Ok(client.redirect(Policy::none()).no_proxy().timeout(LIMIT).build()?)
    }
}

/// The cost of a pod whose jobs have run for these durations: the base-2 logarithm of the sum of one plus the
/// seconds of each. The logarithm changes rarely: Kubernetes advises against frequent updates of the
/// annotation.
fn cost(ran: impl IntoIterator<Item = Duration>) -> u32 {
    let at_stake = ran.into_iter().map(|ran| ran.as_secs().saturating_add(1)).fold(0, u64::saturating_add);
    u64::BITS - at_stake.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_grows_with_the_work_and_changes_seldom() {
        let just_begun = [0, 1, 2, 3, 4, 7, 8, 1000].map(|jobs| cost(vec![Duration::ZERO; jobs]));
        assert_eq!(just_begun, [0, 1, 2, 2, 3, 3, 4, 10]);
        let one = [0.9, 1.0, 3.0, 60.0, 3.0 * 3600.0].map(|ran| cost([Duration::from_secs_f64(ran)]));
        assert_eq!(one, [1, 2, 3, 6, 14], "three hours in, it outweighs thousands that have just begun");
        assert_eq!(cost([Duration::MAX; 2]), 64);
    }

    #[test]
    fn outside_of_kubernetes_it_says_what_is_missing() {
        let refused = PodCost::new(LIMIT, "https://k", None, Path::new("/")).unwrap_err().0;
        assert!(refused.contains("needs WORKER_POD_NAME"), "{refused}");
    }
}
