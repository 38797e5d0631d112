//! The schemas that no derive makes: the events, which are composed from parts, and what has to be added to the derived
//! ones.

use std::collections::{BTreeMap, BTreeSet};

use cti_actors::event::{
    EventType,
    schema::{self, Named, merge, sent},
};
use serde_json::Value;
use strum::VariantArray;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        OpenApi, RefOr, Required, Schema,
        request_body::RequestBody,
        schema::{Discriminator, Object, OneOfBuilder, Ref},
    },
};

use super::{examples, security};
use crate::store::views::calls::{CallView, VoicemailOfCall};

const SCHEMAS: &str = "#/components/schemas/";

/// Any event.
pub(crate) struct Event;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let mut any =
            OneOfBuilder::new().description(Some("Something that happened, as every transport delivers it."));
        let mut by_type = Discriminator::new("type");
        for event_type in EventType::VARIANTS {
            let schema = Ref::from_schema_name(event_name(*event_type));
            by_type.mapping.insert(event_type.to_string(), schema.ref_location.clone());
            any = any.item(schema);
        }
        any.discriminator(Some(by_type)).into()
    }
}

impl ToSchema for Event {
    fn schemas(schemas: &mut Vec<Named>) {
        schemas.extend(schema::components());
        schemas.extend(EventType::VARIANTS.iter().map(|event_type| event(*event_type)));
    }
}

/// Returns the schemas that the feed's events and messages consist of.
pub(crate) fn of_the_feed() -> Vec<Named> {
    let mut all =
        vec![answer::<CallView>(), answer::<VoicemailOfCall>(), ("Event".to_owned(), Event::schema())];
    Event::schemas(&mut all);
    all
}

fn answer<T: ToSchema>() -> Named {
    (T::name().into_owned(), sent(T::schema()))
}

fn event(event_type: EventType) -> Named {
    let mut schema = schema::event(event_type);
    schema.title = Some(event_type.to_string());
    schema.description = Some(event_type.description().to_owned());
    schema.examples = vec![examples::event(event_type)];
    (event_name(event_type), RefOr::T(Schema::Object(schema)))
}

/// Returns the name of the schema of an event type: `CallRingEvent` for `call.ring`.
pub(crate) fn event_name(event_type: EventType) -> String {
    let capitalize = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    let words: String = event_type.as_str().split('.').map(capitalize).collect();
    format!("{words}Event")
}

/// Completes the derived schemas of a document: a struct that is flattened into another becomes part of it, a field of
/// an answer is required if it is written even when it is null, and a request body that may be left out is not
/// nullable.
pub(crate) fn complete(document: &mut OpenApi) {
    let operations = document.paths.paths.values_mut().flat_map(security::operations);
    operations.filter_map(|operation| operation.request_body.as_mut()).for_each(complete_body);
    let answers = names_in_answers(document);
    let Some(components) = &mut document.components else { return };
    let derived = components.schemas.clone();
    for (name, schema) in &mut components.schemas {
        if let RefOr::T(Schema::AllOf(_)) = schema {
            *schema = RefOr::T(Schema::Object(flattened(schema.clone(), &derived)));
        }
        if answers.contains(name) {
            *schema = sent(schema.clone());
        }
    }
    remove_unused(document);
}

/// `utoipa` describes an `Option` as a choice between null and something else.
fn complete_body(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        if let Some(RefOr::T(Schema::OneOf(choice))) = &mut content.schema
            && let [RefOr::T(Schema::Object(_)), only @ RefOr::Ref(_)] = choice.items.as_slice()
        {
            content.schema = Some(only.clone());
            body.required = Some(Required::False);
        }
    }
}

fn flattened(schema: RefOr<Schema>, derived: &BTreeMap<String, RefOr<Schema>>) -> Object {
    let mut whole = Object::new();
    if let RefOr::T(Schema::AllOf(mut parts)) = schema {
        for part in &mut parts.items {
            if let RefOr::Ref(reference) = part
                && let Some(target) = derived.get(reference.ref_location.trim_start_matches(SCHEMAS))
            {
                *part = target.clone();
            }
        }
        merge(&mut whole, RefOr::T(Schema::AllOf(parts)));
    }
    whole
}

/// Returns the names of the schemas that successful answers consist of.
fn names_in_answers(document: &OpenApi) -> BTreeSet<String> {
    let document = serde_json::to_value(document).unwrap_or_default();
    let operations = members(&document["paths"]).flat_map(|(_, item)| members(item));
    let responses = operations.flat_map(|(_, operation)| members(&operation["responses"]));
    let answers = responses.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response);
    reachable(answers.collect(), &document["components"]["schemas"])
}

/// Removes schemas that were only parts of others.
fn remove_unused(document: &mut OpenApi) {
    let json = serde_json::to_value(&*document).unwrap_or_default();
    let mut used = reachable(vec![&json["paths"]], &json["components"]["schemas"]);
    used.extend(schema::components().into_iter().map(|(name, _)| name));
    if let Some(components) = &mut document.components {
        components.schemas.retain(|name, _| used.contains(name));
    }
}

/// Returns the names of the schemas that these values refer to, directly or through other schemas.
fn reachable<'v>(mut from: Vec<&'v Value>, schemas: &'v Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while let Some(value) = from.pop() {
        match value {
            Value::Array(items) => from.extend(items),
            Value::Object(fields) => {
                let reference = fields.get("$ref").and_then(Value::as_str);
                if let Some(name) = reference.and_then(|reference| reference.strip_prefix(SCHEMAS))
                    && found.insert(name.to_owned())
                {
                    from.extend(schemas.get(name));
                }
                from.extend(fields.values());
            }
            _ => {}
        }
    }
    found
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
