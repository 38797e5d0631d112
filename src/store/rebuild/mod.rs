//! Calls, voicemails, messages and interactions, made anew from the journal in a scratch database and compared with what
//! is stored.
//!
//! | step | what it does |
//! |---|---|
//! | [`copy`] | copies the apps and the processed webhooks into the scratch database, as pending ones |
//! | the caller | lets an engine process them there, as it does live ones |
//! | [`compare`] | compares the rows, but not their ids, versions and the times at which the server wrote them |
//! | [`apply`] | writes what differs, as units of work |
//!
//! The first three steps see one snapshot of the database; a server may run meanwhile.

mod apply;
mod compare;
mod copy;
mod interactions;
mod messages;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
};

use super::{
    Rebuilding, Store,
    db::pool::{read_snapshot, store_error},
    on_db,
    verify::snapshot::Snapshot,
};

/// How many rows are read at a time.
const PAGE: i64 = 200;
/// How long before its call a webhook may have come, and have been removed without it.
const MAX_LAG: TimeDelta = TimeDelta::minutes(1);

/// The result of a rebuild.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// What differs, one line each.
    pub differences: Vec<String>,
    /// How many rows were compared.
    pub compared: Counts,
    /// How many rows were left out, because retention or an erasure has removed webhooks of theirs.
    pub left_out: Counts,
    /// How many of the differences can't be written: no webhook makes the row.
    pub unwritable: usize,
    /// What can be written.
    differing: BTreeMap<AppId, Differing>,
}

/// How many rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls, with their voicemails.
    pub calls: u64,
    /// Interactions.
    pub interactions: u64,
    /// Text messages.
    pub messages: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, interactions, messages } = self;
        write!(out, "{calls} calls, {interactions} interactions, {messages} messages")
    }
}

/// What differs of an app.
#[derive(Clone, Debug, Default)]
struct Differing {
    calls: BTreeSet<DialpadCallId>,
    messages: BTreeSet<String>,
    /// Interactions without a leg, by what was their first one.
    orphans: BTreeMap<DialpadCallId, InteractionId>,
}

/// Which rows the journal can make anew.
#[derive(Clone, Copy)]
struct Complete {
    /// Webhooks from before may be missing.
    since: DateTime<Utc>,
    /// The first webhook that is there.
    first: DateTime<Utc>,
}

impl Complete {
    fn includes_created(self, at: DateTime<Utc>) -> bool {
        at >= self.first && at.signed_duration_since(self.since) >= MAX_LAG
    }
}

impl Rebuilding<'_> {
    /// Makes everything anew in a scratch database, which is empty and on SQLite, and compares it. `process` processes
    /// the webhooks that are pending there.
    pub async fn run(
        self,
        scratch: &Store,
        process: impl AsyncFnOnce() -> Result<(), StoreError>,
    ) -> Result<Rebuilt, StoreError> {
        on_db!(self.store, read db in steps => {
            let mut snapshot = read_snapshot(db).await?;
            let rebuilt = rebuild(&mut *snapshot, scratch, process).await;
            snapshot.rollback().await?;
            Ok(rebuilt)
        })?
    }

    /// Writes what differs. No server may run meanwhile. Returns how many rows were written, and names what can't be.
    pub async fn apply(self, scratch: &Store, rebuilt: &Rebuilt) -> Result<(u64, Vec<String>), StoreError> {
        let mut written = 0;
        let mut refused = Vec::new();
        for (app, differing) in &rebuilt.differing {
            let calls = apply::calls(self.store, scratch, *app, differing, &mut refused).await?;
            let messages = apply::messages(self.store, scratch, *app, &differing.messages).await?;
            written += calls + messages;
        }
        Ok((written, refused))
    }
}

async fn rebuild<S: Snapshot>(
    snapshot: &mut S,
    scratch: &Store,
    process: impl AsyncFnOnce() -> Result<(), StoreError>,
) -> Result<Rebuilt, StoreError> {
    let complete = copy::complete(snapshot).await.map_err(store_error)?;
    let apps = copy::apps(snapshot, scratch).await?;
    copy::webhooks(snapshot, scratch, complete).await?;
    process().await?;
    let mut rebuilt = Rebuilt::default();
    for (webhook, reason) in copy::failed(scratch).await? {
        rebuilt.unwritable += 1;
        rebuilt.differences.push(format!("webhook {webhook} was processed, and can't be any more: {reason}"));
    }
    for app in apps {
        compare::calls(snapshot, scratch, &app, complete, &mut rebuilt).await?;
        compare::missing_calls(snapshot, scratch, &app, &mut rebuilt).await?;
        interactions::compare(snapshot, scratch, &app, complete, &mut rebuilt).await?;
        messages::compare(snapshot, scratch, &app, complete, &mut rebuilt).await?;
        messages::missing(snapshot, scratch, &app, &mut rebuilt).await?;
    }
    Ok(rebuilt)
}
