//! A small client of the REST API. Prints what the API answers; an error of the API is printed as it explains itself.

use std::io::Read as _;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};

use crate::args::{ActArgs, ApiArgs, GetArgs, ListArgs, SubmitArgs};

/// One connection to the API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<String>,
}

impl Client {
    pub(crate) fn new(api: &ApiArgs) -> anyhow::Result<Self> {
        let base = Url::parse(&api.url).with_context(|| format!("JOBQUEUE_URL {} is not a URL", api.url))?;
        Ok(Self { http: reqwest::Client::new(), base, key: api.api_key.clone() })
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let request = self.http.request(method, self.base.join(path)?);
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    /// The JSON of a good answer; a bad one becomes an error that quotes the API's own explanation.
    async fn answer(request: RequestBuilder) -> anyhow::Result<Value> {
        let response =
            request.send().await.context("the API cannot be reached; is it running? (JOBQUEUE_URL)")?;
        let status = response.status();
        let body: Value =
            response.json().await.with_context(|| format!("the API answered {status} without JSON"))?;
        if status.is_success() {
            return Ok(body);
        }
        anyhow::bail!("the API refused with {status}: {}", explanation(&body))
    }

    /// Submits a job.
    pub(crate) async fn submit(&self, job: &Value) -> anyhow::Result<Value> {
        Self::answer(self.request(Method::POST, "/v1/jobs")?.json(job)).await
    }

    /// Submits many jobs; all or none.
    pub(crate) async fn submit_all(&self, jobs: &[Value]) -> anyhow::Result<Value> {
        Self::answer(self.request(Method::POST, "/v1/jobs/batch")?.json(&json!({ "jobs": jobs }))).await
    }

    /// A job, after up to `wait` seconds for its end.
    pub(crate) async fn job(&self, id: &str, wait: u64) -> anyhow::Result<Value> {
        Self::answer(self.request(Method::GET, &format!("/v1/jobs/{id}?wait={wait}"))?).await
    }

    /// What happened to a job.
    pub(crate) async fn attempts(&self, id: &str) -> anyhow::Result<Value> {
        Self::answer(self.request(Method::GET, &format!("/v1/jobs/{id}/attempts"))?).await
    }

    /// Whether the API is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(request) = self.request(Method::GET, "/ready") else { return false };
        request.send().await.is_ok_and(|response| response.status().is_success())
    }
}

/// The problem's sentences, field by field.
fn explanation(problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![if problem["detail"].is_string() { text("detail") } else { text("title") }];
    for error in problem["errors"].as_array().into_iter().flatten() {
        let (pointer, message) = (error["pointer"].as_str(), error["message"].as_str());
        lines.push(format!("  {} {}", pointer.unwrap_or_default(), message.unwrap_or_default()));
    }
    lines.join("\n")
}

pub(crate) async fn submit(args: SubmitArgs) -> anyhow::Result<()> {
    let mut text = args.payload;
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    }
    let payload: Value = serde_json::from_str(&text).context("the payload is not JSON")?;
    let mut job =
        json!({ "kind": args.kind, "queue": args.queue, "priority": args.priority, "payload": payload });
    if let Some(delay) = args.delay_seconds {
        job["delay_seconds"] = json!(delay);
    }
    let client = Client::new(&args.api)?;
    let mut answer = client.submit(&job).await?;
    if let (true, Some(id)) = (args.wait > 0, answer["id"].as_str()) {
        answer = client.job(id, args.wait).await?;
    }
    print(&answer)
}

pub(crate) async fn get(args: GetArgs) -> anyhow::Result<()> {
    print(&Client::new(&args.api)?.job(&args.id, args.wait).await?)
}

pub(crate) async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.api)?;
    let status = args.status.into_iter().map(|status| ("status", status));
    let queue = args.queue.into_iter().map(|queue| ("queue", queue));
    let query: Vec<(&str, String)> = status.chain(queue).chain([("limit", args.limit.to_string())]).collect();
    let base = client.request(Method::GET, "/v1/jobs")?.build()?;
    let mut url = base.url().clone();
    url.query_pairs_mut().extend_pairs(query);
    let page = Client::answer(client.request(Method::GET, url.as_str())?).await?;
    for job in page["jobs"].as_array().into_iter().flatten() {
        let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
        println!(
            "{}  {:<9}  {:<20}  {:<24}  {}",
            text("id"),
            text("status"),
            text("queue"),
            text("kind"),
            text("created_at")
        );
    }
    Ok(())
}

pub(crate) async fn act(verb: &str, args: ActArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.api)?;
    let path = format!("/v1/jobs/{}/{verb}", args.id);
    print(&Client::answer(client.request(Method::POST, &path)?).await?)
}

fn print(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
