//! Passes a call's webhooks to the sender. The switches `webhook_…` and `dropped_webhooks` act here: they drop, delay,
//! reorder or duplicate webhooks.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::flow_request::Target;
use super::flows::Webhook;
use super::registry;
use super::runs::Run;
use super::sender::{DeliveryOutcome, WebhookSubject};
use super::signed_webhook::{Signature, SignedWebhook};
use super::switches::{Switches, WebhookOrder};
use super::{State, lock};

/// The receivers of a call's webhooks.
#[derive(Clone, Copy)]
pub(crate) enum Recipients<'a> {
    /// Every subscription of this company.
    Subscribers(i64),
    /// One receiver without a subscription.
    Target(&'a Target),
}

/// The webhooks of one call.
pub(crate) struct Dispatch<'a> {
    state: &'a State,
    run: &'a Run,
    recipients: Recipients<'a>,
    rng: Xoshiro256PlusPlus,
    /// Webhooks that wait for the end of the call.
    held: Vec<Webhook>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(state: &'a State, run: &'a Run, recipients: Recipients<'a>, seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ DISPATCH_SALT);
        Self { state, run, recipients, rng, held: Vec::new() }
    }

    /// Takes the next webhook. Returns once it was delivered, given up, dropped or put aside.
    pub(crate) async fn submit(&mut self, webhook: Webhook) {
        let switches = self.state.switches();
        if is_dropped(&webhook, &switches) || self.rng.random_bool(switches.webhook_loss) {
            return;
        }
        match switches.webhook_order {
            WebhookOrder::AsItHappens => self.send(&webhook, &switches).await,
            WebhookOrder::Reversed | WebhookOrder::Shuffled => self.held.push(webhook),
        }
    }

    /// Sends the webhooks that were put aside, once the call has ended.
    pub(crate) async fn close(mut self) {
        let switches = self.state.switches();
        let mut held = std::mem::take(&mut self.held);
        match switches.webhook_order {
            WebhookOrder::AsItHappens => {}
            WebhookOrder::Reversed => held.reverse(),
            WebhookOrder::Shuffled => held.shuffle(&mut self.rng),
        }
        for webhook in &held {
            self.send(webhook, &switches).await;
        }
    }

    async fn send(&self, webhook: &Webhook, switches: &Switches) {
        if switches.webhook_delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(switches.webhook_delay_ms)).await;
        }
        let signed_webhooks = self.signed_webhooks(webhook);
        // Only the first copy may cause an event.
        let expected_event = [webhook.expected_event].into_iter().chain(std::iter::repeat(None));
        for expected_event in expected_event.take(switches.webhook_copies as usize) {
            join_all(
                signed_webhooks
                    .iter()
                    .map(|signed| self.deliver(signed, WebhookSubject::of(&webhook.payload, expected_event))),
            )
            .await;
        }
    }

    async fn deliver(&self, webhook: &SignedWebhook, subject: WebhookSubject) {
        self.run.sent();
        match self.state.sender.deliver(&self.run.id, webhook, subject).await {
            DeliveryOutcome::Acknowledged => self.run.acknowledged(),
            DeliveryOutcome::GivenUp => self.run.failed(),
        }
    }

    fn signed_webhooks(&self, webhook: &Webhook) -> Vec<SignedWebhook> {
        let payload = &webhook.payload;
        match self.recipients {
            Recipients::Target(target) => {
                vec![SignedWebhook::new(target.url.clone(), payload, Signature::Hmac(&target.secret))]
            }
            Recipients::Subscribers(company) => lock(&self.state.registry)
                .receivers(company, payload)
                .into_iter()
                .map(|receiver| {
                    let signature = receiver.secret.as_deref().map_or(Signature::None, Signature::Jws);
                    SignedWebhook::new(receiver.hook_url, payload, signature)
                })
                .collect(),
        }
    }
}

fn is_dropped(webhook: &Webhook, switches: &Switches) -> bool {
    let event_type = webhook.payload["event_type"].as_str();
    let state = registry::call_state(&webhook.payload);
    let is_named =
        |name: &String| name == "all" || Some(name.as_str()) == event_type || Some(name.as_str()) == state;
    switches.dropped_webhooks.iter().any(is_named)
}

/// Separates the random numbers of the dispatch from those of the flow.
const DISPATCH_SALT: u64 = 0x0077_6179;
