//! `/simulator/…`: what a real platform does not have: flows on demand, and the book of what was delivered.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::request::FlowRequest;
use super::{World, lock};

/// The routes of the control API. It asks for no token: the simulator is nobody's secret.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let unreadable = web::JsonConfig::default().error_handler(|error, _| {
        let reply = refused(&error.to_string());
        actix_web::error::InternalError::from_response(error, reply).into()
    });
    config.service(
        web::scope("/simulator")
            .app_data(unreadable)
            .route("/flows", web::post().to(start))
            .route("/flows/{run_id}", web::get().to(progress))
            .route("/deliveries", web::get().to(deliveries)),
    );
}

async fn start(world: web::Data<World>, body: web::Json<FlowRequest>) -> HttpResponse {
    match World::play(&world, body.into_inner()) {
        Ok(run_id) => HttpResponse::Accepted().json(json!({"run_id": run_id})),
        Err(reason) => refused(&reason.to_string()),
    }
}

async fn progress(world: web::Data<World>, run_id: web::Path<String>) -> HttpResponse {
    match world.progress(&run_id) {
        Some(progress) => HttpResponse::Ok().json(progress),
        None => HttpResponse::NotFound().json(json!({"error": "no such run"})),
    }
}

#[derive(Deserialize)]
struct DeliveriesQuery {
    #[serde(default)]
    after: u64,
    run_id: Option<String>,
}

async fn deliveries(world: web::Data<World>, query: web::Query<DeliveriesQuery>) -> HttpResponse {
    let found = lock(&world.courier.deliveries).after(query.after, query.run_id.as_deref());
    HttpResponse::Ok().json(found)
}

fn refused(reason: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({"error": reason}))
}
