//! The time in which a body must have arrived. The HTTP library limits only that of the head, and everyone may send
//! bodies: a webhook is authentic only once its whole body is there. Each body takes up a connection, and connections
//! take up open files.

use std::{
    cell::Cell,
    future::pending,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{ConnectionType, StatusCode},
    middleware::Next,
    web::Bytes,
};
use futures_util::{
    Stream,
    future::{Either, select},
    ready,
};
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep};

use super::span::request_id;
use crate::{
    http::error::{ApiError, ErrorCode},
    net,
};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a body may take in any case. One that takes longer is slow.
const MIN_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a slow body is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Of how many open files one may be that of a slow body. A connection takes two.
const FILES_PER_SLOW_BODY: u64 = 8;

/// How many slow bodies are being received.
static SLOW_BODIES: AtomicU64 = AtomicU64::new(0);
/// How many there may be: the others keep a reserve of open files.
static MAX_SLOW_BODIES: LazyLock<u64> =
    LazyLock::new(|| net::max_open_files().map_or(u64::MAX, |files| (files / FILES_PER_SLOW_BODY).max(1)));

/// The error of a request whose body took too long.
#[derive(Debug, ThisError)]
#[error("the body took too long")]
struct BodyTimedOut {
    request_id: Option<String>,
}

impl ResponseError for BodyTimedOut {
    fn status_code(&self) -> StatusCode {
        ErrorCode::RequestTimeout.status()
    }

    fn error_response(&self) -> HttpResponse {
        let error = ApiError::new(ErrorCode::RequestTimeout, "The body took too long to arrive");
        let mut answer = error.answer(self.request_id.as_deref());
        answer.head_mut().set_connection_type(ConnectionType::Close);
        answer
    }
}

/// Answers 408 if the handler waits too long for the body. While there are too many slow bodies, each of them is.
///
/// # Errors
/// Those of the inner services, or that one.
pub(crate) async fn limit_body_time<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let body = request.take_payload();
    // What a WebSocket receives is a body that never ends.
    if matches!(body, Payload::None) || request.path() == "/ws" {
        request.set_payload(body);
        return next.call(request).await;
    }
    let progress = Rc::new(Progress::default());
    let observed = ObservedBody { body, progress: Rc::clone(&progress) };
    request.set_payload(Payload::Stream { payload: Box::pin(observed) });
    let request_id = request_id(request.request());
    match select(pin!(next.call(request)), pin!(progress.timed_out())).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Err(BodyTimedOut { request_id }.into()),
    }
}

#[derive(Debug, Default)]
struct Progress {
    /// Whether the handler waits for more of the body.
    is_awaited: Cell<bool>,
    is_complete: Cell<bool>,
}

impl Progress {
    /// Waits until the body has taken too long.
    async fn timed_out(&self) {
        let began = Instant::now();
        sleep(MIN_BODY_TIMEOUT).await;
        let mut slow = None;
        while !self.is_complete.get() {
            // A handler that does not read the body may take as long as it needs.
            if self.is_awaited.get() {
                slow.get_or_insert_with(SlowBody::begin);
                if began.elapsed() >= BODY_TIMEOUT || slow.take_if(|slow| slow.is_one_too_many()).is_some() {
                    return;
                }
            } else {
                slow = None;
            }
            sleep(CHECK_INTERVAL).await;
        }
        drop(slow);
        pending().await
    }
}

/// Counts a slow body while it exists.
struct SlowBody {
    is_counted: bool,
}

impl SlowBody {
    fn begin() -> Self {
        SLOW_BODIES.fetch_add(1, Ordering::Relaxed);
        Self { is_counted: true }
    }

    /// Whether there are too many slow bodies. If so, this one no longer counts: it is the one to end.
    fn is_one_too_many(&mut self) -> bool {
        let one_less = |count: u64| (count > *MAX_SLOW_BODIES).then(|| count - 1);
        let is_one = SLOW_BODIES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        self.is_counted = !is_one;
        is_one
    }
}

impl Drop for SlowBody {
    fn drop(&mut self) {
        if self.is_counted {
            SLOW_BODIES.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A body that records how far it is.
struct ObservedBody {
    body: Payload,
    progress: Rc<Progress>,
}

impl Stream for ObservedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.progress.is_awaited.set(true);
        let part = ready!(Pin::new(&mut self.body).poll_next(cx));
        self.progress.is_awaited.set(false);
        if !matches!(part, Some(Ok(_))) {
            self.progress.is_complete.set(true);
        }
        Poll::Ready(part)
    }
}
