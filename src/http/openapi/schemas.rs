//! The schemas of everything that is sent and read, by their names.

use cti_actors::{
    event::{
        EventType,
        schema::{self, Named, merge, sent},
    },
    id::JournalId,
};
use strum::VariantArray;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, Array, Discriminator, Object, ObjectBuilder, OneOfBuilder, Ref},
    },
};

use super::{bodies, examples};
use crate::{
    http::{
        admin::{self, api_keys, apps, journal},
        crm::status,
        error::{ErrorBody, ErrorCode},
        health, oauth, webhooks,
    },
    store::{
        feed::consumers::ConsumerView,
        tenants::{apps::AppCounts, user_mappings::UserMapping},
        views::{
            calls::{CallView, VoicemailOfCall},
            interactions::InteractionView,
            messages::MessageView,
            voicemails::VoicemailView,
        },
    },
};

/// All of them.
pub(crate) fn all() -> Vec<Named> {
    let mut all = schema::components();
    all.extend(of_answers());
    all.extend(of_requests());
    all.extend(of_events());
    all
}

/// Those that the feed's events and messages consist of, for a document that has nothing else.
pub(crate) fn of_the_feed() -> Vec<Named> {
    let mut all = schema::components();
    all.extend([answer::<CallView>(), answer::<VoicemailOfCall>()]);
    all.extend(of_events());
    all
}

fn of_answers() -> Vec<Named> {
    vec![
        (ErrorBody::name().into_owned(), ErrorBody::schema()),
        answer::<ErrorCode>(),
        answer::<CallView>(),
        answer::<VoicemailOfCall>(),
        answer::<VoicemailView>(),
        answer::<MessageView>(),
        answer::<InteractionView>(),
        answer::<UserMapping>(),
        answer::<ConsumerView>(),
        answer::<health::Home>(),
        answer::<health::Health>(),
        answer::<health::Checks>(),
        answer::<health::Probe>(),
        answer::<status::AppStatus>(),
        answer::<status::UnrecoveredGap>(),
        answer::<admin::webhooks::WebhookInShort>(),
        answer::<admin::webhooks::Shown>(),
        answer::<admin::webhooks::ShownSubscription>(),
        answer::<apps::AppMade<'_>>(),
        answer::<apps::Shown>(),
        whole::<apps::AppInFull>(&[apps::Shown::schema()]),
        answer::<apps::Connection>(),
        whole::<apps::Counts>(&[AppCounts::schema()]),
        answer::<api_keys::KeyMade<'_>>(),
        answer::<api_keys::KeysRevoked>(),
        answer::<api_keys::KeyStatus>(),
        answer::<api_keys::ValidKey>(),
        answer::<api_keys::Audited>(),
        answer::<oauth::Connected<'_>>(),
        answer::<oauth::Disconnected>(),
        answer::<webhooks::Taken>(),
        answer::<journal::Shown<'_>>(),
        answer::<JournalId>(),
    ]
}

fn of_requests() -> Vec<Named> {
    vec![
        (bodies::PositiveId::name().into_owned(), bodies::PositiveId::schema()),
        strict::<bodies::NewApp>(),
        strict::<bodies::AppChange>(),
        strict::<bodies::KeyRotation>(),
        strict::<bodies::UserToMap>(),
        strict::<bodies::UsersToMap>(),
        strict::<bodies::Acknowledgement>(),
        strict::<bodies::CallOrder>(),
        strict::<bodies::Replay>(),
        (bodies::WorkflowWebhook::name().into_owned(), bodies::WorkflowWebhook::schema()),
        (bodies::DialpadWebhook::name().into_owned(), bodies::DialpadWebhook::schema()),
    ]
}

/// Something that is sent.
fn answer<T: ToSchema>() -> Named {
    (T::name().into_owned(), sent(T::schema()))
}

/// Something that is sent, and consists of other things whose fields lie beside its own.
fn whole<T: ToSchema>(parts: &[RefOr<Schema>]) -> Named {
    let mut whole = Object::new();
    for part in parts.iter().cloned().chain([T::schema()]) {
        merge(&mut whole, part);
    }
    (T::name().into_owned(), sent(RefOr::T(Schema::Object(whole))))
}

/// Something that is read, with no field but these.
fn strict<T: ToSchema>() -> Named {
    let schema = match T::schema() {
        RefOr::T(Schema::Object(object)) => ObjectBuilder::from(object)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into(),
        other => other,
    };
    (T::name().into_owned(), schema)
}

/// A schema for each type of event, and one for any of them.
fn of_events() -> Vec<Named> {
    let mut all: Vec<Named> = EventType::VARIANTS.iter().map(|event_type| event(*event_type)).collect();
    let mut any =
        OneOfBuilder::new().description(Some("Something that happened, as every way to the feed tells it."));
    let mut by_type = Discriminator::new("type");
    for event_type in EventType::VARIANTS {
        let schema = Ref::from_schema_name(event_name(*event_type));
        by_type.mapping.insert(event_type.to_string(), schema.ref_location.clone());
        any = any.item(schema);
    }
    all.push(("Event".to_owned(), any.discriminator(Some(by_type)).into()));
    all
}

fn event(event_type: EventType) -> Named {
    let mut schema = schema::event(event_type);
    schema.title = Some(event_type.to_string());
    schema.description = Some(event_type.description().to_owned());
    schema.examples = vec![examples::event(event_type)];
    (event_name(event_type), RefOr::T(Schema::Object(schema)))
}

/// The name of the schema of a type of event: `CallRingEvent` of `call.ring`.
pub(crate) fn event_name(event_type: EventType) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    let words: String = event_type.as_str().split('.').map(capital).collect();
    format!("{words}Event")
}

/// A schema by its name.
pub(crate) fn named<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// A list of something.
pub(crate) fn list_of(item: Ref) -> Array {
    Array::new(item)
}
