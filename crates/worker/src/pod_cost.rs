//! Tells Kubernetes how much work would be lost with this pod, so that scaling in takes a pod with little: the annotation
//! `controller.kubernetes.io/pod-deletion-cost`, by which a ReplicaSet chooses. What is left of a job nobody knows; what was done for it is
//! what begins again elsewhere, and jobs that have run for long tend to run for long. Owns the request to the API server; whatever goes
//! wrong with it costs the hint and nothing else.

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
use tokio::time::{Instant, sleep};

use crate::shared::Shared;

/// The API server answers within this or not at all.
const LIMIT: Duration = Duration::from_secs(5);
/// The interval varies by this share, so that a rollout's pods do not ask in step.
const JITTER: std::ops::Range<f64> = 0.8..1.2;

/// How to say it.
#[derive(Clone, Debug)]
pub(crate) struct PodCost {
    interval: Duration,
    /// Of the API server, without a slash at the end.
    url: String,
    pod: String,
    /// Where the service account is mounted: `token`, `ca.crt`, `namespace`. Read for each request: they are renewed.
    account: PathBuf,
}

impl PodCost {
    /// For the pod of this name.
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

    /// Says it whenever it changed much, until it is dropped.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let (mut told, mut failed) = (None, false);
        loop {
            let cost = cost(shared.running.spans(Instant::now()));
            if told != Some(cost) {
                match self.tell(cost).await {
                    Ok(()) => (told, failed) = (Some(cost), false),
                    Err(error) => {
                        if !failed {
                            let error = format!("{error:#}");
                            tracing::warn!(error, "Kubernetes does not hear how busy this pod is");
                        }
                        // whether it was heard is unknown
                        (told, failed) = (None, true);
                    }
                }
            }
            sleep(self.interval.mul_f64(rand::random_range(JITTER))).await;
        }
    }

    async fn tell(&self, cost: u32) -> anyhow::Result<()> {
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

    /// Trusts the cluster's own authority alone.
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

/// The cost of a pod whose jobs have run for so long: one each and one more for each second, and of the sum how often it doubled.
/// Kubernetes asks not to be told of every change.
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
