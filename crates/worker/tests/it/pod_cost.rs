//! The deletion cost of the pod, reported to a fake Kubernetes API server with TLS.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jobqueue_core::Status;
use jobqueue_testkit::{Binary, Process, Signal, eventually};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::bench::{Bench, SOON, written};

const CONFIG: &str = "[handlers.forever]\ntype = \"command\"\nargv = [\"/bin/sleep\", \"1000\"]\n";

/// The requests so far, as text.
type Requests = Arc<Mutex<Vec<String>>>;

/// A server with its own certificate, and a mounted service account that trusts it.
struct Cluster {
    address: SocketAddr,
    account: PathBuf,
    requests: Requests,
    _serving: JoinSet<()>,
}

impl Cluster {
    /// Responds with these statuses, then with 200.
    async fn start(statuses: &[u16]) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Requests::default());
        let mut serving = JoinSet::new();
        let tls = TlsAcceptor::from(Arc::new(config));
        serving.spawn(serve(listener, tls, requests.clone(), statuses.to_vec().into()));
        let account = written("").with_extension("account");
        std::fs::create_dir(&account).unwrap();
        for (name, text) in [("token", "s3cret\n"), ("namespace", "jobs"), ("ca.crt", &cert.pem())] {
            std::fs::write(account.join(name), text).unwrap();
        }
        Self { address, account, requests, _serving: serving }
    }

    fn worker(&self, bench: &Bench) -> Process {
        Binary::at(env!("CARGO_BIN_EXE_jobqueue-worker"))
            .env("DATABASE_URL", bench.db.url())
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .env("WORKER_CONFIG", written(CONFIG))
            .env("WORKER_POD_DELETION_COST_INTERVAL_SECONDS", "1")
            .env("WORKER_POD_NAME", "worker-7")
            .env("WORKER_SERVICE_ACCOUNT_DIR", self.account.to_str().unwrap())
            .env("WORKER_KUBERNETES_URL", format!("https://{}", self.address))
            .spawn()
    }

    /// Waits until a cost of at least this value is reported; returns all reported costs.
    async fn wait_for_cost(&self, least: u32) -> Vec<u32> {
        let said = r#"{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":""#;
        eventually(SOON, "the cost", async || {
            let requests = self.requests.lock().unwrap().clone();
            let cost =
                |text: &String| text.split_once(said).unwrap().1.trim_end_matches("\"}}}").parse().unwrap();
            let costs: Vec<u32> = requests.iter().map(cost).collect();
            if costs.last().is_some_and(|last| *last >= least) { Ok(costs) } else { Err(requests) }
        })
        .await
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, requests: Requests, mut statuses: VecDeque<u16>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let status = statuses.pop_front().unwrap_or(200);
        let request = answer(&tls, stream, status).await;
        requests.lock().unwrap().push(request);
    }
}

/// Serves one request per connection.
async fn answer(tls: &TlsAcceptor, stream: TcpStream, status: u16) -> String {
    let mut stream = tls.accept(stream).await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}}}") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "{request:?}");
    }
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(request).unwrap()
}

async fn end(mut process: Process) {
    process.signal(Signal::TERM);
    process.wait_for_line("the drain", |line| line.contains("draining"), SOON).await;
    process.signal(Signal::TERM);
    process.wait_exit(SOON).await;
}

#[tokio::test]
async fn the_amount_of_work_is_reported_to_kubernetes() {
    let bench = Bench::new().await;
    let cluster = Cluster::start(&[]).await;
    let process = cluster.worker(&bench);
    assert_eq!(cluster.wait_for_cost(0).await[0], 0);
    let first = cluster.requests.lock().unwrap()[0].to_ascii_lowercase();
    for part in [
        "patch /api/v1/namespaces/jobs/pods/worker-7 http/1.1\r\n",
        "authorization: bearer s3cret\r\n",
        "content-type: application/merge-patch+json\r\n",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    let job = bench.enqueue("forever", "{}").await;
    bench.reaches(job, Status::Running).await;
    let costs = cluster.wait_for_cost(3).await;
    assert!(
        costs.is_sorted_by(|one, next| one < next),
        "the cost grows and is reported when it has grown: {costs:?}"
    );
    end(process).await;
}

#[tokio::test]
async fn a_rejected_report_is_repeated_and_costs_no_job() {
    let bench = Bench::new().await;
    let cluster = Cluster::start(&[403, 500]).await;
    let process = cluster.worker(&bench);
    let warned = |line: &str| line.contains("deletion cost could not be reported") && line.contains("403");
    process.wait_for_line("the warning", warned, SOON).await;
    let job = bench.enqueue("forever", "{}").await;
    bench.reaches(job, Status::Running).await;
    cluster.wait_for_cost(1).await;
    eventually(SOON, "it is asked a third time", async || match cluster.requests.lock().unwrap().len() {
        requests if requests >= 3 => Ok(()),
        requests => Err(requests),
    })
    .await;
    let warnings = process.lines().iter().filter(|line| line.contains("could not be reported")).count();
    assert_eq!(warnings, 1, "one line for one trouble");
    end(process).await;
}
