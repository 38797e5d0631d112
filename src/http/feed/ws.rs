//! The handshake of `/ws`. If the key comes with the request, it is checked before the upgrade.

use std::{
    cell::Cell,
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    web::{Bytes, Data, Payload},
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
        tcp_timeout::WebSocketConnection,
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
    let is_closed_by_client = Rc::new(Cell::new(false));
    let options = options(&request, state, Rc::clone(&is_closed_by_client)).await?;
    let connection = WebSocketConnection::of(&request);
    let answer = serve(&request, payload, options)?;
    Ok(answer.map_body(|_, body| BoxBody::new(SessionBody { body, connection, is_closed_by_client })))
}

/// What is written to a WebSocket. After a client's close frame was answered, its connection is closed at once.
struct SessionBody {
    body: BoxBody,
    connection: Option<WebSocketConnection>,
    is_closed_by_client: Rc<Cell<bool>>,
}

impl MessageBody for SessionBody {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let part = ready!(Pin::new(&mut this.body).poll_next(cx));
        // The client may send more after a close frame of the server: its own has to be received.
        if part.is_none()
            && this.is_closed_by_client.get()
            && let Some(connection) = this.connection.take()
        {
            connection.end_reading();
        }
        Poll::Ready(part)
    }
}

async fn options(
    request: &HttpRequest,
    state: Data<AppState>,
    is_closed_by_client: Rc<Cell<bool>>,
) -> Result<SessionOptions, ApiError> {
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
    Ok(SessionOptions { tenants, key: admission, subscription, exceeds_wrong_key_limit, is_closed_by_client })
}
