//! Routing: which apps a webhook goes to, and what happens to it there. Pure: the caller looks up the routes.
//!
//! Every way into the journal decides here: a webhook at the shared address or at an app's own one, a webhook that
//! waited in the journal for an app, a replay, and a finding of the server itself.

use cti_actors::{id::AppId, ports::Inbound};
use strum::{IntoStaticStr, VariantArray};

use super::payload::Reading;

/// An app that webhooks may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The app.
    pub app_id: AppId,
    /// Whether the app is active. Webhooks of an inactive one wait for its activation.
    pub is_active: bool,
}

/// Where a webhook was sent.
#[derive(Clone, Debug)]
pub enum Addressee {
    /// To the organization that its payload names: every app that is connected to it.
    Organization(Vec<Route>),
    /// To one app, whether it is connected or not.
    App {
        /// The app.
        route: Route,
        /// The only organization whose webhooks the app takes; `None` where any will do.
        organization: Option<i64>,
    },
}

/// Where one copy of a webhook goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The app; `None` while no app is known for it.
    pub app_id: Option<AppId>,
    /// What happens to it.
    pub disposition: Disposition,
}

/// What happens to a webhook in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It will be processed.
    Pending(Box<Inbound>),
    /// It waits until somebody acts.
    Unrouted(UnroutedReason),
    /// It can't be understood, for this reason.
    Failed(String),
}

/// Why a webhook waits, in the words that the journal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum UnroutedReason {
    /// No app is connected to its organization. Routed when one is.
    NoAppForOrganization,
    /// It names no organization and was sent to no app. Routed by a replay that names the app.
    OrganizationMissing,
    /// Its app is inactive. Processed when the app is activated.
    AppInactive,
    /// It was sent to one app and names the organization of another. Processed by a replay that names the app.
    OrganizationMismatch,
}

impl Disposition {
    /// Returns the status in the journal.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Unrouted(_) => "unrouted",
            Self::Failed(_) => "failed",
        }
    }

    /// Returns why it is not processed; `None` where it is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pending(_) => None,
            Self::Unrouted(reason) => Some(reason.into()),
            Self::Failed(reason) => Some(reason),
        }
    }

    /// Returns why it is not processed; where it is, what of it was left out.
    #[must_use]
    pub fn reason_or<'r>(&'r self, unreadable: Option<&'r str>) -> Option<&'r str> {
        self.reason().or_else(|| unreadable.filter(|_| matches!(self, Self::Pending(_))))
    }

    /// Whether it waits for its app to be activated.
    #[must_use]
    pub fn awaits_activation(&self) -> bool {
        *self == Self::Unrouted(UnroutedReason::AppInactive)
    }

    /// Whether its app is settled: it is processed now, or as soon as the app is activated.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Pending(_)) || self.awaits_activation()
    }
}

/// Decides where a webhook goes: at least one destination, the first of which its acknowledgement names.
#[must_use]
pub fn route(reading: &Reading, addressee: &Addressee) -> Vec<Destination> {
    let unrouted = |app_id, reason| vec![Destination { app_id, disposition: unless_failed(reading, reason) }];
    match addressee {
        Addressee::App { route, organization } if names_another(reading, *organization) => {
            unrouted(Some(route.app_id), UnroutedReason::OrganizationMismatch)
        }
        Addressee::App { route, .. } => vec![to_app(reading, *route)],
        Addressee::Organization(_) if reading.organization_id.is_none() => {
            unrouted(None, UnroutedReason::OrganizationMissing)
        }
        Addressee::Organization(routes) if routes.is_empty() => {
            unrouted(None, UnroutedReason::NoAppForOrganization)
        }
        Addressee::Organization(routes) => routes.iter().map(|route| to_app(reading, *route)).collect(),
    }
}

fn names_another(reading: &Reading, organization: Option<i64>) -> bool {
    matches!((reading.organization_id, organization), (Some(named), Some(own)) if named != own)
}

fn to_app(reading: &Reading, route: Route) -> Destination {
    let disposition = match &reading.content {
        Ok(inbound) if route.is_active => Disposition::Pending(Box::new(inbound.clone())),
        _ => unless_failed(reading, UnroutedReason::AppInactive),
    };
    Destination { app_id: Some(route.app_id), disposition }
}

/// What can't be understood has failed, wherever it goes.
fn unless_failed(reading: &Reading, reason: UnroutedReason) -> Disposition {
    match &reading.content {
        Ok(_) => Disposition::Unrouted(reason),
        Err(problem) => Disposition::Failed(problem.clone()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::webhook::payload;

    const ACTIVE: Route = Route { app_id: AppId(Uuid::from_u128(1)), is_active: true };
    const INACTIVE: Route = Route { app_id: AppId(Uuid::from_u128(2)), is_active: false };

    fn reading(json: &str) -> Reading {
        payload::read(json.as_bytes(), DateTime::UNIX_EPOCH)
    }

    fn to(route: Route, organization: Option<i64>) -> Addressee {
        Addressee::App { route, organization }
    }

    /// App, status and reason of each destination.
    type Expected<'e> = &'e [(Option<AppId>, &'e str, Option<&'e str>)];

    #[test]
    fn every_webhook_goes_where_the_table_says() {
        let named = r#"{"event_type":"call.ring","call_id":1,"organization_id":7}"#;
        let anonymous = r#"{"event_type":"call.ring","call_id":1}"#;
        let unreadable = r#"{"event_type":"call.ring","organization_id":7}"#;
        let why = Some("call.ring names no call: call_id is missing or no number");
        let shared = |routes: &[Route]| Addressee::Organization(routes.to_vec());
        let (active, inactive) = (Some(ACTIVE.app_id), Some(INACTIVE.app_id));

        let table: [(&str, Addressee, Expected<'_>); 16] = [
            (named, shared(&[ACTIVE]), &[(active, "pending", None)]),
            (
                named,
                shared(&[ACTIVE, INACTIVE]),
                &[(active, "pending", None), (inactive, "unrouted", Some("app_inactive"))],
            ),
            (named, shared(&[]), &[(None, "unrouted", Some("no_app_for_organization"))]),
            (anonymous, shared(&[]), &[(None, "unrouted", Some("organization_missing"))]),
            (anonymous, shared(&[ACTIVE]), &[(None, "unrouted", Some("organization_missing"))]),
            (unreadable, shared(&[ACTIVE, INACTIVE]), &[(active, "failed", why), (inactive, "failed", why)]),
            (unreadable, shared(&[]), &[(None, "failed", why)]),
            ("[]", shared(&[ACTIVE]), &[(None, "failed", Some("the payload is not a JSON object"))]),
            (named, to(ACTIVE, Some(7)), &[(active, "pending", None)]),
            (named, to(ACTIVE, None), &[(active, "pending", None)]),
            (anonymous, to(ACTIVE, Some(7)), &[(active, "pending", None)]),
            (named, to(ACTIVE, Some(8)), &[(active, "unrouted", Some("organization_mismatch"))]),
            (named, to(INACTIVE, Some(8)), &[(inactive, "unrouted", Some("organization_mismatch"))]),
            (named, to(INACTIVE, Some(7)), &[(inactive, "unrouted", Some("app_inactive"))]),
            (unreadable, to(ACTIVE, Some(8)), &[(active, "failed", why)]),
            (unreadable, to(INACTIVE, None), &[(inactive, "failed", why)]),
        ];
        for (payload, addressee, expected) in table {
            let destinations = route(&reading(payload), &addressee);
            let found: Vec<_> = destinations
                .iter()
                .map(|it| (it.app_id, it.disposition.status(), it.disposition.reason()))
                .collect();
            assert_eq!(found, expected, "{payload} to {addressee:?}");
        }
    }

    #[test]
    fn what_is_pending_carries_what_the_payload_says() {
        let reading = reading(r#"{"event_type":"call.ring","call_id":1,"organization_id":7}"#);
        let routed = route(&reading, &to(ACTIVE, None));
        let inbound = reading.content.expect("readable");
        assert_eq!(routed[0].disposition, Disposition::Pending(Box::new(inbound)));
    }

    #[test]
    fn only_what_waits_for_activation_is_accepted_without_being_processed() {
        for reason in UnroutedReason::VARIANTS {
            let accepted = Disposition::Unrouted(*reason).is_accepted();
            assert_eq!(accepted, *reason == UnroutedReason::AppInactive, "{reason:?}");
        }
        assert!(!Disposition::Failed("why".into()).is_accepted());
    }
}
