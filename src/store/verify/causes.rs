//! Which calls, messages and interactions of an app exist, of those that other rows name.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::Snapshot;
use crate::store::db::{
    bulk::{Column, FirstParam, Rows},
    types::Id,
};

const HEAD: &str = "WITH app (id) AS (SELECT $1), named (name) AS (";
const CALLS: &str = ") SELECT calls.dialpad_call_id FROM app CROSS JOIN named CROSS JOIN calls
    WHERE calls.app_id = app.id AND calls.dialpad_call_id = named.name";
const MESSAGES: &str = ") SELECT messages.dialpad_message_id FROM app CROSS JOIN named CROSS JOIN messages
    WHERE messages.app_id = app.id AND messages.dialpad_message_id = named.name";
const OWN_MESSAGES: &str = ") SELECT messages.id FROM app CROSS JOIN named CROSS JOIN messages
    WHERE messages.app_id = app.id AND messages.id = named.name";
const INTERACTIONS: &str = ") SELECT interactions.id FROM app CROSS JOIN named CROSS JOIN interactions
    WHERE interactions.app_id = app.id AND interactions.id = named.name";

fn names(app: Id, names: Column) -> Rows {
    Rows::of(vec![names]).after(FirstParam::Id(app))
}

/// Returns those of these calls that exist, by Dialpad's ids.
pub(in crate::store) async fn calls<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    ids: BTreeSet<i64>,
) -> Result<HashSet<i64>, sqlx::Error> {
    let rows: Vec<(i64,)> =
        snapshot.listed(HEAD, CALLS, names(app, Column::Int(ids.into_iter().collect()))).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Returns those of these messages that exist, by Dialpad's ids.
pub(in crate::store) async fn messages<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    ids: BTreeSet<String>,
) -> Result<HashSet<String>, sqlx::Error> {
    let ids = Column::Text(ids.into_iter().collect());
    let rows: Vec<(String,)> = snapshot.listed(HEAD, MESSAGES, names(app, ids)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Returns those of these messages that exist, by the server's ids.
pub(super) async fn own_messages<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    ids: BTreeSet<Uuid>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    of_ids(snapshot, OWN_MESSAGES, app, ids).await
}

/// Returns those of these interactions that exist.
pub(in crate::store) async fn interactions<S: Snapshot>(
    snapshot: &mut S,
    app: Id,
    ids: BTreeSet<Uuid>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    of_ids(snapshot, INTERACTIONS, app, ids).await
}

async fn of_ids<S: Snapshot>(
    snapshot: &mut S,
    tail: &'static str,
    app: Id,
    ids: BTreeSet<Uuid>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let ids = Column::Id(ids.into_iter().map(Id).collect());
    let rows: Vec<(Id,)> = snapshot.listed(HEAD, tail, names(app, ids)).await?;
    Ok(rows.into_iter().map(|(id,)| id.0).collect())
}
