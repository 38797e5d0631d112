//! The parameters that several ways have in common, with the ranges and words that they take.

use cti_actors::{consumer::Mode, event::EventType, model::call::Direction};
use serde_json::{Value, json};
use strum::{VariantArray, VariantNames};
use utoipa::openapi::{
    RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{AnyOfBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type},
};

use super::operation;
use crate::http::{extract::lists, feed::events};

/// A parameter of the query.
pub(crate) fn query(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    parameter(ParameterIn::Query, Required::False, name, schema, description)
}

/// One that must be given.
pub(crate) fn required_query(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    parameter(ParameterIn::Query, Required::True, name, schema, description)
}

/// A part of the address.
pub(crate) fn path(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    parameter(ParameterIn::Path, Required::True, name, schema, description)
}

/// A header.
pub(crate) fn header(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    parameter(ParameterIn::Header, Required::False, name, schema, description)
}

fn parameter(
    place: ParameterIn,
    required: Required,
    name: &str,
    schema: impl Into<RefOr<Schema>>,
    description: &str,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// One of a few words.
pub(crate) fn one_of(words: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).build()
}

/// A UUID.
pub(crate) fn uuid() -> Object {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Uuid));
    ObjectBuilder::new().schema_type(Type::String).format(format).build()
}

/// A whole number within bounds.
pub(crate) fn whole(least: i64, most: Option<i64>, default: Option<i64>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(most)
        .default(default.map(Value::from))
        .build()
}

/// A text of 1 to so many characters.
pub(crate) fn text(most: usize) -> Object {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(most)).build()
}

/// An id of Dialpad's, in a query or an address.
pub(crate) fn dialpad_number() -> Object {
    whole(1, Some(i64::MAX), None)
}

/// Something by our id or by Dialpad's.
fn either_id() -> RefOr<Schema> {
    AnyOfBuilder::new().item(uuid()).item(dialpad_number()).into()
}

/// The id of a call or an interaction in the address.
pub(crate) fn call_id(description: &str) -> Parameter {
    path("id", either_id(), description)
}

/// The app in the address.
pub(crate) fn app_id() -> Parameter {
    path("app_id", uuid(), "The app.")
}

/// How Dialpad's ids are written.
pub(crate) fn ids() -> Parameter {
    let description = "`string` writes Dialpad's ids as strings, for languages whose numbers end at 2^53.";
    let schema = ObjectBuilder::from(one_of(&["number", "string"])).default(Some(json!("number")));
    query("ids", schema, description)
}

/// How long a page is, and where it begins.
pub(crate) fn paging() -> [Parameter; 2] {
    [limit(lists::DEFAULT_LIMIT, lists::LARGEST_LIMIT), cursor()]
}

fn cursor() -> Parameter {
    let description = "Where the page begins: as a `Link` gave it. What it looks like may change.";
    query("cursor", operation::text(), description)
}

/// How long a page is.
pub(crate) fn limit(default: usize, most: usize) -> Parameter {
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    query("limit", whole(1, Some(number(most)), Some(number(default))), "The most items of a page.")
}

/// An instant.
pub(crate) fn instant(name: &str, description: &str) -> Parameter {
    // From the year 1 to 9999, in seconds or in milliseconds.
    let unix = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(-62_135_596_800_000_i64))
        .maximum(Some(253_402_300_799_000_i64));
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    let rfc3339 = ObjectBuilder::new().schema_type(Type::String).format(format);
    let description = format!("{description} RFC 3339, unix seconds or unix milliseconds.");
    query(name, AnyOfBuilder::new().item(rfc3339).item(unix), &description)
}

/// By what every list of an app can be narrowed, and how it comes.
pub(crate) fn of_lists() -> Vec<Parameter> {
    let mut all = vec![
        query("direction", one_of(Direction::VARIANTS), "Only these."),
        query("from", operation::text(), "The number that calls or writes, exactly as it is shown."),
        query("to", operation::text(), "The number that is called or written to, likewise."),
        query("dialpad_user_id", any_whole(), "The Dialpad user."),
        query("crm_user_id", operation::text(), "The user of the CRM, by the mapping that is stored now."),
        instant("since", "Only what changed since then, the oldest change first."),
        instant("until", "Only what was first seen before then; with `since`, last changed before then."),
    ];
    all.extend(paging());
    all.push(ids());
    all
}

/// Any whole number of 64 bits.
pub(crate) fn any_whole() -> Object {
    whole(i64::MIN, Some(i64::MAX), None)
}

/// Where a reader of the feed goes on.
pub(crate) fn after(description: &str) -> Parameter {
    query("after", whole(0, Some(i64::MAX), None), description)
}

/// Which events, on all ways to the feed.
pub(crate) fn of_feeds() -> Vec<Parameter> {
    vec![
        query(
            "types",
            types(),
            "Only events of these types, with commas between; `call.*` for all that begin so.",
        ),
        query("dialpad_user_id", any_whole(), "Only events that concern this Dialpad user."),
        query("crm_user_id", text(255), "Only events that concern this user of the CRM."),
        query("direction", one_of(Direction::VARIANTS), "Only events of such calls and messages."),
        query("number", text(255), "Only events with this number on either side."),
        query("from", text(255), "Only events from this number."),
        query("to", text(255), "Only events to this number; of a message to several, to one of them."),
        ids(),
        query(
            "consumer",
            consumer_name(),
            "As this named consumer, whose cursor the server keeps; `after` then says where it begins if it is new.",
        ),
        query(
            "mode",
            one_of(Mode::VARIANTS),
            "How the consumer's connections stand to each other: the newest one takes over, or they share the work.",
        ),
    ]
}

/// The name of a consumer.
pub(crate) fn consumer_name() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,99}$"))
        .build()
}

/// A list of event types as a text.
fn types() -> Object {
    let all = <EventType as VariantArray>::VARIANTS;
    let mut families: Vec<String> =
        all.iter().map(|event_type| format!("{}\\.\\*", event_type.family())).collect();
    families.dedup();
    let names = all.iter().map(|event_type| event_type.as_str().replace('.', "\\."));
    let known: Vec<String> = names.chain(families).chain(["\\*".to_owned()]).collect();
    let one = known.join("|");
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some(format!("^({one})(,({one}))*$")))
        .examples([json!("call.*,voicemail.received")])
        .build()
}

/// How long a long poll waits.
pub(crate) fn wait() -> Parameter {
    let description =
        "An answer that would be empty waits so many seconds for the first event that is wanted.";
    query("wait", whole(0, Some(events::LONGEST_WAIT), Some(0)), description)
}

/// Makes a request safe to repeat.
pub(crate) fn idempotency_key() -> Parameter {
    let key = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$"));
    let description = "Makes the request safe to repeat: the same key with the same request gives the same answer for \
                       24 hours, with `Idempotent-Replayed: true`.";
    header("Idempotency-Key", key, description)
}
