//! `/api/v2/subscriptions/call` and `/api/v2/subscriptions/sms`.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Caller, Int64, PageQuery, Problem, Query, page, webhooks};
use crate::registry::{Registry, Subscription, SubscriptionFilter, SubscriptionKind};
use crate::{State, lock};

pub(crate) fn routes(config: &mut web::ServiceConfig, path: &str, kind: SubscriptionKind) {
    config.service(web::resource(path).app_data(web::Data::new(kind)).get(list).post(create)).service(
        web::resource(format!("{path}/{{id}}"))
            .app_data(web::Data::new(kind))
            .get(show)
            .patch(update)
            .delete(delete),
    );
}

/// The states that a subscription may name; others are rejected.
const CALL_STATES: [&str; 33] = [
    "admin",
    "admin_recording",
    "ai_playbook",
    "all",
    "barge",
    "blocked",
    "call_moments",
    "call_transcription",
    "calling",
    "connected",
    "csat",
    "dispositions",
    "eavesdrop",
    "hangup",
    "hold",
    "merged",
    "missed",
    "monitor",
    "parked",
    "pcsat",
    "postcall",
    "preanswer",
    "queued",
    "recap_action_items",
    "recap_outcome",
    "recap_purposes",
    "recap_summary",
    "recording",
    "ringing",
    "takeover",
    "transcription",
    "voicemail",
    "voicemail_uploaded",
];

/// The body of a create or update request: an update keeps what it leaves out.
#[derive(Deserialize)]
pub(crate) struct Change {
    endpoint_id: Option<Int64>,
    enabled: Option<bool>,
    target_type: Option<String>,
    target_id: Option<Int64>,
    call_states: Option<Vec<String>>,
    group_calls_only: Option<bool>,
    direction: Option<String>,
    include_internal: Option<bool>,
    status: Option<bool>,
}

impl Change {
    fn apply(
        self,
        subscription: &mut Subscription,
        registry: &Registry,
        caller: &Caller,
        state: &State,
    ) -> Result<(), Problem> {
        if let Some(Int64(endpoint)) = self.endpoint_id {
            let webhook = registry.webhooks.get(&endpoint).filter(|webhook| caller.sees(webhook.company_id));
            let company_id = match webhook {
                Some(webhook) => webhook.company_id,
                // The simulator sends nothing over a websocket.
                None if lock(&state.records).has_websocket(endpoint, caller.company(state)) => {
                    caller.company(state)
                }
                None => return Err(Problem::bad("endpoint_id names no webhook or websocket")),
            };
            (subscription.endpoint_id, subscription.company_id) = (endpoint, company_id);
        }
        subscription.enabled = self.enabled.unwrap_or(subscription.enabled);
        match (self.target_type, self.target_id) {
            (Some(kind), Some(id)) => subscription.target = Some((kind, id.0)),
            (None, None) => {}
            _ => return Err(Problem::bad("target_type and target_id require each other")),
        }
        match &mut subscription.filter {
            SubscriptionFilter::Calls { states, group_calls_only } => {
                if let Some(wanted) = self.call_states {
                    if let Some(unknown) = wanted.iter().find(|state| !CALL_STATES.contains(&state.as_str()))
                    {
                        return Err(Problem::bad(format!("unknown call state \"{unknown}\"")));
                    }
                    *states = Some(wanted);
                }
                *group_calls_only = self.group_calls_only.unwrap_or(*group_calls_only);
            }
            SubscriptionFilter::Texts { direction, include_internal, status } => {
                if let Some(wanted) = self.direction {
                    if !["all", "inbound", "outbound"].contains(&wanted.as_str()) {
                        return Err(Problem::bad("direction must be all, inbound or outbound"));
                    }
                    *direction = wanted;
                }
                *include_internal = self.include_internal.unwrap_or(*include_internal);
                *status = self.status.unwrap_or(*status);
            }
        }
        Ok(())
    }
}

pub(crate) async fn create(
    state: web::Data<State>,
    kind: web::Data<SubscriptionKind>,
    caller: Caller,
    body: web::Json<Change>,
) -> Result<HttpResponse, Problem> {
    let change = body.into_inner();
    let Some(endpoint_id) = change.endpoint_id else {
        return Err(Problem::bad("endpoint_id is required"));
    };
    let filter = match **kind {
        SubscriptionKind::Calls => SubscriptionFilter::Calls { states: None, group_calls_only: false },
        SubscriptionKind::Texts if change.direction.is_none() => {
            return Err(Problem::bad("direction is required"));
        }
        SubscriptionKind::Texts => {
            SubscriptionFilter::Texts { direction: "all".to_owned(), include_internal: false, status: false }
        }
    };
    let reply = {
        let mut registry = lock(&state.registry);
        let mut subscription = Subscription {
            id: registry.next_id(),
            company_id: caller.company(&state),
            endpoint_id: endpoint_id.0,
            enabled: true,
            target: None,
            filter,
        };
        change.apply(&mut subscription, &registry, &caller, &state)?;
        if !registry.allows_another(subscription.company_id, **kind, subscription.target.as_ref()) {
            return Err(Problem::bad("the company has too many subscriptions of this kind"));
        }
        let reply = rendered(&subscription, &registry);
        registry.subscriptions.insert(subscription.id, subscription);
        reply
    };
    state.publish_subscription_count();
    Ok(HttpResponse::Ok().json(reply))
}

/// The query of the list: a page, and optionally one target.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    #[serde(flatten)]
    page: PageQuery,
    target_type: Option<String>,
    target_id: Option<Int64>,
}

pub(crate) async fn list(
    state: web::Data<State>,
    kind: web::Data<SubscriptionKind>,
    caller: Caller,
    query: Query<ListQuery>,
) -> HttpResponse {
    let registry = lock(&state.registry);
    let wanted = |subscription: &&Subscription| {
        let (target_type, target_id) = subscription.target.as_ref().map(|(kind, id)| (kind, id)).unzip();
        subscription.filter.kind() == **kind
            && caller.sees(subscription.company_id)
            && (query.target_type.is_none() || query.target_type.as_ref() == target_type)
            && (query.target_id.is_none() || query.target_id.as_ref().map(|id| &id.0) == target_id)
    };
    let items = registry.subscriptions.values().filter(wanted);
    page(items.map(|subscription| (subscription.id, rendered(subscription, &registry))), &query.page)
}

pub(crate) async fn show(
    state: web::Data<State>,
    kind: web::Data<SubscriptionKind>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let registry = lock(&state.registry);
    let subscription = find(&registry, **kind, *id, &caller)?;
    Ok(HttpResponse::Ok().json(rendered(&subscription, &registry)))
}

pub(crate) async fn update(
    state: web::Data<State>,
    kind: web::Data<SubscriptionKind>,
    caller: Caller,
    id: web::Path<i64>,
    body: web::Json<Change>,
) -> Result<HttpResponse, Problem> {
    let reply = {
        let mut registry = lock(&state.registry);
        let mut subscription = find(&registry, **kind, *id, &caller)?;
        body.into_inner().apply(&mut subscription, &registry, &caller, &state)?;
        let reply = rendered(&subscription, &registry);
        registry.subscriptions.insert(subscription.id, subscription);
        reply
    };
    state.publish_subscription_count();
    Ok(HttpResponse::Ok().json(reply))
}

pub(crate) async fn delete(
    state: web::Data<State>,
    kind: web::Data<SubscriptionKind>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let reply = {
        let mut registry = lock(&state.registry);
        let subscription = find(&registry, **kind, *id, &caller)?;
        registry.subscriptions.remove(&subscription.id);
        rendered(&subscription, &registry)
    };
    state.publish_subscription_count();
    Ok(HttpResponse::Ok().json(reply))
}

fn find(
    registry: &Registry,
    kind: SubscriptionKind,
    id: i64,
    caller: &Caller,
) -> Result<Subscription, Problem> {
    let found = registry
        .subscriptions
        .get(&id)
        .filter(|subscription| subscription.filter.kind() == kind && caller.sees(subscription.company_id));
    found.cloned().ok_or_else(|| Problem::not_found("subscription"))
}

fn rendered(subscription: &Subscription, registry: &Registry) -> Value {
    let mut reply = json!({"id": Int64(subscription.id), "enabled": subscription.enabled});
    match &subscription.filter {
        SubscriptionFilter::Calls { states, group_calls_only } => {
            reply["group_calls_only"] = (*group_calls_only).into();
            if let Some(states) = states {
                reply["call_states"] = json!(states);
            }
        }
        SubscriptionFilter::Texts { direction, include_internal, status } => {
            reply["direction"] = direction.as_str().into();
            reply["include_internal"] = (*include_internal).into();
            reply["status"] = (*status).into();
        }
    }
    if let Some((kind, id)) = &subscription.target {
        reply["target_type"] = kind.as_str().into();
        reply["target_id"] = json!(Int64(*id));
    }
    if let Some(webhook) = registry.webhooks.get(&subscription.endpoint_id) {
        reply["webhook"] = webhooks::rendered(webhook);
    }
    reply
}
