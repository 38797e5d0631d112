//! The supervisor of one app. It does one thing at a time: while a batch is under way, wakes are only noted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use tokio::sync::watch;

use super::pipeline::{NextStep, Pipeline};

/// How often call actors that have nothing to do are let go.
const EVICTION: std::time::Duration = std::time::Duration::from_secs(10);

/// One tenant's actor.
pub(crate) struct AppSupervisor {
    /// Here while nothing is under way; with the batch otherwise.
    pipeline: Option<Pipeline>,
    /// Set by whoever wakes, cleared when the wake is taken up: at most one wake is ever in the mailbox.
    awake: Arc<AtomicBool>,
    woken_while_busy: bool,
    draining: bool,
    /// Whether a batch is under way; a drain waits for it to become false.
    busy: watch::Sender<bool>,
}

/// There may be something to do. A hint without data: losing one costs time, not webhooks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// Finish the batch under way and begin no other. Answers when that is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Makes the actor of a call panic, if it is awake.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct CrashCall(pub(crate) crate::id::DialpadCallId);

impl AppSupervisor {
    pub(crate) fn new(pipeline: Pipeline, awake: Arc<AtomicBool>) -> Self {
        let (busy, _) = watch::channel(false);
        Self { pipeline: Some(pipeline), awake, woken_while_busy: false, draining: false, busy }
    }

    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let Some(mut pipeline) = self.pipeline.take() else {
            self.woken_while_busy = true;
            return;
        };
        self.busy.send_replace(true);
        let batch = async move {
            let pace = pipeline.step().await;
            (pipeline, pace)
        };
        ctx.spawn(batch.into_actor(self).map(|(pipeline, pace), supervisor, ctx| {
            supervisor.pipeline = Some(pipeline);
            supervisor.busy.send_replace(false);
            let woken = std::mem::take(&mut supervisor.woken_while_busy);
            match pace {
                NextStep::Again => supervisor.work(ctx),
                NextStep::Idle if woken => supervisor.work(ctx),
                NextStep::Idle => {}
                NextStep::After(pause) => {
                    ctx.run_later(pause, Self::work);
                }
            }
        }));
    }
}

impl Actor for AppSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVICTION, |supervisor, _| {
            if let Some(pipeline) = &mut supervisor.pipeline {
                pipeline.evict_idle();
            }
        });
    }
}

impl Handler<Wake> for AppSupervisor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        // Cleared before looking: a wake that comes while we look is sent again.
        self.awake.store(false, Ordering::Release);
        self.work(ctx);
    }
}

impl Handler<Drain> for AppSupervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let mut busy = self.busy.subscribe();
        Box::pin(async move {
            // An error means that the supervisor is gone, and its batch with it.
            let _ = busy.wait_for(|busy| !busy).await;
        })
    }
}

#[cfg(feature = "testing")]
impl Handler<CrashCall> for AppSupervisor {
    type Result = bool;

    fn handle(&mut self, CrashCall(call): CrashCall, _: &mut Self::Context) -> bool {
        let actor = self.pipeline.as_ref().and_then(|pipeline| pipeline.call_actor(call));
        actor.map(|actor| actor.do_send(super::call_actor::Crash)).is_some()
    }
}
