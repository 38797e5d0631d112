//! Attends to every request of the platform: writes it down, lets it wait, and answers it wrongly where a switch says so.
//!
//! The simulator's own controls (`/simulator/…`) pass untouched.

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
    let (before, afterwards) = match group {
        Some(group) => state.switches().delays(group),
        None => (Duration::ZERO, Duration::ZERO),
    };

    sleep_unless_zero(before).await;
    let fault =
        group.and_then(|group| NextAnswer::take(&mut lock(&state.switches).next_answers, group, &endpoint));
    let answered = if fault.as_ref().is_some_and(|fault| !fault.takes_effect) {
        request.into_response(HttpResponse::Ok().finish())
    } else {
        let answered = next.call(request).await?.map_into_boxed_body();
        let note = answered.response().extensions().get::<RequestNote>().cloned();
        lock(&state.requests).handled(n, note, now());
        answered
    };
    sleep_unless_zero(afterwards).await;

    let answered = match &fault {
        Some(fault) => match fault.render() {
            Some(reply) => answered.into_response(reply),
            None => {
                reset(answered.request());
                lock(&state.requests).answered(n, None, now());
                return Ok(answered);
            }
        },
        None => answered,
    };
    lock(&state.requests).answered(n, Some(answered.status().as_u16()), now());
    Ok(answered)
}

/// A second handle of a connection, by which it can be reset.
struct ConnectionSocket(Socket);

/// Keeps a second handle of each connection at hand.
pub(crate) fn store_socket(connection: &dyn Any, extensions: &mut Extensions) {
    let stream = connection.downcast_ref::<TcpStream>();
    if let Some(Ok(handle)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
        extensions.insert(ConnectionSocket(Socket::from(handle)));
    }
}

/// Ends the connection of a request before it is answered: what is written afterwards reaches nobody.
fn reset(request: &HttpRequest) {
    if let Some(ConnectionSocket(socket)) = request.conn_data() {
        // One that is gone already is as good.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// A timer of no length would still give way to others.
async fn sleep_unless_zero(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

fn now() -> i64 {
    clock::now().timestamp_micros()
}
