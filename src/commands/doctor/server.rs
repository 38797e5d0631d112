//! Checks of the running server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Method, StatusCode, Url};
use secrecy::ExposeSecret;

use super::{
    apps,
    check::Check,
    probe::{Answer, Server, outcome},
    processes, walk,
};
use crate::config::{Config, Environment};

/// Prometheus asks each minute, or more often.
const MAX_SCRAPE_AGE: Duration = Duration::from_secs(600);
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn check(config: &Config, url: Option<&Url>) -> Vec<Check> {
    let server = match Server::of(config, url) {
        Ok(server) => server,
        Err(error) => return vec![Check::fail("server", error, "give the server's address with --server")],
    };
    let home = server.get("/").await;
    let how = format!("GET {} {}", server.base(), outcome(&home));
    if !is(&home, StatusCode::OK) {
        let fix = "start the server, or give its address with --server; behind TLS, check the certificate";
        return vec![Check::fail("server", how, fix)];
    }
    let mut checks = vec![Check::ok("server", how), tls(config, &server)];
    let version = home.map(|home| home.json()["version"].as_str().unwrap_or_default().to_owned());
    let version = version.unwrap_or_default();
    checks.push(Check::advise(
        "version",
        version == VERSION,
        format!("the server has version {version}, this program {VERSION}"),
        "run the doctor of the server's version",
    ));
    checks.extend(health(&server).await);
    checks.push(signature(config, &server).await);
    checks.extend(metrics(config, &server).await);
    let administration = administration(config, &server).await;
    let is_open = administration.iter().all(|check| check.fix.is_empty());
    checks.extend(administration);
    if let (true, Some(secret)) = (is_open, config.internal_secrets.first()) {
        let secret = secret.expose_secret();
        checks.extend(processes::check(&server, secret).await);
        checks.extend(apps::check(&server, secret).await);
        checks.extend(walk::check(config, &server, secret).await);
    }
    checks
}

fn is(answer: &Result<Answer, String>, status: StatusCode) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == status)
}

fn tls(config: &Config, server: &Server) -> Check {
    let base = server.base();
    if base.scheme() == "https" {
        return Check::ok("tls", format!("the certificate of {base} is trusted"));
    }
    Check::advise(
        "tls",
        config.environment == Environment::Sandbox,
        format!("{base} was asked without TLS"),
        "check the https address as well: run doctor without --server, with PUBLIC_URL set",
    )
}

async fn health(server: &Server) -> Vec<Check> {
    let health = server.get("/health").await;
    let problems = health.as_ref().map(|health| health.json()["checks"].clone()).unwrap_or_default();
    let problems = problems.as_object().into_iter().flatten().filter(|(_, state)| *state != "ok");
    let problems: Vec<String> = problems.map(|(name, state)| format!("{name}: {state}")).collect();
    let ready = server.get("/health/ready").await;
    vec![
        Check::require(
            "health",
            is(&health, StatusCode::OK),
            format!("GET /health {} {}", outcome(&health), problems.join(", ")).trim_end().to_owned(),
            "correct what it names, usually the database",
        ),
        Check::require(
            "ready",
            is(&ready, StatusCode::OK),
            format!("GET /health/ready {}", outcome(&ready)),
            "webhooks can't be stored: check the database and the room on the disk",
        ),
    ]
}

/// A webhook with a wrong signature must be refused.
async fn signature(config: &Config, server: &Server) -> Check {
    let headers = [(config.signature_header.as_str(), "00")];
    let answer = server.send(Method::POST, "/webhooks", &headers, Some("{}".into())).await;
    Check::require(
        "webhook_signature",
        is(&answer, StatusCode::UNAUTHORIZED),
        format!("POST /webhooks with a wrong signature {}", outcome(&answer)),
        "nothing in front of the server may answer for /webhooks; set DIALPAD_WEBHOOK_SECRET",
    )
}

async fn metrics(config: &Config, server: &Server) -> Vec<Check> {
    let bearer = config.metrics_token.as_ref().map(|token| format!("Bearer {}", token.expose_secret()));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    let answer = server.send(Method::GET, "/metrics", &headers, None).await;
    let text = answer.as_ref().map(|answer| answer.text.as_str()).unwrap_or_default();
    let is_served = is(&answer, StatusCode::OK) && text.contains("cti_build_info");
    let scraped_at =
        text.lines().find_map(|line| line.strip_prefix("cti_metrics_last_scrape_timestamp_seconds "));
    let scraped_at = scraped_at.and_then(|at| at.trim().parse::<f64>().ok()).filter(|at| *at > 0.0);
    let mut checks = vec![Check::require(
        "metrics",
        is_served,
        format!("GET /metrics {}", outcome(&answer)),
        "let Prometheus reach /metrics, with METRICS_TOKEN if it is set",
    )];
    if is_served {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let age = scraped_at.map(|at| (now - at).max(0.0));
        checks.push(Check::advise(
            "monitoring",
            age.is_some_and(|age| age <= MAX_SCRAPE_AGE.as_secs_f64()),
            match age {
                Some(age) => format!("/metrics was last asked for {age:.0} s ago"),
                None => "nobody has asked for /metrics since the start".to_owned(),
            },
            "let Prometheus scrape /metrics, and load the alerts",
        ));
    }
    checks
}

async fn administration(config: &Config, server: &Server) -> Vec<Check> {
    let path = "/internal/apps?limit=1";
    let without = server.get(path).await;
    let mut checks = vec![Check::require(
        "internal_api_closed",
        is(&without, StatusCode::UNAUTHORIZED),
        format!("GET /internal/apps without a bearer {}", outcome(&without)),
        "nothing in front of the server may add the bearer; let the proxy refuse /internal from outside",
    )];
    for secret in &config.internal_secrets {
        let answer = server.administer(Method::GET, path, secret.expose_secret(), None).await;
        checks.push(Check::require(
            "internal_api",
            is(&answer, StatusCode::OK),
            format!("GET /internal/apps with INTERNAL_API_SECRET {}", outcome(&answer)),
            "give doctor the settings that the server was started with",
        ));
    }
    checks
}
