//! The sender of a simulation: Dialpad, which repeats what is not acknowledged, and gives it up after a while.

use std::{rc::Rc, sync::Arc, time::Duration};

use cti_actors::{Stored, clock::Clock};
use tokio::time::{sleep, timeout};

use crate::{
    stories::Delivery,
    world::{Processes, World},
};

/// How long a webhook waits for the supervisor to begin with it: as in the server.
const TAKE_TIMEOUT: Duration = Duration::from_millis(300);
/// After how long the sender gives an attempt up.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a webhook is sent before its sender gives it up.
const MAX_ATTEMPTS: u32 = 8;

/// Sends the webhooks of one lane, as Dialpad does: one after the other, each until it is acknowledged or given up.
pub(crate) async fn send_lane(world: Rc<World>, processes: Rc<Processes>, lane: usize) {
    while let Some(delivery) = world.next_delivery(lane) {
        let wait = (delivery.at - processes.store.clock.millis()).max(0);
        sleep(Duration::from_millis(wait.unsigned_abs())).await;
        let attempts = world.with_lane(lane, |progress| {
            progress.attempts += 1;
            progress.attempts
        });
        let sent = timeout(SEND_TIMEOUT, send(&world, &processes, lane, &delivery)).await;
        let is_over = match sent {
            Ok(Some(stored)) => {
                world.acknowledge(&delivery, stored);
                true
            }
            _ if attempts >= MAX_ATTEMPTS => {
                world.step(format_args!("webhook {}: given up", delivery.key));
                world.disturb(&delivery.content);
                true
            }
            _ => {
                let pause = world.with_lane(lane, |progress| progress.random.millis(200, 3000));
                sleep(pause).await;
                false
            }
        };
        if is_over {
            world.with_lane(lane, |progress| (progress.next, progress.attempts) = (progress.next + 1, 0));
        }
    }
}

/// Sends one webhook: the path of a request, without its HTTP. `None`: the answer is no acknowledgement.
async fn send(world: &Rc<World>, processes: &Processes, lane: usize, delivery: &Delivery) -> Option<Stored> {
    let Processes { store, owner, .. } = processes;
    let engine = world.with_lane(lane, |progress| processes.any(&mut progress.random));
    let content = delivery.content.clone();
    let (webhook, content) = world.store.incoming(delivery.key, store.clock.now(), content);
    if let Ok(submission) = engine.submit(world.app, webhook.clone(), content.clone())
        && let Ok(stored) = submission.stored(TAKE_TIMEOUT).await
    {
        return Some(stored);
    }
    let stored = store.append(world.app, &webhook, content).await.ok()?;
    let is_owner = Arc::ptr_eq(engine, &processes.engines[owner.get()]);
    if !is_owner || world.with_lane(lane, |progress| progress.random.chance(100)) {
        // The supervisor is not notified: the sweep finds it.
        world.disturb(&delivery.content);
    } else {
        engine.notify(world.app);
    }
    Some(stored)
}
