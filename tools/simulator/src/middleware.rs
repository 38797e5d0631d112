//! Logs every request to the simulated platform, delays it, and replaces its answer where a switch says so.
//!
//! The simulator's own controls (`/simulator/…`) are not affected.

use std::any::Any;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use socket2::Socket;

use super::faults::{EndpointGroup, NextAnswer};
use super::request_log::RequestNote;
use super::{State, clock, lock};

pub(crate) async fn intercept(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.path().starts_with("/simulator/") {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let endpoint = format!("{} {route}", request.method());
    let n = lock(&state.requests).arrived(request.method().as_str(), route, request.path(), now());
    let group = EndpointGroup::of(request.path());
    let (delay_before, delay_after) = match group {
        Some(group) => state.switches().delays(group),
        None => (Duration::ZERO, Duration::ZERO),
    };

    sleep_unless_zero(delay_before).await;
    let fault =
        group.and_then(|group| NextAnswer::take(&mut lock(&state.switches).next_answers, group, &endpoint));
    let response = if fault.as_ref().is_some_and(|fault| !fault.takes_effect) {
        request.into_response(HttpResponse::Ok().finish())
    } else {
        let response = next.call(request).await?.map_into_boxed_body();
        let note = response.response().extensions().get::<RequestNote>().cloned();
        lock(&state.requests).handled(n, note, now());
        response
    };
    sleep_unless_zero(delay_after).await;

    let response = match &fault {
        Some(fault) => match fault.render() {
            Some(reply) => response.into_response(reply),
            None => {
                reset(response.request());
                lock(&state.requests).answered(n, None, now());
                return Ok(response);
            }
        },
        None => response,
    };
    lock(&state.requests).answered(n, Some(response.status().as_u16()), now());
    Ok(response)
}

/// A duplicated handle of a connection, by which the connection can be reset.
struct ConnectionSocket(Socket);

/// Stores a duplicated handle of each connection in its extensions.
pub(crate) fn store_socket(connection: &dyn Any, extensions: &mut Extensions) {
    let stream = connection.downcast_ref::<TcpStream>();
    if let Some(Ok(handle)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
        extensions.insert(ConnectionSocket(Socket::from(handle)));
    }
}

/// Resets the connection of a request before the answer is written.
fn reset(request: &HttpRequest) {
    if let Some(ConnectionSocket(socket)) = request.conn_data() {
        // The connection may be closed already.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// Sleeps, unless the length is zero: even a timer of zero length yields to other tasks.
async fn sleep_unless_zero(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

fn now() -> i64 {
    clock::now().timestamp_micros()
}
