//! The door to `/ws`: who may enter is decided before the upgrade where the key comes with the request.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use cti_actors::session::{SessionOptions, serve};
use secrecy::SecretString;

use super::{
    Shared,
    auth::{admit, api_key},
    feed::{self, OF_SESSIONS, PARAMETERS},
    line::Line,
    query::Query,
};
use crate::error::ApiError;

pub(super) async fn connect(
    request: HttpRequest,
    shared: Data<Shared>,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let options = options(&request, &shared).await?;
    Line::let_go(&request);
    serve(&request, payload, options)
}

async fn options(request: &HttpRequest, shared: &Shared) -> Result<SessionOptions, ApiError> {
    let query = Query::of(request, &[&PARAMETERS[..], &OF_SESSIONS, &["api_key"]].concat())?;
    let key = api_key(request).or_else(|| query.text("api_key").map(SecretString::from));
    let admission = match key {
        Some(key) => Some(admit(request, &key).await?),
        None => None,
    };
    let subscription = feed::subscription(&query)?;
    Ok(SessionOptions { engine: Arc::clone(&shared.engine), admission, subscription })
}
