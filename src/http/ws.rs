//! The door to `/ws`: who may enter is decided before the upgrade where the key comes with the request.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use cti_actors::session::{SessionOptions, Subscription, serve};
use secrecy::SecretString;

use super::{
    Shared,
    auth::{admit, api_key},
    query::Query,
};
use crate::error::ApiError;

pub(super) async fn connect(
    request: HttpRequest,
    shared: Data<Shared>,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let options = options(&request, &shared).await?;
    serve(&request, payload, options)
}

async fn options(request: &HttpRequest, shared: &Shared) -> Result<SessionOptions, ApiError> {
    let query = Query::of(request, &["api_key", "after", "types", "dialpad_user_id", "ids"])?;
    let key = api_key(request).or_else(|| query.text("api_key").map(SecretString::from));
    let admission = match key {
        Some(key) => Some(admit(request, &key).await?),
        None => None,
    };
    let subscription = Subscription::parse(
        query.text("after"),
        query.text("types"),
        query.text("dialpad_user_id"),
        query.text("ids"),
    )
    .map_err(|problem| ApiError::invalid(problem.to_string()))?;
    Ok(SessionOptions { engine: Arc::clone(&shared.engine), admission, subscription })
}
