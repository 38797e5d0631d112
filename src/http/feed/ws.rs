//! The handshake of `/ws`. If the key comes with the request, it is checked before the upgrade.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use cti_actors::session::{SessionOptions, serve};

use super::params::OpenSession;
use crate::http::{
    error::{
        ApiError,
        ErrorCode::{AppInactive, DatabaseUnavailable, Internal, InvalidApiKey, InvalidRequest, RateLimited},
    },
    extract::{
        auth::{api_key, authenticate},
        query::read_query,
    },
    middleware::{
        rate_limit::{self, Attempt},
        tcp_timeout::ConnectionTimeouts,
    },
    openapi::{
        errors::{Errors, codes},
        tags,
    },
    state::AppState,
};

/// Opens a WebSocket.
///
/// The request is a WebSocket handshake. Without a key in the request, the first message must contain it, within 10
/// seconds. A cursor that can't be served is announced as a `gap`. Messages, events and close codes are described in
/// `/asyncapi.json`.
#[utoipa::path(
    get, path = "/ws", operation_id = "open_websocket", tag = tags::FEED, params(OpenSession),
    responses(
        (status = 101, description = "The connection is a WebSocket."),
        Errors<{
            codes(&[InvalidRequest, InvalidApiKey, AppInactive, RateLimited, DatabaseUnavailable, Internal])
        }>,
    ),
)]
pub(crate) async fn connect(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let options = options(&request, state).await?;
    ConnectionTimeouts::release(&request);
    serve(&request, payload, options)
}

async fn options(request: &HttpRequest, state: Data<AppState>) -> Result<SessionOptions, ApiError> {
    let query: OpenSession = read_query(request)?;
    let admission = match api_key(request).or_else(|| query.api_key()) {
        Some(key) => Some(authenticate(request, &key).await?),
        None => None,
    };
    let subscription = query.subscription()?;
    let tenants = state.engine.tenants();
    let address = rate_limit::client_ip(request, &state);
    let exceeds_wrong_key_limit = move || {
        address
            .is_some_and(|address| rate_limit::check_address(address, &state, Attempt::Credentials).is_err())
    };
    let exceeds_wrong_key_limit = Box::new(exceeds_wrong_key_limit);
    Ok(SessionOptions { tenants, key: admission, subscription, exceeds_wrong_key_limit })
}
