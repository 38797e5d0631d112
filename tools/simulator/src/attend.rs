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

use super::faults::{Group, NextAnswer};
use super::requests::Note;
use super::{World, clock, lock};

pub(crate) async fn attend(
    world: web::Data<World>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.path().starts_with("/simulator/") {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    let endpoint = format!("{} {route}", request.method());
    let n = lock(&world.requests).arrived(request.method().as_str(), route, request.path(), now());
    let group = Group::of(request.path());
    let (before, afterwards) = match group {
        Some(group) => world.switches().delays(group),
        None => (Duration::ZERO, Duration::ZERO),
    };

    pause(before).await;
    let instead =
        group.and_then(|group| NextAnswer::take(&mut lock(&world.switches).next_answers, group, &endpoint));
    let answered = if instead.as_ref().is_some_and(|instead| !instead.takes_effect) {
        request.into_response(HttpResponse::Ok().finish())
    } else {
        let answered = next.call(request).await?.map_into_boxed_body();
        let note = answered.response().extensions().get::<Note>().cloned();
        lock(&world.requests).handled(n, note, now());
        answered
    };
    pause(afterwards).await;

    let answered = match &instead {
        Some(instead) => match instead.render() {
            Some(reply) => answered.into_response(reply),
            None => {
                cut(answered.request());
                lock(&world.requests).answered(n, None, now());
                return Ok(answered);
            }
        },
        None => answered,
    };
    lock(&world.requests).answered(n, Some(answered.status().as_u16()), now());
    Ok(answered)
}

/// A second handle of a connection, by which it can be cut.
struct Wire(Socket);

/// Keeps a second handle of each connection at hand.
pub(crate) fn keep_wire(connection: &dyn Any, extensions: &mut Extensions) {
    let stream = connection.downcast_ref::<TcpStream>();
    if let Some(Ok(handle)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
        extensions.insert(Wire(Socket::from(handle)));
    }
}

/// Ends the connection of a request before it is answered: what is written afterwards reaches nobody.
fn cut(request: &HttpRequest) {
    if let Some(Wire(socket)) = request.conn_data() {
        // One that is gone already is as good.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// A timer of no length would still give way to others.
async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

fn now() -> i64 {
    clock::now().timestamp_micros()
}
