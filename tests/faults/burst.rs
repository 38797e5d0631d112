//! Many concurrent senders, each of which knows exactly which webhooks were acknowledged.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{App, Call, TestServer, WEBHOOK_SECRET, eventually, hmac_hex, kinds, of_call};

/// The events of one call, in order. The two `call.raw` are webhooks without a type of their own: each is emitted every
/// time it is processed, so they reveal a webhook processed twice, which leaves no trace in the state of a call.
pub(crate) const CALL_EVENTS: [&str; 7] =
    ["call.ring", "call.raw", "call.started", "call.held", "call.raw", "call.resumed", "call.ended"];

pub(crate) fn webhooks_of(call: &Call) -> [Value; 7] {
    let [ring, started, held, resumed, ended] = call.life();
    let noted = |at: i64| call.event("call.noted", at);
    [ring, noted(1), started, held, noted(46), resumed, ended]
}

/// A call whose webhooks are being sent.
#[derive(Clone)]
pub(crate) struct CallProgress {
    call: Call,
    /// How many of its webhooks were acknowledged.
    pub(crate) acknowledged: usize,
    /// Whether the next webhook was sent and its outcome is unknown.
    pub(crate) unanswered: bool,
}

/// What the senders have sent.
pub(crate) struct Burst {
    pub(crate) calls: RefCell<Vec<CallProgress>>,
    pub(crate) acknowledged: Cell<usize>,
    next_call: Cell<i64>,
}

impl Burst {
    /// Creates a burst whose call ids start at `first`.
    pub(crate) fn from_call(first: i64) -> Self {
        Self { calls: RefCell::default(), acknowledged: Cell::new(0), next_call: Cell::new(first) }
    }

    /// Runs `senders` senders, each of which sends call after call, until the server is gone.
    pub(crate) async fn send_all(&self, server: &TestServer, app: &App, senders: usize) {
        join_all((0..senders).map(|_| self.send_calls(server, app))).await;
    }

    async fn send_calls(&self, server: &TestServer, app: &App) {
        loop {
            let call = Call::new(self.next_call.replace(self.next_call.get() + 1));
            let mut progress = CallProgress { call, acknowledged: 0, unanswered: false };
            let finished =
                progress.send_rest(server, app, || self.acknowledged.set(self.acknowledged.get() + 1)).await;
            self.calls.borrow_mut().push(progress);
            if !finished {
                return;
            }
        }
    }

    /// Waits until `count` webhooks are acknowledged.
    pub(crate) async fn wait_for_acknowledged(&self, count: usize) {
        while self.acknowledged.get() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends the rest of every call, including the unanswered webhook, and retries as Dialpad does.
    pub(crate) async fn finish(&self, server: &TestServer, app: &App) {
        let mut calls = self.calls.borrow().clone();
        join_all(calls.iter_mut().map(async |progress| {
            eventually("a call is sent completely", async || {
                progress.send_rest(server, app, || ()).await.then_some(())
            })
            .await;
        }))
        .await;
        *self.calls.borrow_mut() = calls;
    }
}

impl CallProgress {
    /// Sends the remaining webhooks in order. Returns false if the server went away.
    async fn send_rest(&mut self, server: &TestServer, app: &App, mut on_ack: impl FnMut()) -> bool {
        let life = webhooks_of(&self.call);
        while self.acknowledged < life.len() {
            self.unanswered = true;
            if !post(server, app, &life[self.acknowledged]).await {
                return false;
            }
            self.unanswered = false;
            self.acknowledged += 1;
            on_ack();
        }
        true
    }

    /// Asserts that everything acknowledged of this call is in the feed exactly once and in order, with at most the
    /// unanswered webhook in addition.
    #[track_caller]
    pub(crate) fn assert_delivered(&self, feed: &[Value]) {
        let received = of_call(feed, self.call.id);
        let received = kinds(&received);
        let max = self.acknowledged + usize::from(self.unanswered);
        assert!(
            (self.acknowledged..=max).contains(&received.len()) && received == CALL_EVENTS[..received.len()],
            "call {}: {} webhooks were acknowledged, but the feed has {received:?}",
            self.call.id,
            self.acknowledged
        );
    }

    /// Whether everything that was acknowledged is in the feed.
    pub(crate) fn is_delivered(&self, feed: &[Value]) -> bool {
        of_call(feed, self.call.id).len() >= self.acknowledged
    }
}

/// Sends a webhook and returns whether it was acknowledged. Panics on anything but that, a 503 or a broken connection.
async fn post(server: &TestServer, app: &App, payload: &Value) -> bool {
    let body = payload.to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let request =
        server.post(&format!("/webhooks/{}", app.id)).header("x-dialpad-signature", signature).body(body);
    let Ok(response) = request.send().await else { return false };
    if response.status() == 503 {
        // Received by a server that is about to stop; Dialpad would retry.
        return false;
    }
    assert_eq!(response.status(), 200, "an authentic webhook was refused");
    // An incomplete acknowledgement does not count.
    response.bytes().await.is_ok_and(|body| {
        let ack: Value = serde_json::from_slice(&body).expect("an acknowledgement is JSON");
        ack["success"] == true
    })
}
