//! The way of a call's webhooks from where they happen to the courier. On it they may be lost, held back, put in another
//! order or multiplied: all that the switches `webhook_…` and `dropped_webhooks` are about.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::deliver::{About, Outcome};
use super::flows::Webhook;
use super::parcel::{Parcel, Seal};
use super::registry;
use super::request::Target;
use super::runs::Run;
use super::switches::{Order, Switches};
use super::{World, lock};

/// Who hears of a call.
#[derive(Clone, Copy)]
pub(crate) enum Audience<'a> {
    /// Whoever of the company subscribed.
    Subscribers(i64),
    /// One receiver that has not subscribed.
    Only(&'a Target),
}

/// The webhooks of one call.
pub(crate) struct Dispatch<'a> {
    world: &'a World,
    run: &'a Run,
    audience: Audience<'a>,
    chance: Xoshiro256PlusPlus,
    /// Those that wait for the end of the call.
    held: Vec<Webhook>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(world: &'a World, run: &'a Run, audience: Audience<'a>, seed: u64) -> Self {
        let chance = Xoshiro256PlusPlus::seed_from_u64(seed ^ WAY);
        Self { world, run, audience, chance, held: Vec::new() }
    }

    /// Takes a webhook when it happens, and returns when it has been delivered, given up, lost or put aside.
    pub(crate) async fn tell(&mut self, webhook: Webhook) {
        let switches = self.world.switches();
        if is_dropped(&webhook, &switches) || self.chance.random_bool(switches.webhook_loss) {
            return;
        }
        match switches.webhook_order {
            Order::AsItHappens => self.send(&webhook, &switches).await,
            Order::Reversed | Order::Shuffled => self.held.push(webhook),
        }
    }

    /// The call is over: sends what was put aside.
    pub(crate) async fn close(mut self) {
        let switches = self.world.switches();
        let mut held = std::mem::take(&mut self.held);
        match switches.webhook_order {
            Order::AsItHappens => {}
            Order::Reversed => held.reverse(),
            Order::Shuffled => held.shuffle(&mut self.chance),
        }
        for webhook in &held {
            self.send(webhook, &switches).await;
        }
    }

    async fn send(&self, webhook: &Webhook, switches: &Switches) {
        if switches.webhook_delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(switches.webhook_delay_ms)).await;
        }
        let parcels = self.parcels(webhook);
        // Only the first copy may cause an event.
        let tells = [webhook.tells].into_iter().chain(std::iter::repeat(None));
        for tells in tells.take(switches.webhook_copies as usize) {
            join_all(parcels.iter().map(|parcel| self.deliver(parcel, About::of(&webhook.payload, tells))))
                .await;
        }
    }

    async fn deliver(&self, parcel: &Parcel, about: About) {
        self.run.sent();
        match self.world.courier.deliver(&self.run.id, parcel, about).await {
            Outcome::Acknowledged => self.run.acknowledged(),
            Outcome::GivenUp => self.run.failed(),
        }
    }

    fn parcels(&self, webhook: &Webhook) -> Vec<Parcel> {
        let payload = &webhook.payload;
        match self.audience {
            Audience::Only(target) => {
                vec![Parcel::seal(target.url.clone(), payload, Seal::Hmac(&target.secret))]
            }
            Audience::Subscribers(company) => lock(&self.world.registry)
                .audience(company, payload)
                .into_iter()
                .map(|receiver| {
                    let seal = receiver.secret.as_deref().map_or(Seal::None, Seal::Jws);
                    Parcel::seal(receiver.hook_url, payload, seal)
                })
                .collect(),
        }
    }
}

fn is_dropped(webhook: &Webhook, switches: &Switches) -> bool {
    let word = webhook.payload["event_type"].as_str();
    let state = registry::call_state(&webhook.payload);
    let is_named =
        |name: &String| name == "all" || Some(name.as_str()) == word || Some(name.as_str()) == state;
    switches.dropped_webhooks.iter().any(is_named)
}

/// Keeps the chance of the way apart from the flow's.
const WAY: u64 = 0x0077_6179;
