//! The durable feed, read as a CRM would read it.

use serde_json::Value;

use super::{
    call::Call,
    events::{kinds, of_call},
    eventually,
    server::{App, Ask, TestServer},
};

impl TestServer {
    /// Everything that was told of the app so far.
    pub(crate) async fn feed(&self, app: &App) -> Vec<Value> {
        self.feed_after(app, 0).await
    }

    /// Everything behind an event.
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

    /// Waits until so many events were told, and gives them. More of them are an error.
    pub(crate) async fn wait_for_events(&self, app: &App, count: usize) -> Vec<Value> {
        let feed = self.feed_when(app, &format!("{count} events are told"), |feed| feed.len() >= count).await;
        assert_eq!(feed.len(), count, "{:?}", kinds(&feed));
        feed
    }

    /// Waits until an event of this type was told, and gives the feed.
    pub(crate) async fn feed_until(&self, app: &App, kind: &str) -> Vec<Value> {
        self.feed_when(app, &format!("{kind} is told"), |feed| kinds(feed).contains(&kind)).await
    }

    /// Lets a call ring and waits until that is told: all webhooks before it have been dealt with then. Gives the
    /// feed without it.
    pub(crate) async fn feed_once_processed(&self, app: &App, marker: i64) -> Vec<Value> {
        self.webhook(app, &Call::new(marker).ring(0)).await;
        let what = format!("what came before call {marker} is dealt with");
        let mut feed = self.feed_when(app, &what, |feed| !of_call(feed, marker).is_empty()).await;
        feed.retain(|event| event["dialpad_call_id"] != marker);
        feed
    }

    /// Waits until the feed is as it should be, and gives it.
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
