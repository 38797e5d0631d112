//! Many senders at once, each of which knows exactly what was acknowledged.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{App, Call, TestServer, WEBHOOK_SECRET, eventually, hmac_hex, kinds, of_call};

/// What is told of a call, in this order. What has no name here is told each time that it is processed: it would
/// betray a webhook that was processed twice, which leaves no trace in a call's state.
pub(crate) const LIFE: [&str; 7] =
    ["call.ring", "call.raw", "call.started", "call.held", "call.raw", "call.resumed", "call.ended"];

fn webhooks_of(call: &Call) -> [Value; 7] {
    let [ring, started, held, resumed, ended] = call.life();
    let noted = |at: i64| call.event("call.noted", at);
    [ring, noted(1), started, held, noted(46), resumed, ended]
}

/// One call on its way through its life.
#[derive(Clone)]
pub(crate) struct Journey {
    call: Call,
    /// How many of its webhooks were acknowledged.
    pub(crate) acknowledged: usize,
    /// Whether the next one was sent, and nobody knows what became of it.
    pub(crate) in_doubt: bool,
}

/// What the senders did.
pub(crate) struct Burst {
    pub(crate) journeys: RefCell<Vec<Journey>>,
    pub(crate) acknowledged: Cell<usize>,
    next_call: Cell<i64>,
}

impl Burst {
    /// A burst whose calls have ids from this one on.
    pub(crate) fn from_call(first: i64) -> Self {
        Self { journeys: RefCell::default(), acknowledged: Cell::new(0), next_call: Cell::new(first) }
    }

    /// So many senders make calls, one after the other, until the server is gone.
    pub(crate) async fn send_all(&self, server: &TestServer, app: &App, senders: usize) {
        join_all((0..senders).map(|_| self.send_calls(server, app))).await;
    }

    async fn send_calls(&self, server: &TestServer, app: &App) {
        loop {
            let call = Call::new(self.next_call.replace(self.next_call.get() + 1));
            let mut journey = Journey { call, acknowledged: 0, in_doubt: false };
            let finished =
                journey.travel(server, app, || self.acknowledged.set(self.acknowledged.get() + 1)).await;
            self.journeys.borrow_mut().push(journey);
            if !finished {
                return;
            }
        }
    }

    /// Waits until so many webhooks are acknowledged.
    pub(crate) async fn until_acknowledged(&self, count: usize) {
        while self.acknowledged.get() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends what is left of every call, what was in doubt included, as patiently as Dialpad.
    pub(crate) async fn finish(&self, server: &TestServer, app: &App) {
        let mut journeys = self.journeys.borrow().clone();
        join_all(journeys.iter_mut().map(async |journey| {
            eventually("a call comes to its end", async || {
                journey.travel(server, app, || ()).await.then_some(())
            })
            .await;
        }))
        .await;
        *self.journeys.borrow_mut() = journeys;
    }
}

impl Journey {
    /// Sends webhook after webhook. False if the server went away.
    async fn travel(&mut self, server: &TestServer, app: &App, mut on_ack: impl FnMut()) -> bool {
        let life = webhooks_of(&self.call);
        while self.acknowledged < life.len() {
            self.in_doubt = true;
            if !post(server, app, &life[self.acknowledged]).await {
                return false;
            }
            self.in_doubt = false;
            self.acknowledged += 1;
            on_ack();
        }
        true
    }

    /// Of this call, everything acknowledged was told exactly once and in order, and at most the webhook in doubt
    /// beside it.
    #[track_caller]
    pub(crate) fn assert_told(&self, feed: &[Value]) {
        let told = of_call(feed, self.call.id);
        let told = kinds(&told);
        let most = self.acknowledged + usize::from(self.in_doubt);
        assert!(
            (self.acknowledged..=most).contains(&told.len()) && told == LIFE[..told.len()],
            "call {}: {} webhooks were acknowledged, but told was {told:?}",
            self.call.id,
            self.acknowledged
        );
    }

    /// Whether everything that was acknowledged is in the feed.
    pub(crate) fn is_told(&self, feed: &[Value]) -> bool {
        of_call(feed, self.call.id).len() >= self.acknowledged
    }
}

/// Whether the webhook was acknowledged. Anything but that, a 503 or a broken connection is an error.
async fn post(server: &TestServer, app: &App, payload: &Value) -> bool {
    let body = payload.to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let request =
        server.post(&format!("/webhooks/{}", app.id)).header("x-dialpad-signature", signature).body(body);
    let Ok(response) = request.send().await else { return false };
    if response.status() == 503 {
        // Received by a server that is about to stop; Dialpad would come again.
        return false;
    }
    assert_eq!(response.status(), 200, "an authentic webhook was refused");
    // An acknowledgement that breaks off in the middle is none.
    response.bytes().await.is_ok_and(|body| {
        let ack: Value = serde_json::from_slice(&body).expect("an acknowledgement is JSON");
        ack["success"] == true
    })
}
