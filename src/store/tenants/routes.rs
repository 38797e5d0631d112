//! The routes of webhooks: the apps of an organization, and the app of an own address. A route is cached for a second,
//! so that a burst looks it up once; a change by this process removes it at once. The routes of own addresses are also kept as
//! they were last seen, because webhooks are verified while the database is away.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use cti_actors::{error::StoreError, id::AppId};
use dashmap::DashMap;
use moka::sync::Cache;
use secrecy::SecretString;

use crate::{
    store::{
        Routes,
        db::{
            bulk::{Column, Rows},
            types::Id,
        },
        ledger::LIST_TAIL,
        lookups::{Lookup, Lookups},
        on_db,
    },
    webhook::routing::{Addressee, Route},
};

/// `$2`: whether this is the organization of the static key, to which every app without a connection belongs.
const APPS_OF_ORGANIZATION: &str = "SELECT apps.id, apps.is_active FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    WHERE (dialpad_org_id = $1 OR ($2 AND dialpad_connections.app_id IS NULL))
    AND apps.id NOT IN (SELECT app_id FROM deleted_apps) ORDER BY apps.id";
const ROUTES_OF_APPS: &str = "SELECT apps.id, apps.is_active, dialpad_connections.dialpad_org_id,
    CASE WHEN dialpad_webhooks.removed_at IS NULL THEN dialpad_webhooks.secret END AS secret,
    dialpad_webhooks.retired_secrets, dialpad_webhooks.dialpad_webhook_id IS NOT NULL AS is_confirmed
    FROM apps LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id
    WHERE apps.id NOT IN (SELECT app_id FROM deleted_apps) AND apps.id IN (";
const ROUTES: &str = "SELECT apps.id, apps.is_active, dialpad_connections.dialpad_org_id,
    CASE WHEN dialpad_webhooks.removed_at IS NULL THEN dialpad_webhooks.secret END AS secret,
    dialpad_webhooks.retired_secrets, dialpad_webhooks.dialpad_webhook_id IS NOT NULL AS is_confirmed
    FROM apps LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id
    WHERE apps.id NOT IN (SELECT app_id FROM deleted_apps)";

/// How long a route is cached: how long a change by another process may go unnoticed.
const CACHE_TTL: Duration = Duration::from_secs(1);
/// How many routes of each kind are cached.
const MAX_CACHED: u64 = 50_000;

/// What an app's own webhook address leads to.
#[derive(Clone, Debug)]
pub struct OwnRoute {
    /// Whether the app is active.
    pub is_active: bool,
    /// The organization that the app is connected to.
    pub dialpad_org_id: Option<i64>,
    /// The secrets of its own webhook: the present one, once it has one, and those that were rotated out recently.
    pub secrets: Vec<SecretString>,
    /// Whether Dialpad has confirmed that webhook. Until then the global secrets are valid too, because there may never
    /// be one.
    pub is_confirmed: bool,
}

impl OwnRoute {
    /// Returns the addressee of a webhook that was sent to this app's own address.
    #[must_use]
    pub fn addressee(&self, app_id: AppId) -> Addressee {
        let route = Route { app_id, is_active: self.is_active };
        Addressee::App { route, organization: self.dialpad_org_id }
    }
}

/// Routes that were looked up a moment ago.
pub(crate) struct RouteCache {
    of_organization: Cache<i64, Vec<Route>>,
    of_app: Cache<AppId, Arc<OwnRoute>>,
    lookups: Lookups<AppId, OwnRouteRow>,
    /// The routes of all apps as they were last seen, for as long as the database can't be asked.
    last_known: DashMap<AppId, Arc<OwnRoute>>,
    /// The organization of the static key, once it is known.
    static_organization: OnceLock<i64>,
}

impl Default for RouteCache {
    fn default() -> Self {
        Self {
            of_organization: Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build(),
            of_app: Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TTL).build(),
            lookups: Lookups::default(),
            last_known: DashMap::new(),
            static_organization: OnceLock::new(),
        }
    }
}

impl RouteCache {
    pub(crate) fn clear(&self) {
        self.of_organization.invalidate_all();
        self.of_app.invalidate_all();
    }

    /// Removes only the route of an app's own address.
    fn remove_app(&self, app: AppId) {
        self.of_app.invalidate(&app);
    }
}

static LOOKUP: Lookup<AppId, OwnRouteRow> = Lookup {
    lookups: |shared| &shared.routes.lookups,
    read: |store, apps| {
        Box::pin(async move {
            let apps = Column::Id(apps.into_iter().map(Id::from).collect());
            let rows: Vec<OwnRouteRow> =
                store.fetch_listed(ROUTES_OF_APPS, LIST_TAIL, Rows::of(vec![apps])).await?;
            Ok(rows.into_iter().map(|row| (row.id.into(), row)).collect())
        })
    },
};

#[derive(Clone, sqlx::FromRow)]
struct OwnRouteRow {
    id: Id,
    is_active: bool,
    dialpad_org_id: Option<i64>,
    secret: Option<Vec<u8>>,
    retired_secrets: Option<Vec<u8>>,
    is_confirmed: bool,
}

impl Routes<'_> {
    /// Returns the organization of the static key, once it is known.
    #[must_use]
    pub fn static_organization(self) -> Option<i64> {
        self.store.shared.routes.static_organization.get().copied()
    }

    /// Sets the organization of the static key: apps without a connection belong to it from now on.
    pub fn set_static_organization(self, organization: i64) {
        // It is looked up once per process; the first answer stays.
        let _ = self.store.shared.routes.static_organization.set(organization);
        self.store.shared.routes.clear();
    }

    /// Returns the apps that an organization's webhooks go to.
    pub async fn of_organization(self, organization: i64) -> Result<Vec<Route>, StoreError> {
        let cache = &self.store.shared.routes.of_organization;
        if let Some(routes) = cache.get(&organization) {
            return Ok(routes);
        }
        let by_static_key = self.static_organization() == Some(organization);
        let rows: Vec<(Id, bool)> = on_db!(self.store, read db => {
            sqlx::query_as(APPS_OF_ORGANIZATION).bind(organization).bind(by_static_key).fetch_all(db).await
        })?;
        let routes: Vec<Route> =
            rows.into_iter().map(|(id, is_active)| Route { app_id: id.into(), is_active }).collect();
        cache.insert(organization, routes.clone());
        Ok(routes)
    }

    /// Returns the route of an app's own address; `None` when there is no such app. It may be a second old:
    /// [`Self::of_app_now`] is not.
    pub async fn of_app(self, app: AppId) -> Result<Option<Arc<OwnRoute>>, StoreError> {
        if let Some(route) = self.store.shared.routes.of_app.get(&app) {
            return Ok(Some(route));
        }
        self.of_app_now(app).await
    }

    /// Returns the route of an app's own address as the database has it now.
    pub async fn of_app_now(self, app: AppId) -> Result<Option<Arc<OwnRoute>>, StoreError> {
        let row = self.store.look_up(&LOOKUP, vec![app]).await?.remove(&app);
        // Only what exists is cached: guessed addresses must not fill the memory.
        let Some(row) = row else {
            self.store.shared.routes.last_known.remove(&app);
            return Ok(None);
        };
        let route = self.open(row)?;
        self.store.shared.routes.of_app.insert(app, Arc::clone(&route));
        self.store.shared.routes.last_known.insert(app, Arc::clone(&route));
        Ok(Some(route))
    }

    /// Returns the route of an app's own address as it was last seen, without a query. `None`: it is not known.
    #[must_use]
    pub fn last_known(self, app: AppId) -> Option<Arc<OwnRoute>> {
        self.store.shared.routes.last_known.get(&app).map(|route| Arc::clone(&route))
    }

    /// Reads the routes of all apps, for [`Self::last_known`].
    pub async fn learn_all(self) -> Result<(), StoreError> {
        let rows: Vec<OwnRouteRow> =
            on_db!(self.store, read db => sqlx::query_as(ROUTES).fetch_all(db).await)?;
        let known = &self.store.shared.routes.last_known;
        let ids: HashSet<AppId> = rows.iter().map(|row| row.id.into()).collect();
        for row in rows {
            let app = row.id.into();
            // One whose secrets can't be decrypted stays as it was; its own requests report that.
            if let Ok(route) = self.open(row) {
                known.insert(app, route);
            }
        }
        known.retain(|app, _| ids.contains(app));
        Ok(())
    }

    /// Reads the route of an app whose own address, secrets or state this process has changed.
    pub(crate) async fn changed(self, app: AppId) {
        self.store.shared.routes.remove_app(app);
        // Where it can't be read now, it is read with all others a moment later.
        let _ = self.of_app_now(app).await;
    }

    fn open(self, row: OwnRouteRow) -> Result<Arc<OwnRoute>, StoreError> {
        let (secret, retired) = (row.secret.as_deref(), row.retired_secrets.as_deref());
        let secrets = self.store.webhooks().accepted_secrets(row.id.into(), secret, retired)?;
        Ok(Arc::new(OwnRoute {
            is_active: row.is_active,
            dialpad_org_id: row.dialpad_org_id,
            secrets,
            is_confirmed: row.is_confirmed,
        }))
    }
}
