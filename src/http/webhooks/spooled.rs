//! Webhooks while the database can't take them: verified from memory, and kept in the spool.

use actix_web::{HttpRequest, HttpResponse};
use cti_actors::{clock::Clock, error::StoreError, id::AppId};
use tokio::time::timeout;

use super::{
    DATABASE_TIMEOUT,
    answer::Taken,
    authenticity::{not_authentic, secrets, signature_header},
};
use crate::{
    config::Config,
    http::{error::ApiError, metrics::WebhookOutcome, state::AppState},
    spool::{Mode, Record, Spool},
    store::{Store, tenants::routes::OwnRoute},
    webhook::{payload, signature},
};

/// What a webhook is verified and kept with.
pub(in crate::http) struct SpoolEntry<'s> {
    pub(in crate::http) config: &'s Config,
    pub(in crate::http) spool: &'s Spool,
    pub(in crate::http) clock: &'s dyn Clock,
    /// Not there before the database was opened for the first time: no app is known then.
    pub(in crate::http) store: Option<&'s Store>,
}

impl<'s> SpoolEntry<'s> {
    pub(super) fn of(state: &'s AppState) -> Self {
        Self { config: &state.config, spool: &state.spool, clock: &*state.clock, store: Some(&state.store) }
    }

    /// Verifies a webhook and keeps it. What it says and which app it is for is looked at when it is drained.
    ///
    /// # Errors
    /// It is not authentic. Or there is no place for it, or its app is not known: then it must be sent again.
    pub(in crate::http) async fn take(
        &self,
        request: &HttpRequest,
        body: &[u8],
        app: Option<AppId>,
    ) -> Result<HttpResponse, ApiError> {
        let header = signature_header(request, self.config);
        let payload = match app {
            None => {
                signature::verify(body, header, &self.config.webhook_secrets).map_err(|_| not_authentic())?
            }
            Some(app) => self.verify_for(app, body, header).await?,
        };
        let received_at = self.clock.now();
        let family = payload::read_webhook(&payload, received_at).family;
        let record = Record { received_at, app, payload };
        self.spool.append(&record).await.map_err(|refused| self.unavailable(&refused.to_string()))?;
        WebhookOutcome::Spooled.count(family);
        Ok(HttpResponse::Ok().json(Taken::spooled()))
    }

    /// Verifies a webhook that was sent to an app's own address.
    async fn verify_for(&self, app: AppId, body: &[u8], header: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let store = self.store.ok_or_else(|| self.unavailable("no app is known yet"))?;
        let verify = |route: &OwnRoute| signature::verify(body, header, &secrets(self.config, route));
        let known = store.routes().last_known(app);
        if let Some(Ok(payload)) = known.as_deref().map(verify) {
            return Ok(payload);
        }
        if self.spool.mode() != Mode::Away {
            // The database is there. Another process may have made the app, or a new secret.
            let route = timeout(DATABASE_TIMEOUT, store.routes().of_app_now(app)).await;
            if let Ok(Ok(route)) = route {
                return route.and_then(|route| verify(&route).ok()).ok_or_else(not_authentic);
            }
        }
        Err(if known.is_some() { not_authentic() } else { self.unavailable("the app is not known") })
    }

    fn unavailable(&self, refused: &str) -> ApiError {
        let database = self.spool.database_problem();
        let database = database.unwrap_or_else(|| "the spool is being written to it".to_owned());
        StoreError::Unavailable(format!("{database}; {refused}")).into()
    }
}
