//! The requests of an operator and of a CRM to a server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Failure;
use crate::call::Call;
use crate::oracle::Seen;
use crate::process::TICK;
use crate::receiver::parse;

const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a page of a list may be refused, and how often it is asked for: no CRM repeats faster.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the first request may take, while all else starts.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// An app of a server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct App {
    pub(crate) app_id: String,
    pub(crate) api_key: String,
}

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    server: SocketAddr,
    admin_secret: String,
}

impl Api {
    pub(crate) fn new(server: SocketAddr, admin_secret: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http, server, admin_secret: admin_secret.to_owned() })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server)
    }

    /// Creates an app. A server on a busy machine may need some tries.
    pub(crate) async fn create_app(&self, name: &str) -> Result<App, Failure> {
        let body = json!({ "name": name });
        let began = Instant::now();
        loop {
            let request = self.http.post(self.url("/internal/apps")).bearer_auth(&self.admin_secret);
            match request.json(&body).send().await {
                Ok(answer) if answer.status().as_u16() != 503 => {
                    return Ok(answer.error_for_status()?.json().await?);
                }
                failed if began.elapsed() > START_TIMEOUT => {
                    return Ok(failed?.error_for_status()?.json().await?);
                }
                _ => {}
            }
            sleep(TICK * 10).await;
        }
    }

    /// Returns the status and the body of `/health`.
    pub(crate) async fn health(&self) -> Option<(u16, String)> {
        let answer = self.http.get(self.url("/health")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Returns the status of any path of a CRM.
    pub(crate) async fn status_of(&self, app: &App, path: &str) -> Option<u16> {
        let request = self.http.get(self.url(path)).header("x-api-key", &app.api_key);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// Sends a request of an operator. Returns the body of its answer.
    pub(crate) async fn admin(&self, method: reqwest::Method, path: &str) -> Result<Value, Failure> {
        let request = self.http.request(method, self.url(path)).bearer_auth(&self.admin_secret);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Returns a metric, summed over its labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let text = self.http.get(self.url("/metrics")).send().await?.error_for_status()?.text().await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    /// Returns all events of an app, page by page.
    pub(crate) async fn events(&self, app: &App) -> Result<Vec<Seen>, Failure> {
        let mut events = Vec::new();
        let pages = self.pages(app, "/api/events?after=0&limit=1000".to_owned(), |event| {
            events.extend(parse(event));
        });
        pages.await?;
        Ok(events)
    }

    /// Returns the status of each call of an app.
    pub(crate) async fn statuses(&self, app: &App) -> Result<HashMap<u32, String>, Failure> {
        let mut statuses = HashMap::new();
        let pages = self.pages(app, "/api/calls?limit=500".to_owned(), |call| {
            let number = call["dialpad_call_id"].as_i64().and_then(Call::number_of);
            statuses.extend(number.zip(call["status"].as_str().map(str::to_owned)));
        });
        pages.await?;
        Ok(statuses)
    }

    /// Returns a page of a list. One that is refused with 503, or not answered, is asked for again, as a client does.
    async fn page(&self, app: &App, path: &str) -> Result<reqwest::Response, Failure> {
        let began = Instant::now();
        loop {
            let request = self.http.get(self.url(path)).header("x-api-key", &app.api_key);
            match request.send().await {
                Ok(answer) if answer.status().as_u16() != 503 => return Ok(answer.error_for_status()?),
                failed if began.elapsed() > PAGE_TIMEOUT => return Ok(failed?.error_for_status()?),
                _ => sleep(RETRY_INTERVAL).await,
            }
        }
    }

    /// Calls `each` with every item of a list.
    pub(crate) async fn pages(
        &self,
        app: &App,
        first: String,
        mut each: impl FnMut(&Value),
    ) -> Result<(), Failure> {
        let mut path = Some(first);
        while let Some(page) = path.take() {
            let answer = self.page(app, &page).await?;
            let link = answer.headers().get("link").and_then(|link| link.to_str().ok());
            path = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
            let items: Vec<Value> = answer.json().await?;
            items.iter().for_each(&mut each);
        }
        Ok(())
    }
}
