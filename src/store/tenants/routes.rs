//! Where a webhook goes: to every app of its organisation, or to the one whose own address it was sent to. What was looked
//! up is known for a second, so that a burst asks once; what this process changes is forgotten at once.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId};
use dashmap::DashMap;
use secrecy::SecretString;

use crate::{
    store::{Routes, db::types::Id, on_db},
    webhook::routing::{Addressee, Route},
};

/// `$2`: whether this is the organisation of the static key, which counts for every app without a connection.
const APPS_OF_ORGANIZATION: &str = "SELECT apps.id, apps.is_active FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    WHERE (dialpad_org_id = $1 OR ($2 AND dialpad_connections.app_id IS NULL))
    AND apps.id NOT IN (SELECT app_id FROM removed_apps) ORDER BY apps.id";
const ROUTE_OF_APP: &str = "SELECT apps.is_active, dialpad_connections.dialpad_org_id,
    CASE WHEN dialpad_webhooks.removed_at IS NULL THEN dialpad_webhooks.secret END,
    dialpad_webhooks.retired_secrets, dialpad_webhooks.dialpad_webhook_id IS NOT NULL
    FROM apps LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id WHERE apps.id = $1
    AND apps.id NOT IN (SELECT app_id FROM removed_apps)";

/// How long a route is known without asking: how long another process's change may go unnoticed.
const CACHE_FOR: TimeDelta = TimeDelta::seconds(1);

/// What the address of one app's own webhooks stands for.
#[derive(Clone, Debug)]
pub struct OwnRoute {
    /// Whether the app is switched on.
    pub is_active: bool,
    /// The organisation it is connected to.
    pub dialpad_org_id: Option<i64>,
    /// The secrets of its own webhook: the present one, once it has one, and those that were rotated out a short
    /// while ago.
    pub secrets: Vec<SecretString>,
    /// Whether Dialpad has confirmed that webhook. Until then the global secrets are valid too: there may never be
    /// one.
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
#[derive(Default)]
pub(crate) struct RouteCache {
    by_organization: DashMap<i64, (DateTime<Utc>, Vec<Route>)>,
    by_app: DashMap<AppId, (DateTime<Utc>, OwnRoute)>,
    /// The organisation of the static key, once it is known.
    of_static_key: OnceLock<i64>,
}

impl RouteCache {
    pub(crate) fn forget_all(&self) {
        self.by_organization.clear();
        self.by_app.clear();
    }

    /// Only what is known of an app's own address.
    pub(crate) fn forget_app(&self, app: AppId) {
        self.by_app.remove(&app);
    }
}

/// Switched on, organisation, sealed secret, sealed old secrets, confirmed.
type OwnRouteRow = (bool, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, bool);

impl Routes<'_> {
    /// The organisation of the static key, once it is known.
    #[must_use]
    pub fn static_organization(self) -> Option<i64> {
        self.store.shared.routes.of_static_key.get().copied()
    }

    /// From now on, apps without a connection belong to this organisation.
    pub fn set_static_organization(self, organization: i64) {
        // It is asked for once per process; the first answer stays.
        let _ = self.store.shared.routes.of_static_key.set(organization);
        self.store.shared.routes.forget_all();
    }

    /// The apps that an organisation's webhooks go to.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_organization(self, organization: i64) -> Result<Vec<Route>, StoreError> {
        let (now, cache) = (self.store.now(), &self.store.shared.routes.by_organization);
        if let Some(known) = cache.get(&organization)
            && known.0 > now
        {
            return Ok(known.1.clone());
        }
        let by_static_key = self.static_organization() == Some(organization);
        let rows: Vec<(Id, bool)> = on_db!(self.store, read db => {
            sqlx::query_as(APPS_OF_ORGANIZATION).bind(organization).bind(by_static_key).fetch_all(db).await
        })?;
        let routes: Vec<Route> =
            rows.into_iter().map(|(id, is_active)| Route { app_id: id.into(), is_active }).collect();
        cache.insert(organization, (now + CACHE_FOR, routes.clone()));
        Ok(routes)
    }

    /// What is known of the app whose own address a webhook was sent to; `None` when there is no such app. It may be
    /// a moment old: [`Self::of_app_now`] is not.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_app(self, app: AppId) -> Result<Option<OwnRoute>, StoreError> {
        let now = self.store.now();
        if let Some(known) = self.store.shared.routes.by_app.get(&app)
            && known.0 > now
        {
            return Ok(Some(known.1.clone()));
        }
        self.of_app_now(app).await
    }

    /// The same as the database knows it now.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn of_app_now(self, app: AppId) -> Result<Option<OwnRoute>, StoreError> {
        let now = self.store.now();
        let row: Option<OwnRouteRow> = on_db!(self.store, read db => sqlx::query_as(ROUTE_OF_APP).bind(Id::from(app)).fetch_optional(db).await)?;
        // Only what exists is kept: a guesser must not fill the memory.
        let Some((is_active, dialpad_org_id, present, retired, is_confirmed)) = row else { return Ok(None) };
        let secrets = self.store.webhooks().accepted_secrets(app, present.as_deref(), retired.as_deref())?;
        let route = OwnRoute { is_active, dialpad_org_id, secrets, is_confirmed };
        self.store.shared.routes.by_app.insert(app, (now + CACHE_FOR, route.clone()));
        Ok(Some(route))
    }
}
