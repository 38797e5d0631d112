//! The feed over REST, read as a CRM would read it.

use serde_json::Value;

use super::{
    call::Call,
    events::{kinds, of_call},
    eventually,
    server::{App, Ask, TestServer},
};

impl TestServer {
    /// Returns all events of the app so far.
    pub(crate) async fn feed(&self, app: &App) -> Vec<Value> {
        self.feed_after(app, 0).await
    }

    /// Returns all events after this one.
    pub(crate) async fn feed_after(&self, app: &App, mut after: i64) -> Vec<Value> {
        let mut feed = Vec::new();
        loop {
            let page =
                self.get(&format!("/api/events?after={after}&limit=1000")).by(app).answer().await.list();
            let Some(last) = page.last() else { return feed };
            after = last["seq"].as_i64().expect("an event has a seq");
            feed.extend(page);
        }
    }

    /// Waits until this many events were emitted, and returns them. More events are an error.
    pub(crate) async fn wait_for_events(&self, app: &App, count: usize) -> Vec<Value> {
        let feed =
            self.feed_when(app, &format!("{count} events are emitted"), |feed| feed.len() >= count).await;
        assert_eq!(feed.len(), count, "{:?}", kinds(&feed));
        feed
    }

    /// Waits until an event of this type was emitted, and returns the feed.
    pub(crate) async fn feed_until(&self, app: &App, kind: &str) -> Vec<Value> {
        self.feed_when(app, &format!("{kind} is emitted"), |feed| kinds(feed).contains(&kind)).await
    }

    /// Waits until all webhooks so far are processed, and returns the feed. It lets a marker call ring, waits for its event
    /// and removes it.
    pub(crate) async fn feed_once_processed(&self, app: &App, marker: i64) -> Vec<Value> {
        self.webhook(app, &Call::new(marker).ring(0)).await;
        let what = format!("everything before call {marker} is processed");
        let mut feed = self.feed_when(app, &what, |feed| !of_call(feed, marker).is_empty()).await;
        feed.retain(|event| event["dialpad_call_id"] != marker);
        feed
    }

    /// Waits until the feed satisfies a condition, and returns it.
    pub(crate) async fn feed_when(
        &self,
        app: &App,
        what: &str,
        is_there: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        eventually(what, async || {
            let feed = self.feed(app).await;
            is_there(&feed).then_some(feed)
        })
        .await
    }
}
