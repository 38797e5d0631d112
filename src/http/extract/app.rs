//! The app that a request of an administrator is about.

use cti_actors::id::AppId;
use serde::{Deserialize, Deserializer};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    fields::InvalidField,
    values::{parse_text, uuid},
};
use crate::http::{
    error::{ApiError, ErrorCode},
    state::AppState,
};

/// The app in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AppPath {
    /// The app.
    #[param(value_type = Uuid)]
    pub(crate) app_id: String,
}

impl AppPath {
    /// Returns the app's id, if the app exists.
    ///
    /// # Errors
    /// [`ErrorCode::AppNotFound`], or the database is unavailable.
    pub(crate) async fn find(&self, state: &AppState) -> Result<AppId, ApiError> {
        existing(state, &self.app_id).await
    }
}

/// The app in the query or in the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppRef(AppId);

impl<'de> Deserialize<'de> for AppRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "a UUID", |text| text.parse().ok()).map(Self)
    }
}

impl PartialSchema for AppRef {
    fn schema() -> RefOr<Schema> {
        uuid().into()
    }
}

impl ToSchema for AppRef {}

impl AppRef {
    pub(crate) fn id(self) -> AppId {
        self.0
    }

    /// Returns the app's id, if the app exists.
    ///
    /// # Errors
    /// As for [`AppPath::find`].
    pub(crate) async fn find(self, state: &AppState) -> Result<AppId, ApiError> {
        let app = state.store.apps().find(self.0).await?;
        app.map(|app| app.id).ok_or_else(app_not_found)
    }
}

/// The app that a list may be limited to.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AppFilter {
    /// Only entries of this app.
    #[param(inline)]
    app_id: Option<AppRef>,
}

impl AppFilter {
    /// Returns the app's id, if one was given.
    ///
    /// # Errors
    /// As for [`AppPath::find`].
    pub(crate) async fn find(&self, state: &AppState) -> Result<Option<AppId>, ApiError> {
        match self.app_id {
            Some(app) => app.find(state).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Returns the id of an app in a path, if the app exists. A text that is no id names no app.
///
/// # Errors
/// As for [`AppPath::find`].
pub(crate) async fn existing(state: &AppState, app_id: &str) -> Result<AppId, ApiError> {
    let id = app_id.parse().map_err(|_| app_not_found())?;
    AppRef(id).find(state).await
}

pub(crate) fn app_not_found() -> ApiError {
    ApiError::new(ErrorCode::AppNotFound, "There is no such app")
}

/// Returns the error for an app that can't be the owner of something.
pub(crate) fn another_apps(problem: &'static str) -> ApiError {
    InvalidField::new("app_id", problem).into()
}
