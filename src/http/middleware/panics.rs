//! A handler that panics. That is a bug, and it must not affect any other request.

use std::panic::AssertUnwindSafe;

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
    middleware::Next,
};
use futures_util::FutureExt;
use thiserror::Error as ThisError;

use super::span::request_id;
use crate::http::error::ApiError;

/// The error of a request whose handler panicked. The client gets the request id and nothing of the panic.
#[derive(Debug, ThisError)]
#[error("a handler panicked")]
struct Panicked {
    request_id: Option<String>,
}

impl ResponseError for Panicked {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    fn error_response(&self) -> HttpResponse {
        ApiError::internal().answer(self.request_id.as_deref())
    }
}

/// Answers 500 for a handler that panics.
///
/// # Errors
/// Those of the inner services, and their panics.
pub(crate) async fn catch_panics<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let request_id = request_id(request.request());
    // The handler's future is dropped. What it shares with others must tolerate a handler that stops at any point.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(panic = text.unwrap_or("no message"), "a handler panicked");
            Err(Panicked { request_id }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::{App, HttpServer, middleware::from_fn, rt, web};
    use serde_json::Value;
    use tracing_actix_web::TracingLogger;

    use super::*;
    use crate::http::middleware::{errors::observe, span::RequestSpan};

    async fn panic() -> HttpResponse {
        panic!("a secret that no client may see")
    }

    #[actix_web::test]
    async fn a_panic_is_answered_with_its_request_id_and_affects_no_other_request() {
        let app = || {
            App::new()
                .route("/breaks", web::get().to(panic))
                .route("/works", web::get().to(|| async { "yes" }))
                .wrap(from_fn(catch_panics))
                .wrap(from_fn(observe))
                .wrap(TracingLogger::<RequestSpan>::new())
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").expect("a port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        // One connection, one worker: if the panic had ended either, the next answers would not come.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1).build().expect("a client");
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            let broken = http.get(format!("http://{address}/breaks")).send().await.expect("an answer");
            assert_eq!(broken.status(), 500);
            let body: Value = serde_json::from_str(&broken.text().await.expect("a body")).expect("JSON");
            assert_eq!(body["code"], "INTERNAL_ERROR");
            assert!(!body.to_string().contains("secret"), "{body}");
            ids.insert(body["request_id"].as_str().expect("a request id").to_owned());
            assert_eq!(body.as_object().expect("an object").len(), 3, "{body}");
            let works = http.get(format!("http://{address}/works")).send().await.expect("an answer");
            assert_eq!(works.text().await.expect("a body"), "yes");
        }
        assert_eq!(ids.len(), 3);
        handle.stop(true).await;
    }
}
