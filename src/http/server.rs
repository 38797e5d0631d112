//! The HTTP server: what happens around the routes, and to a connection.

use std::{any::Any, io, net::TcpListener, sync::Arc, time::Duration};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, HttpServer,
    dev::Server,
    http::KeepAlive,
    middleware::from_fn,
    rt::net::TcpStream,
    web::{Data, ServiceConfig},
};
use tracing_actix_web::TracingLogger;

use super::{
    early::{EarlyState, early_routes},
    middleware::{
        body_timeout::limit_body_time,
        connections::ConnectionLimit,
        cors::{answer_preflight, share_with_origins},
        errors::observe,
        https::require_https,
        panics::catch_panics,
        span::RequestSpan,
        tcp_timeout::ConnectionTimeouts,
        webhook_path::ignore_extra_slashes,
    },
    routes,
    state::AppState,
};
use crate::tls::Tls;

/// How long an idle HTTP connection is kept: longer than load balancers do, which must close it first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a stop waits for requests in progress. A client that reads nothing uses up all of it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// The same, while the database is not open.
const EARLY_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take: after a restart, all clients begin one at once.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const EARLY_THREADS: usize = 2;

/// Starts to accept connections. `more` adds further routes before these.
///
/// # Errors
/// The listener can't be used.
pub(crate) fn serve(
    state: &Data<AppState>,
    listener: TcpListener,
    tls: Option<&Tls>,
    more: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    let workers = state.config.http_workers;
    let stuck_session_timeout = state.config.stuck_session_timeout;
    let limit = Arc::new(ConnectionLimit::new(&state.config.rate_limits));
    let state = state.clone();
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .configure(more.clone())
            .configure(routes)
            .wrap(from_fn(limit_body_time))
            .wrap(from_fn(answer_preflight))
            .wrap(from_fn(catch_panics))
            .wrap(from_fn(require_https))
            .wrap(from_fn(observe))
            .wrap(from_fn(share_with_origins))
            .wrap(from_fn(ignore_extra_slashes))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .on_connect(move |connection, data| {
        if let Some(stream) = socket_of(connection)
            && let Some(counted) = limit.accept(stream)
        {
            data.insert(counted);
            data.insert(ConnectionTimeouts::accept(stream, stuck_session_timeout));
        }
    })
    // A client that has sent its last request may close its side, and gets its answer. Streams, which have no end, watch
    // for that themselves.
    .h1_allow_half_closed(true)
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_TIMEOUT.as_secs());
    if workers > 0 {
        server = server.workers(workers);
    }
    let server = match tls {
        Some(tls) => server
            .tls_handshake_timeout(TLS_HANDSHAKE_TIMEOUT)
            .listen_rustls_0_23(listener, tls.server_config())?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Returns the socket of a connection that was just accepted, over TLS or not.
fn socket_of(connection: &dyn Any) -> Option<&TcpStream> {
    let of_tls = || connection.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0);
    connection.downcast_ref::<TcpStream>().or_else(of_tls)
}

/// Starts to accept connections before the database is open.
///
/// # Errors
/// The listener can't be used.
pub(crate) fn serve_early(
    state: &Data<EarlyState>,
    listener: TcpListener,
    tls: Option<&Tls>,
) -> io::Result<Server> {
    let state = state.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .configure(early_routes)
            .wrap(from_fn(limit_body_time))
            .wrap(from_fn(catch_panics))
            .wrap(from_fn(require_https))
            .wrap(from_fn(observe))
            .wrap(from_fn(ignore_extra_slashes))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .workers(EARLY_THREADS)
    // The next request of a client must reach the complete server.
    .keep_alive(KeepAlive::Disabled)
    .disable_signals()
    .shutdown_timeout(EARLY_SHUTDOWN_TIMEOUT.as_secs());
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.server_config())?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}
