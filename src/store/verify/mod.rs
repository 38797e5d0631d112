//! The invariants of the database, checked in one snapshot that only reads; a server may run meanwhile. Rows are read in
//! pages: the memory does not depend on how many there are.
//!
//! What retention has removed, and what an erasure has masked, is sound: see [`Kept`].

pub(super) mod calls;
pub(super) mod causes;
pub(super) mod columns;
mod feeds;
pub(super) mod interactions;
mod journal;
pub(super) mod messages;
pub(super) mod snapshot;
mod tables;

use std::fmt;

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, model::number::Region};

use self::snapshot::Snapshot;
use super::{
    Verification,
    db::{pool::read_snapshot, types::Id},
    on_db,
};

const APPS: &str = "SELECT id, region, COALESCE(e164_region, '') AS e164_region FROM apps ORDER BY id";
const CALLS_KEPT_SINCE: &str = "SELECT at FROM server_state WHERE name = 'calls_kept_since'";

/// How many rows are read at a time.
const PAGE: i64 = 500;
/// How many broken rows of one kind are named.
const MAX_NAMED: u64 = 100;

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What is broken, one line each.
    pub broken: Vec<String>,
    /// How many rows were checked.
    pub checked: Checked,
}

/// How many rows were checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Apps.
    pub apps: u64,
    /// Events of all feeds.
    pub events: u64,
    /// Processed webhooks.
    pub webhooks: u64,
    /// Calls.
    pub calls: u64,
    /// Interactions.
    pub interactions: u64,
    /// Text messages.
    pub messages: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apps, events, webhooks, calls, interactions, messages } = self;
        write!(
            out,
            "{apps} apps, {events} events, {webhooks} processed webhooks, {calls} calls, {interactions} interactions, \
             {messages} messages"
        )
    }
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    verified: Verified,
    /// The kind of the last finding, and how many of it there are.
    last: Option<(&'static str, u64)>,
}

impl Findings {
    /// Adds a broken invariant. `kind` says which; of many rows of a kind, only the first ones are named.
    fn broken(&mut self, kind: &'static str, what: impl fmt::Display) {
        let count = match self.last {
            Some((last, count)) if last == kind => count + 1,
            _ => {
                self.close();
                1
            }
        };
        self.last = Some((kind, count));
        if count <= MAX_NAMED {
            self.verified.broken.push(format!("{kind}: {what}"));
        }
    }

    /// Says how many of the last kind were not named.
    fn close(&mut self) {
        if let Some((kind, count)) = self.last.take()
            && count > MAX_NAMED
        {
            self.verified.broken.push(format!("{kind}: and {} more", count - MAX_NAMED));
        }
    }
}

/// From when on calls and messages are kept; `None`: none was ever removed.
#[derive(Clone, Copy)]
struct Kept(Option<DateTime<Utc>>);

impl Kept {
    /// Whether what was written at this instant must still have its call or message.
    fn includes(self, at: DateTime<Utc>) -> bool {
        self.0.is_none_or(|since| at >= since)
    }
}

/// An app, and how its numbers are read.
#[derive(Clone, sqlx::FromRow)]
pub(super) struct AppRow {
    pub(super) id: Id,
    pub(super) region: String,
    e164_region: String,
}

impl AppRow {
    pub(super) fn region(&self) -> Region {
        self.region.parse().unwrap_or_default()
    }

    /// Whether the stored E.164 numbers are those of the region: a change computes them in the background.
    fn has_current_numbers(&self) -> bool {
        self.region == self.e164_region
    }
}

impl Verification<'_> {
    /// Checks every invariant.
    pub async fn run(self) -> Result<Verified, StoreError> {
        on_db!(self.store, read db in steps => {
            let mut snapshot = read_snapshot(db).await?;
            let verified = verify(&mut *snapshot).await;
            snapshot.rollback().await?;
            verified
        })
    }
}

async fn verify<S: Snapshot>(snapshot: &mut S) -> Result<Verified, sqlx::Error> {
    let mut findings = Findings::default();
    let kept: Option<(DateTime<Utc>,)> = snapshot.rows(CALLS_KEPT_SINCE, &[]).await?.pop();
    let kept = Kept(kept.map(|(at,)| at));
    let apps: Vec<AppRow> = snapshot.rows(APPS, &[]).await?;
    tables::check(snapshot, &mut findings).await?;
    for app in &apps {
        findings.verified.checked.apps += 1;
        feeds::check(snapshot, app, kept, &mut findings).await?;
        calls::check(snapshot, app, &mut findings).await?;
        messages::check(snapshot, app, &mut findings).await?;
        interactions::check(snapshot, app, &mut findings).await?;
    }
    journal::check(snapshot, kept, &mut findings).await?;
    findings.close();
    Ok(findings.verified)
}
