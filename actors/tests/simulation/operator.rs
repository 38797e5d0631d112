//! What happens to the processes of a simulation besides webhooks and faults of the store.

use std::{panic::AssertUnwindSafe, rc::Rc, time::Duration};

use cti_actors::Engine;
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};

use crate::{
    random::Random,
    world::{Processes, World},
};

/// How many actors of calls crash at most.
const MAX_CRASHES: u32 = 3;

/// Does now and then what others do to the engine.
pub(crate) async fn operate(world: Rc<World>, processes: Rc<Processes>, mut random: Random) {
    loop {
        sleep(random.millis(100, 4000)).await;
        // A panic is that of the request that asked.
        let acted = AssertUnwindSafe(act(&world, &processes, &mut random)).catch_unwind().await;
        if acted.is_err() {
            world.step("an action panicked");
        }
    }
}

async fn act(world: &Rc<World>, processes: &Processes, random: &mut Random) {
    let action = random.below(8);
    let engine = processes.any(random);
    world.step(format_args!("action {action}"));
    match action {
        0 if world.crashes.get() < MAX_CRASHES => {
            let calls: Vec<_> = world.store.calls(world.app);
            if !calls.is_empty() {
                let call = calls[random.below(calls.len() as u64) as usize].call.dialpad_call_id;
                world.crashes.set(world.crashes.get() + 1);
                let crashed = engine.crash_call(world.app, call).await;
                world.step(format_args!("the actor of call {call} crashed: {crashed}"));
            }
        }
        1 => drop(engine.sweep().await),
        2 => engine.forget_calls(world.app).await,
        3 => engine.notify(world.app),
        4 => drop(engine.settle_interactions().await),
        5 => engine.forget_feed(world.app),
        _ if processes.engines.len() > 1 => take_over(world, processes, random).await,
        _ => {}
    }
}

/// Gives the app to the other process. The former owner knows it before, or learns it later, in the middle of its work.
async fn take_over(world: &Rc<World>, processes: &Processes, random: &mut Random) {
    let former = processes.owner.get();
    let gives_up_first = random.chance(300);
    if gives_up_first {
        give_up(world, &processes.engines[former]).await;
    }
    processes.owner.set(1 - former);
    world.begin_ownership(processes);
    // Fails while the store does: then the sweep finds what is pending.
    let _ = processes.engines[1 - former].take_up_pending().await;
    if !gives_up_first {
        sleep(random.millis(0, 3000)).await;
        give_up(world, &processes.engines[former]).await;
    }
}

async fn give_up(world: &Rc<World>, engine: &Engine) {
    if timeout(Duration::from_secs(60), engine.give_up(world.app)).await.is_err() {
        world.fail("a process does not give the app up".into());
    }
}
