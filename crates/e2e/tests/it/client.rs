//! A client of the API as an application uses it: HTTP and a key. Never reads the database.

use std::net::SocketAddr;
use std::time::Duration;

use jobqueue_testkit::eventually;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The root key of every API in these tests.
pub(crate) const KEY: &str = "the-root-key-of-the-e2e-tests-0123456789";
/// The API guarantees a response within 30 s.
const REQUEST_LIMIT: Duration = Duration::from_secs(35);
/// Time limit for a job that nothing delays; reached only if the test fails.
const END_LIMIT: Duration = Duration::from_secs(90);
const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

/// Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// The parts of a response that the tests use.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        jobqueue_runtime::install_tls_provider();
        let http = reqwest::Client::builder().timeout(REQUEST_LIMIT).no_proxy().build().unwrap();
        Self { http, base: format!("http://{address}") }
    }

    /// An error means that there was no response, so the result of the request is unknown.
    pub(crate) async fn try_get(&self, path: &str) -> reqwest::Result<Answer> {
        Self::send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
    }

    /// Posts JSON text unchanged, with an idempotency key if one is given.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        body: String,
        key: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let mut request =
            self.request(Method::POST, path).header("content-type", "application/json").body(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Self::send(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body.to_string(), None)
            .await
            .unwrap_or_else(|error| panic!("POST {path}: {error:?}"))
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path).header("content-type", "application/json");
        let answer = Self::send(request.body(body.to_string())).await;
        answer.unwrap_or_else(|error| panic!("PUT {path}: {error:?}"))
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        let answer = Self::send(self.request(Method::DELETE, path)).await;
        answer.unwrap_or_else(|error| panic!("DELETE {path}: {error:?}"))
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submit(&self, job: &Value) -> String {
        id_of(&self.post("/v1/jobs", job).await.expect(201).json())
    }

    /// Submits many jobs in one request and returns their ids.
    pub(crate) async fn submit_all(&self, jobs: &[Value]) -> Vec<String> {
        let answer = self.post("/v1/jobs/batch", &json!({ "jobs": jobs })).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()["items"].as_array().unwrap().iter().map(|item| id_of(&item["job"])).collect()
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.expect(200).json()
    }

    /// Waits by long poll until the job is final, and returns it.
    pub(crate) async fn finished(&self, id: &str) -> Value {
        eventually(END_LIMIT, "the job is final", async || {
            let job = self.get(&format!("/v1/jobs/{id}?wait=20")).await.expect(200).json();
            if FINAL.iter().any(|status| job["status"] == *status) { Ok(job) } else { Err(job) }
        })
        .await
    }

    /// Waits until the job is completed, and returns it; fails if it ends in another status.
    pub(crate) async fn completed(&self, id: &str) -> Value {
        let job = self.finished(id).await;
        assert_eq!(job["status"], "completed", "{job}");
        job
    }

    /// The attempts of a job, oldest first.
    pub(crate) async fn attempts(&self, id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/jobs/{id}/attempts")).await.expect(200).json();
        answer["attempts"].as_array().unwrap().clone()
    }

    /// The outcomes of the attempts of a job, oldest first.
    pub(crate) async fn endings(&self, id: &str) -> Vec<String> {
        let text = |attempt: &Value| attempt["ended"].as_str().unwrap().to_owned();
        self.attempts(id).await.iter().map(text).collect()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        Ok(Answer { status, retry_after, text: response.text().await? })
    }
}

/// The id in a job's JSON.
pub(crate) fn id_of(job: &Value) -> String {
    job["id"].as_str().unwrap_or_else(|| panic!("no id: {job}")).to_owned()
}
