//! Links to recordings and call reviews, made over the API: `/recordingsharelink` and `/callreviewsharelink`.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Int64, Problem, as_strings, find_call};
use crate::{State, clock, flows, lock};

/// The links that were made and not deleted, by id.
#[derive(Default)]
pub(crate) struct ShareLinks(HashMap<String, ShareLink>);

/// One link.
#[derive(Clone)]
pub(crate) struct ShareLink {
    kind: LinkKind,
    company_id: i64,
    privacy: String,
    /// The fields that never change.
    fields: Value,
    /// The recording that it leads to; none for a call review.
    pub(crate) recording_id: Option<i64>,
}

impl ShareLinks {
    /// Returns a link that everybody may open.
    pub(crate) fn public(&self, id: &str) -> Option<&ShareLink> {
        self.0.get(id).filter(|link| link.privacy == "public")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LinkKind {
    Recording,
    CallReview,
}

impl LinkKind {
    fn path(self) -> &'static str {
        match self {
            Self::Recording => "/recordingsharelink",
            Self::CallReview => "/callreviewsharelink",
        }
    }

    fn default_privacy(self) -> &'static str {
        match self {
            Self::Recording => "owner",
            Self::CallReview => "company",
        }
    }

    /// Returns the privacy of a request, or the error for an unknown one.
    fn checked(self, privacy: Option<String>) -> Result<String, Problem> {
        let allowed: &[&str] = match self {
            Self::Recording => &["admin", "company", "owner", "public"],
            Self::CallReview => &["company", "public"],
        };
        let privacy = privacy.unwrap_or_else(|| self.default_privacy().to_owned());
        if allowed.contains(&privacy.as_str()) {
            Ok(privacy)
        } else {
            Err(Problem::bad(format!("privacy must be one of {}", allowed.join(", "))))
        }
    }
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    for (kind, create) in [
        (LinkKind::Recording, web::post().to(share_recording)),
        (LinkKind::CallReview, web::post().to(share_review)),
    ] {
        config.route(kind.path(), create).service(
            web::resource(format!("{}/{{id}}", kind.path()))
                .app_data(web::Data::new(kind))
                .get(show)
                .put(update)
                .delete(delete),
        );
    }
}

/// The body of `POST /recordingsharelink`.
#[derive(Deserialize)]
struct ShareRecording {
    recording_id: Option<Int64>,
    recording_type: Option<String>,
    privacy: Option<String>,
}

async fn share_recording(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<ShareRecording>,
) -> Result<HttpResponse, Problem> {
    let (Some(Int64(recording_id)), Some(kind)) = (body.recording_id, &body.recording_type) else {
        return Err(Problem::bad("recording_id and recording_type are required"));
    };
    let privacy = LinkKind::Recording.checked(body.privacy.clone())?;
    let call_id = {
        let calls = lock(&state.calls);
        let call = calls.by_link(recording_id).filter(|call| caller.sees(call.company_id));
        let is_of_kind = |call: &&crate::call_log::Call| {
            call.recording.as_ref().is_some_and(|recording| recording.kind == *kind)
        };
        call.filter(is_of_kind).ok_or_else(|| Problem::not_found("recording"))?.id
    };
    let fields = json!({
        "call_id": call_id,
        "item_id": recording_id.to_string(),
        "type": kind,
        "created_by_id": flows::first_user().id,
        "date_added": clock::now().to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    Ok(insert(&state, &caller, LinkKind::Recording, privacy, fields, Some(recording_id)))
}

/// The body of `POST /callreviewsharelink`.
#[derive(Deserialize)]
struct ShareReview {
    call_id: Option<Int64>,
    privacy: Option<String>,
}

async fn share_review(
    state: web::Data<State>,
    caller: Caller,
    body: web::Json<ShareReview>,
) -> Result<HttpResponse, Problem> {
    let Some(Int64(call_id)) = body.call_id else { return Err(Problem::bad("call_id is required")) };
    let privacy = LinkKind::CallReview.checked(body.privacy.clone())?;
    find_call(&lock(&state.calls), call_id, &caller)?;
    Ok(insert(&state, &caller, LinkKind::CallReview, privacy, json!({"call_id": call_id}), None))
}

fn insert(
    state: &State,
    caller: &Caller,
    kind: LinkKind,
    privacy: String,
    fields: Value,
    recording_id: Option<i64>,
) -> HttpResponse {
    let id = hex::encode(rand::random::<[u8; 12]>());
    let link = ShareLink { kind, company_id: caller.company(state), privacy, fields, recording_id };
    let reply = rendered(state, &id, &link);
    lock(&state.share_links).0.insert(id, link);
    HttpResponse::Ok().json(reply)
}

/// Returns a link that the caller may access.
fn find(state: &State, caller: &Caller, kind: LinkKind, id: &str) -> Result<ShareLink, Problem> {
    let links = lock(&state.share_links);
    let link = links.0.get(id).filter(|link| link.kind == kind && caller.sees(link.company_id));
    link.cloned().ok_or_else(|| Problem::not_found("share link"))
}

async fn show(
    state: web::Data<State>,
    kind: web::Data<LinkKind>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let link = find(&state, &caller, **kind, &id)?;
    Ok(HttpResponse::Ok().json(rendered(&state, &id, &link)))
}

/// The body of an update.
#[derive(Deserialize)]
struct Update {
    privacy: String,
}

async fn update(
    state: web::Data<State>,
    kind: web::Data<LinkKind>,
    caller: Caller,
    id: web::Path<String>,
    body: web::Json<Update>,
) -> Result<HttpResponse, Problem> {
    let link = find(&state, &caller, **kind, &id)?;
    let link = ShareLink { privacy: kind.checked(Some(body.into_inner().privacy))?, ..link };
    let reply = rendered(&state, &id, &link);
    lock(&state.share_links).0.insert(id.into_inner(), link);
    Ok(HttpResponse::Ok().json(reply))
}

async fn delete(
    state: web::Data<State>,
    kind: web::Data<LinkKind>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let link = find(&state, &caller, **kind, &id)?;
    lock(&state.share_links).0.remove(id.as_str());
    Ok(HttpResponse::Ok().json(rendered(&state, &id, &link)))
}

fn rendered(state: &State, id: &str, link: &ShareLink) -> Value {
    let mut reply = link.fields.clone();
    let place = if link.recording_id.is_some() { "recording" } else { "call" };
    reply["id"] = id.into();
    reply["privacy"] = link.privacy.as_str().into();
    reply["access_link"] = format!("{}/shared/{place}/{id}", state.base_url).into();
    as_strings(reply)
}
