//! The region of an app, by which its numbers are read that have no country code, and the stored numbers in E.164 form
//! that follow from it.

use std::time::Duration;

use cti_actors::{
    error::StoreError,
    id::AppId,
    model::number::{Region, e164, e164_list},
};
use moka::sync::Cache;
use uuid::Uuid;

use crate::store::{
    Apps,
    db::{
        bulk::{Column, Rows},
        types::Id,
    },
    ledger::LIST_TAIL,
    lookups::{Lookup, Lookups},
    on_db,
};

const REGIONS: &str = "SELECT id, region FROM apps WHERE id IN (";
const SET_REGION: &str = "UPDATE apps SET region = $2, updated_at = $3
    WHERE id = $1 AND region <> $2 AND id NOT IN (SELECT app_id FROM deleted_apps)";
const OUTDATED: &str = "SELECT id, region FROM apps
    WHERE (e164_region IS NULL OR e164_region <> region) AND id NOT IN (SELECT app_id FROM deleted_apps)";
const FINISH: &str = "UPDATE apps SET e164_region = region WHERE id = $1 AND region = $2";
/// The tables with numbers: a page of each, and the change of one row, unless its numbers have changed since.
const TABLES: [(&str, &str); 4] = [
    (
        "SELECT id, from_number, to_number, from_e164, to_e164 FROM calls
        WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        "UPDATE calls SET from_e164 = $3, to_e164 = $4 WHERE app_id = $1 AND id = $2
        AND from_number IS NOT DISTINCT FROM $5 AND to_number IS NOT DISTINCT FROM $6",
    ),
    (
        "SELECT id, from_number, to_number, from_e164, to_e164 FROM voicemails
        WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        "UPDATE voicemails SET from_e164 = $3, to_e164 = $4 WHERE app_id = $1 AND id = $2
        AND from_number IS NOT DISTINCT FROM $5 AND to_number IS NOT DISTINCT FROM $6",
    ),
    (
        "SELECT id, from_number, to_number, from_e164, to_e164 FROM messages
        WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        "UPDATE messages SET from_e164 = $3, to_e164 = $4 WHERE app_id = $1 AND id = $2
        AND from_number IS NOT DISTINCT FROM $5 AND to_number IS NOT DISTINCT FROM $6",
    ),
    (
        "SELECT id, external_number AS from_number, CAST(NULL AS TEXT) AS to_number, external_e164 AS from_e164,
        CAST(NULL AS TEXT) AS to_e164 FROM interactions WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        "UPDATE interactions SET external_e164 = $3 WHERE app_id = $1 AND id = $2
        AND external_number IS NOT DISTINCT FROM $5 AND CAST($4 AS TEXT) IS NULL AND CAST($6 AS TEXT) IS NULL",
    ),
];

/// How many rows are read, and changed in one transaction.
const PAGE: i64 = 500;
/// How long a region is cached: how long a change by another process may go unnoticed.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// How many regions are cached.
const MAX_CACHED: u64 = 50_000;
/// After how long nothing is written any more by the region from before.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Regions that were looked up a moment ago.
pub(crate) struct RegionCache {
    of_app: Cache<AppId, Region>,
    lookups: Lookups<AppId, String>,
}

impl Default for RegionCache {
    fn default() -> Self {
        let of_app = Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build();
        Self { of_app, lookups: Lookups::default() }
    }
}

static LOOKUP: Lookup<AppId, String> = Lookup {
    lookups: |shared| &shared.regions.lookups,
    read: |store, apps| {
        Box::pin(async move {
            let apps = Column::Id(apps.into_iter().map(Id::from).collect());
            let rows: Vec<(Id, String)> =
                store.fetch_listed(REGIONS, LIST_TAIL, Rows::of(vec![apps])).await?;
            Ok(rows.into_iter().map(|(app, region)| (app.into(), region)).collect())
        })
    },
};

/// The numbers of a row: as they came, and in E.164 form.
#[derive(sqlx::FromRow)]
struct NumberRow {
    id: Id,
    from_number: Option<String>,
    to_number: Option<String>,
    from_e164: Option<String>,
    to_e164: Option<String>,
}

impl NumberRow {
    /// Returns the numbers in E.164 form, unless they are stored like this.
    fn outdated(&self, region: Region) -> Option<(Option<String>, Option<String>)> {
        let from = self.from_number.as_deref().and_then(|number| e164(number, region));
        let to = self.to_number.as_deref().and_then(|numbers| e164_list(numbers, region));
        (from != self.from_e164 || to != self.to_e164).then_some((from, to))
    }
}

impl Apps<'_> {
    /// Returns the region of an app; that of a new one where there is no such app.
    pub async fn region(self, app: AppId) -> Result<Region, StoreError> {
        let cache = &self.store.shared.regions.of_app;
        if let Some(region) = cache.get(&app) {
            return Ok(region);
        }
        let found = self.store.look_up(&LOOKUP, vec![app]).await?.remove(&app);
        let region = found.and_then(|code| code.parse().ok()).unwrap_or_default();
        cache.insert(app, region);
        Ok(region)
    }

    /// Sets the region of an app. Returns whether that changed it: its stored numbers are outdated then.
    pub async fn set_region(self, app: AppId, region: Region) -> Result<bool, StoreError> {
        let now = self.store.now();
        let changed = on_db!(self.store, write db => {
            let set = sqlx::query(SET_REGION).bind(Id::from(app)).bind(region.as_str()).bind(now);
            set.execute(db).await.map(|done| done.rows_affected() > 0)
        });
        self.store.shared.regions.of_app.invalidate(&app);
        changed
    }

    /// Computes the outdated numbers of all apps. When it fails, calling it again continues.
    pub async fn update_numbers(self) -> Result<(), StoreError> {
        let outdated: Vec<(Id, String)> =
            on_db!(self.store, read db => sqlx::query_as(OUTDATED).fetch_all(db).await)?;
        let outdated: Vec<(Id, Region)> =
            outdated.into_iter().filter_map(|(app, code)| Some((app, code.parse().ok()?))).collect();
        if outdated.is_empty() {
            return Ok(());
        }
        for (app, region) in &outdated {
            self.update_numbers_of(*app, *region).await?;
        }
        // A batch that began before the region was changed may have been written after its page was read.
        tokio::time::sleep(SETTLED_AFTER).await;
        for (app, region) in outdated {
            let changed = self.update_numbers_of(app, region).await?;
            on_db!(self.store, write db => {
                sqlx::query(FINISH).bind(app).bind(region.as_str()).execute(db).await.map(|_| ())
            })?;
            tracing::info!(app.id = %app.0, %region, changed, "the stored numbers are those of the region");
        }
        Ok(())
    }

    async fn update_numbers_of(self, app: Id, region: Region) -> Result<usize, StoreError> {
        let mut changed = 0;
        for (select, update) in TABLES {
            let mut last = Id(Uuid::nil());
            loop {
                let rows: Vec<NumberRow> = on_db!(self.store, read db => {
                    sqlx::query_as(select).bind(app).bind(last).bind(PAGE).fetch_all(db).await
                })?;
                let Some(end) = rows.last() else { break };
                last = end.id;
                let outdated: Vec<_> =
                    rows.iter().filter_map(|row| Some((row, row.outdated(region)?))).collect();
                if outdated.is_empty() {
                    continue;
                }
                changed += outdated.len();
                on_db!(self.store, write db => {
                    let mut transaction = db.begin().await?;
                    for (row, (from, to)) in &outdated {
                        sqlx::query(update).bind(app).bind(row.id).bind(from).bind(to).bind(&row.from_number)
                            .bind(&row.to_number).execute(&mut *transaction).await?;
                    }
                    transaction.commit().await
                })?;
            }
        }
        Ok(changed)
    }
}
