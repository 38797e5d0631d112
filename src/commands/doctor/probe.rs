//! Requests to the running server.

use std::time::Duration;

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{self, HeaderMap},
    redirect,
};
use serde_json::Value;

use crate::{commands::error_chain, config::Config, http::health::DOCTOR};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A running server.
pub(super) struct Server {
    client: Client,
    base: Url,
}

/// An answer, wholly read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
    /// The query of the next page of a list.
    next: Option<String>,
}

impl Server {
    /// Finds the server: the one of the command line, that of PUBLIC_URL, or one on this machine.
    pub(super) fn of(config: &Config, url: Option<&Url>) -> Result<Self, String> {
        let local = || {
            // What listens on all addresses is reached at the local one.
            let host = match config.host.as_str() {
                "0.0.0.0" | "::" => "localhost",
                host => host,
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            Url::parse(&format!("{scheme}://{host}:{}", config.port)).map_err(|error| error.to_string())
        };
        let base = match url.or(config.public_url.as_ref()) {
            Some(url) => url.clone(),
            None => local()?,
        };
        let client =
            Client::builder().user_agent(DOCTOR).timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        Ok(Self { client: client.map_err(|error| error_chain(&error))?, base })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Sends a request, and reads the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, String> {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let read = async {
            let answer: Response = request.send().await?;
            let (status, next) = (answer.status(), next_page(answer.headers()));
            Ok(Answer { status, next, text: answer.text().await? })
        };
        read.await.map_err(|error: reqwest::Error| error_chain(&error.without_url()))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, &[], None).await
    }

    /// Reads a list of an administrator with all its pages, up to a number of items.
    pub(super) async fn list(&self, path: &str, secret: &str, max: usize) -> Result<Vec<Value>, String> {
        let (mut items, mut query) = (Vec::new(), "limit=100".to_owned());
        loop {
            let answer = self.administer(Method::GET, &format!("{path}?{query}"), secret, None).await;
            let answer = match answer {
                Ok(answer) if answer.status == StatusCode::OK => answer,
                failed => return Err(format!("GET {path} {}", outcome(&failed))),
            };
            items.extend(answer.json().as_array().into_iter().flatten().cloned());
            match answer.next {
                Some(next) if items.len() < max => query = next,
                _ => return Ok(items),
            }
        }
    }

    /// Sends a request of an administrator.
    pub(super) async fn administer(
        &self,
        method: Method,
        path: &str,
        secret: &str,
        body: Option<Value>,
    ) -> Result<Answer, String> {
        let bearer = format!("Bearer {secret}");
        self.send(method, path, &[("authorization", &bearer)], body.map(|body| body.to_string())).await
    }
}

/// Returns the query of the next page, as the `Link` header names it.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let next = link.split(',').find(|one| one.contains("rel=\"next\""))?;
    let (_, query) = next.split_once('<')?.1.split_once('>')?.0.split_once('?')?;
    Some(query.to_owned())
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Describes an answer or the lack of one, for a check.
pub(super) fn outcome(answer: &Result<Answer, String>) -> String {
    match answer {
        Ok(answer) => format!("answered {}", answer.status.as_u16()),
        Err(error) => format!("failed: {error}"),
    }
}
