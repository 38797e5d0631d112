//! The supervisor of one app. It applies one batch at a time; a wake that arrives meanwhile is only recorded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture,
    WrapFuture,
};
use tokio::sync::{oneshot, watch};

use super::{inbox::SharedInbox, next_step::NextStep, pipeline::Pipeline, stats::SupervisorStats};

/// How often idle call actors are stopped.
const EVICTION_INTERVAL: Duration = Duration::from_secs(1);

/// The actor of one app.
pub(crate) struct AppSupervisor {
    /// `None` while a batch is under way, which has it then.
    pipeline: Option<Pipeline>,
    /// Set by the sender of a wake, cleared when a batch begins: at most one wake is ever in the mailbox.
    awake: Arc<AtomicBool>,
    woken_while_busy: bool,
    draining: bool,
    /// Who waits until what is in memory is forgotten, while a batch is under way.
    forgetting: Vec<oneshot::Sender<()>>,
    /// Whether a batch is under way; a drain waits for it to become false.
    busy: watch::Sender<bool>,
    inbox: SharedInbox,
    stats: Arc<SupervisorStats>,
}

/// Says that something may be pending. A hint without data: losing one costs time, not webhooks.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// Ends the work of the app: begins no other batch, and answers when the one under way is finished.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Forgets everything in memory, because the store was changed, and answers then: from the next batch on, all of it is
/// read anew. A batch that is under way is completed before.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Forget(pub(crate) oneshot::Sender<()>);

/// Makes the actor of a call panic; `false` when the call has none.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct CrashCall(pub(crate) crate::id::DialpadCallId);

impl AppSupervisor {
    pub(crate) fn new(
        pipeline: Pipeline,
        inbox: SharedInbox,
        awake: Arc<AtomicBool>,
        stats: Arc<SupervisorStats>,
    ) -> Self {
        let (busy, _) = watch::channel(false);
        Self {
            pipeline: Some(pipeline),
            awake,
            woken_while_busy: false,
            draining: false,
            forgetting: Vec::new(),
            busy,
            inbox,
            stats,
        }
    }

    /// Begins the next batch.
    fn work(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let Some(mut pipeline) = self.pipeline.take() else {
            self.woken_while_busy = true;
            return;
        };
        self.busy.send_replace(true);
        // Counted before the flag is cleared: an observer sees one or the other.
        let in_progress = self.stats.batches.guard();
        // Cleared before the inbox is read, and not while a batch is under way: then one wake is enough for all.
        self.awake.store(false, Ordering::Release);
        let batch = async move {
            let next = pipeline.step().await;
            (pipeline, next, in_progress)
        };
        ctx.spawn(batch.into_actor(self).map(|(mut pipeline, next, in_progress), supervisor, ctx| {
            forget(&mut pipeline, supervisor.forgetting.drain(..));
            supervisor.pipeline = Some(pipeline);
            supervisor.busy.send_replace(false);
            let woken = std::mem::take(&mut supervisor.woken_while_busy);
            match next {
                NextStep::Again => supervisor.work(ctx),
                NextStep::Idle if woken => supervisor.work(ctx),
                NextStep::Idle => {}
                NextStep::End => {
                    supervisor.awake.store(false, Ordering::Release);
                    ctx.stop();
                }
                NextStep::After(pause) => {
                    ctx.run_later(pause, Self::work);
                }
            }
            // Counted until here: between two batches there is no moment at which none is in progress.
            drop(in_progress);
        }));
    }
}

/// Forgets what is in memory, and answers those who wait for that.
fn forget(pipeline: &mut Pipeline, waiting: impl ExactSizeIterator<Item = oneshot::Sender<()>>) {
    if waiting.len() > 0 {
        pipeline.forget();
    }
    for answer in waiting {
        // The caller may have gone.
        let _ = answer.send(());
    }
}

impl Actor for AppSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVICTION_INTERVAL, |supervisor, _| {
            if let Some(pipeline) = &mut supervisor.pipeline {
                pipeline.evict();
            }
        });
    }
}

impl Handler<Wake> for AppSupervisor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.work(ctx);
    }
}

impl Handler<Forget> for AppSupervisor {
    type Result = ();

    fn handle(&mut self, Forget(answer): Forget, _: &mut Self::Context) {
        match &mut self.pipeline {
            Some(pipeline) => forget(pipeline, [answer].into_iter()),
            None => self.forgetting.push(answer),
        }
    }
}

impl Handler<Drain> for AppSupervisor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let waiting = self.inbox.lock().close();
        waiting.into_iter().for_each(|webhook| webhook.request.not_taken());
        let mut busy = self.busy.subscribe();
        // The sender is the supervisor itself, which drives this future: it can't be gone.
        let finished = async move { drop(busy.wait_for(|busy| !busy).await) };
        Box::pin(finished.into_actor(self).map(|(), _, ctx| ctx.stop()))
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
