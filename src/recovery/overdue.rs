//! Calls that never end: nothing was heard of them for too long, by our clock. Dialpad is asked about each; one that is
//! over is told as repaired, one that nobody knows of is taken for over.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
};
use futures_util::{StreamExt, stream};
use metrics::counter;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{
    Repairs, length,
    watch::{Verdict, Watch},
};
use crate::{
    dialpad::client::request::Urgency,
    store::{journal::append::Appended, views::overdue::OverdueCall},
    webhook::payload::Finding,
};

/// How many calls of an app are asked about in one round: Dialpad takes 10 such questions a minute, and half of them
/// are for those whom somebody waits for.
const QUESTIONS: usize = 5;
/// How many apps are asked for at the same time.
const SIDE_BY_SIDE: usize = 8;

pub(crate) async fn run(repairs: Repairs) {
    let shortest = repairs.settings.calls_ringing_at_most.min(repairs.settings.calls_live_at_most);
    let every = (shortest / 5).clamp(Duration::from_secs(1), Duration::from_secs(30));
    let mut watch = Watch::default();
    loop {
        sleep(every).await;
        if let Err(failure) = look_after(&repairs, &mut watch).await {
            debug!(error = %failure, "calls that may never end can't be looked for");
        }
    }
}

async fn look_after(repairs: &Repairs, watch: &mut Watch) -> Result<(), StoreError> {
    let by_app = due(repairs, watch).await?;
    let answers = stream::iter(by_app)
        .map(|(app, calls)| ask(repairs, app, calls))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect::<Vec<_>>()
        .await;
    for (call, verdict) in answers.into_iter().flatten() {
        if let Err(failure) = conclude(repairs, watch, &call, verdict).await {
            warn!(app.id = %call.app, call.id = %call.call, error = %failure, "a call that is over can't be ended");
        }
    }
    Ok(())
}

/// The calls to ask about now, by app, those first of which nothing was heard for the longest time.
async fn due(repairs: &Repairs, watch: &mut Watch) -> Result<BTreeMap<AppId, Vec<OverdueCall>>, StoreError> {
    let now = repairs.clock.now();
    let ringing_since = now - length(repairs.settings.calls_ringing_at_most);
    let live_since = now - length(repairs.settings.calls_live_at_most);
    let mut overdue: HashSet<(AppId, DialpadCallId)> = HashSet::new();
    let mut by_app: BTreeMap<AppId, Vec<OverdueCall>> = BTreeMap::new();
    let mut last = None;
    loop {
        let page = repairs.store.calls().overdue(ringing_since, live_since, last.as_ref()).await?;
        last = page.last().copied();
        if last.is_none() {
            break;
        }
        overdue.extend(page.iter().map(|call| (call.app, call.call)));
        for call in page.into_iter().filter(|call| watch.is_due(call.app, call.call, now)) {
            by_app.entry(call.app).or_default().push(call);
        }
    }
    watch.keep_only(&overdue);
    for calls in by_app.values_mut() {
        calls.sort_by_key(|call| call.changed_at);
        calls.truncate(QUESTIONS);
    }
    Ok(by_app)
}

/// Asks about the calls of one app, one after the other, until Dialpad takes no more questions.
async fn ask(repairs: &Repairs, app: AppId, calls: Vec<OverdueCall>) -> Vec<(OverdueCall, Verdict)> {
    let mut verdicts = Vec::new();
    for call in calls {
        let answer = repairs.dialpad.call(app, call.call, Urgency::Background).await;
        if let Err(error) = &answer {
            debug!(app.id = %app, call.id = %call.call, %error, "Dialpad did not say whether a call is over");
        }
        match Verdict::of(answer) {
            Verdict::NotNow => break,
            verdict => verdicts.push((call, verdict)),
        }
    }
    verdicts
}

async fn conclude(
    repairs: &Repairs,
    watch: &mut Watch,
    call: &OverdueCall,
    verdict: Verdict,
) -> Result<(), StoreError> {
    let (now, settings) = (repairs.clock.now(), repairs.settings);
    let limit = if call.is_ringing { settings.calls_ringing_at_most } else { settings.calls_live_at_most };
    match verdict {
        Verdict::Over(shown) => {
            let reported =
                repairs.store.journal().append_finding(call.app, &Finding::Concluded(shown)).await?;
            watch.note_reported(call.app, call.call, now);
            if matches!(reported, Appended::New(_)) {
                counter!("cti_calls_repaired_total").increment(1);
                info!(app.id = %call.app, call.id = %call.call, "a call is over, and nobody had said so");
            }
        }
        Verdict::Live => watch.note_live(call.app, call.call, limit, now),
        Verdict::Unanswered if !watch.note_unanswered(call.app, call.call, limit, now) => {}
        Verdict::Gone | Verdict::Unanswered => {
            // The instant at which its time ran out: another process that finds the same says the same.
            let at = call.changed_at + length(limit);
            let reported = repairs
                .store
                .journal()
                .append_finding(call.app, &Finding::PresumedOver { call: call.call, at })
                .await?;
            watch.note_reported(call.app, call.call, now);
            if matches!(reported, Appended::New(_)) {
                counter!("cti_calls_inferred_total").increment(1);
                info!(app.id = %call.app, call.id = %call.call, "a call is taken for over");
            }
        }
        Verdict::NotNow => {}
    }
    Ok(())
}
