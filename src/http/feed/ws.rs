//! The door to `/ws`: who may enter is decided before the upgrade where the key comes with the request.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use cti_actors::session::{SessionOptions, serve};

use crate::http::error::ApiError;
use crate::http::{
    extract::auth::authenticate,
    feed,
    middleware::{
        rate_limit::{self, Attempt},
        tcp_timeout::ConnectionTimeouts,
    },
    state::AppState,
};

pub(crate) async fn connect(
    request: HttpRequest,
    shared: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let options = options(&request, shared).await?;
    ConnectionTimeouts::release(&request);
    serve(&request, payload, options)
}

async fn options(request: &HttpRequest, shared: Data<AppState>) -> Result<SessionOptions, ApiError> {
    let (query, key) = feed::of_session(request)?;
    let admission = match key {
        Some(key) => Some(authenticate(request, &key).await?),
        None => None,
    };
    let subscription = feed::subscription(&query)?;
    let tenants = shared.engine.tenants();
    let address = rate_limit::client_ip(request, &shared);
    let exceeds_wrong_key_limit = move || {
        address
            .is_some_and(|address| rate_limit::check_address(address, &shared, Attempt::Credentials).is_err())
    };
    Ok(SessionOptions {
        tenants,
        key: admission,
        subscription,
        exceeds_wrong_key_limit: Box::new(exceeds_wrong_key_limit),
    })
}
