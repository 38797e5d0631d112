use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cti_actors::{event::EventType, session::CloseCode};
use strum::{VariantArray, VariantNames};

use super::{asyncapi_document, openapi_3_0_document, openapi_document, tags};
use crate::http::{ROUTES, answers_head, error::ErrorCode};

fn document() -> Value {
    serde_json::to_value(openapi_document()).expect("it is JSON")
}

/// Returns every operation, by its method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path") {
            found.insert((method.clone(), path.clone()), operation.clone());
        }
    }
    found
}

/// Visits every value in a document, depth first.
fn every_value<'v>(value: &'v Value, see: &mut dyn FnMut(&'v Value)) {
    see(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| every_value(item, see)),
        Value::Object(fields) => fields.values().for_each(|field| every_value(field, see)),
        _ => {}
    }
}

#[test]
fn every_route_is_documented_and_nothing_else_is() {
    let routes: BTreeSet<(String, String)> = ROUTES
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(|method| ((*method).to_owned(), (*path).to_owned())))
        .collect();
    let mut documented: BTreeSet<(String, String)> = operations(&document()).into_keys().collect();
    // `HEAD` is documented only where it is of use.
    documented.retain(|(method, path)| {
        let answers_head =
            || ROUTES.iter().any(|(known, methods)| known == path && answers_head(known, methods));
        method != "head" || !answers_head()
    });
    let missing: Vec<_> = routes.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&routes).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}, invented: {invented:?}");
}

#[test]
fn every_code_is_documented_under_its_status() {
    let document = document();
    let mut named = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let examples = &response["content"]["application/json"]["examples"];
            for code in examples.as_object().into_iter().flat_map(|examples| examples.keys()) {
                let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
                let known = known.unwrap_or_else(|| panic!("{method} {path}: there is no code {code}"));
                assert_eq!(known.status().as_str(), status, "{method} {path}: {code}");
                named.insert(code.clone());
            }
        }
    }
    // These two belong to no operation.
    let everywhere = [ErrorCode::NotFound, ErrorCode::MethodNotAllowed].map(ErrorCode::as_str);
    for code in ErrorCode::ALL.iter().map(|code| code.as_str()) {
        let said = document["info"]["description"].as_str().is_some_and(|text| text.contains(code));
        assert!(named.contains(code) || (everywhere.contains(&code) && said), "no operation returns {code}");
    }
    let listed = &document["components"]["schemas"]["ErrorCode"]["enum"];
    assert_eq!(listed.as_array().map(Vec::len), Some(ErrorCode::ALL.len()));
}

#[test]
fn every_reference_can_be_resolved() {
    for document in [document(), asyncapi_document()] {
        let mut broken = BTreeSet::new();
        every_value(&document, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str)
                && document.pointer(reference.trim_start_matches('#')).is_none()
            {
                broken.insert(reference);
            }
        });
        assert!(broken.is_empty(), "{broken:?}");
    }
}

#[test]
fn every_operation_is_described() {
    let document = document();
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        let text = |field: &str| operation[field].as_str().unwrap_or_default().to_owned();
        assert!(!text("summary").is_empty(), "{method} {path} has no summary");
        assert!(ids.insert(text("operationId")), "{method} {path}: the id is used twice");
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        assert!(tags::ALL.iter().any(|(known, _)| *known == tag), "{method} {path}: no such tag: {tag}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for parameter in &parameters {
            let name = parameter["name"].as_str().expect("a name");
            assert!(seen.insert((&parameter["in"] == "path", name)), "{method} {path}: {name} twice");
            assert!(parameter["description"].as_str().is_some_and(|it| !it.is_empty()), "{path}: {name}");
        }
        let in_path: BTreeSet<&str> =
            parameters.iter().filter(|it| it["in"] == "path").filter_map(|it| it["name"].as_str()).collect();
        let expected: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(in_path, expected, "{method} {path}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with(['1', '2', '3'])), "{method} {path}");
    }
}

/// Asserts that an example matches a schema of the document.
fn assert_fits(document: &Value, schema: &Value, example: &Value, place: &str) {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{place}: {error}"));
    let problems: Vec<String> =
        validator.iter_errors(example).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(problems.is_empty(), "{place}: {problems:#?}");
}

#[test]
fn every_example_is_valid() {
    let document = document();
    let mut checked = 0;
    let mut check = |schema: &Value, example: &Value, place: &str| {
        assert_fits(&document, schema, example, place);
        checked += 1;
    };
    for ((method, path), operation) in operations(&document) {
        let mut bodies = vec![("request".to_owned(), operation["requestBody"].clone())];
        bodies.extend(operation["responses"].as_object().expect("responses").clone());
        for (what, body) in bodies {
            for content in body["content"].as_object().into_iter().flat_map(|content| content.values()) {
                let place = format!("{method} {path} {what}");
                let named = content["examples"].as_object().into_iter().flat_map(|all| all.values());
                for example in named.filter_map(|named| named.get("value")).chain(content.get("example")) {
                    check(&content["schema"], example, &place);
                }
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(&json!({"$ref": format!("#/components/schemas/{name}")}), example, name);
        }
    }
    assert!(checked > 200, "only {checked} examples");
}

/// Returns the names of the messages of an AsyncAPI operation.
fn messages_of(document: &Value, operation: &str) -> BTreeSet<String> {
    let messages = document["operations"][operation]["messages"].as_array().expect("messages");
    let names = messages.iter().map(|message| {
        let channel =
            document.pointer(message["$ref"].as_str().expect("a reference").trim_start_matches('#'));
        let message = channel.and_then(|it| it["$ref"].as_str()).expect("a message of the channel");
        document.pointer(message.trim_start_matches('#')).expect("it is there")["name"]
            .as_str()
            .expect("a name")
            .to_owned()
    });
    names.collect()
}

#[test]
fn every_event_and_message_is_documented_with_a_valid_example() {
    let document = asyncapi_document();
    let events: BTreeSet<String> =
        <EventType as VariantNames>::VARIANTS.iter().map(ToString::to_string).collect();
    let control = ["connected", "snapshot", "gap", "cursor", "watermark", "reconnect"].map(str::to_owned);
    let (socket, stream) = (messages_of(&document, "send"), messages_of(&document, "stream"));
    assert!(events.is_subset(&socket) && events.is_subset(&stream));
    assert!(control.iter().all(|kind| socket.contains(kind) && stream.contains(kind)), "{socket:?}");
    assert!(stream.contains("closed"));
    assert!(["subscribe", "ack"].iter().all(|kind| messages_of(&document, "receive").contains(*kind)));
    for (name, message) in document["components"]["messages"].as_object().expect("messages") {
        assert!(message["summary"].as_str().is_some_and(|it| !it.is_empty()), "{name} has no summary");
        let examples = message["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            assert_eq!(example["payload"]["type"], message["name"], "{name}");
            assert_fits(&document, &message["payload"], &example["payload"], name);
        }
    }
}

#[test]
fn both_documents_have_the_same_events() {
    let (http, socket) = (document(), asyncapi_document());
    let schemas = socket["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas.iter().filter(|(name, _)| *name != "Event") {
        assert_eq!(http["components"]["schemas"][name], *schema, "{name}");
    }
}

#[test]
fn every_close_code_is_in_the_document_and_in_the_guide() {
    let document = asyncapi_document();
    let listed = document["channels"]["websocket"]["x-close-codes"].as_array().expect("close codes");
    let listed: BTreeSet<u64> = listed.iter().filter_map(|it| it["code"].as_u64()).collect();
    let ours: BTreeSet<u64> = CloseCode::VARIANTS.iter().map(|code| u64::from(code.code())).collect();
    assert_eq!(listed, ours);
    let guide = include_str!("../../../docs/api.md");
    let rows = guide.lines().skip_while(|line| !line.starts_with("| code | why |")).skip(2);
    let said: BTreeSet<u64> = rows
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(',').filter_map(|code| code.trim().parse().ok()).collect::<Vec<u64>>())
        .collect();
    // From the protocol itself: the data is not a frame.
    assert_eq!(said.difference(&ours).collect::<Vec<_>>(), [&1002]);
    assert!(ours.is_subset(&said), "{said:?}");
}

#[test]
fn every_tag_is_used() {
    let used: BTreeSet<String> = operations(&document())
        .into_values()
        .filter_map(|operation| operation["tags"][0].as_str().map(str::to_owned))
        .collect();
    assert_eq!(used, tags::ALL.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// Visits the schemas of an OpenAPI document, depth first.
fn every_schema<'v>(document: &'v Value, see: &mut dyn FnMut(&'v Value)) {
    every_value(document, &mut |value| {
        if let Some(schema) = value.get("schema") {
            every_part(schema, see);
        }
    });
    let named = document["components"]["schemas"].as_object().expect("schemas");
    named.values().for_each(|schema| every_part(schema, see));
}

fn every_part<'v>(schema: &'v Value, see: &mut dyn FnMut(&'v Value)) {
    see(schema);
    let lists = ["allOf", "anyOf", "oneOf"].map(|name| schema[name].as_array());
    let properties = schema["properties"].as_object();
    let parts =
        lists.into_iter().flatten().flatten().chain(properties.into_iter().flat_map(|all| all.values()));
    parts.chain(schema.get("items")).for_each(|part| every_part(part, see));
}

#[test]
fn no_parameter_is_a_choice_of_types() {
    for ((method, path), operation) in operations(&document()) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            // Java's client of openapi-generator can't leave such a parameter out, and writes its object into the path.
            let schema = &parameter["schema"];
            let is_choice = ["oneOf", "anyOf"].iter().any(|choice| schema.get(choice).is_some());
            assert!(!is_choice && !schema["type"].is_array(), "{method} {path}: {parameter}");
        }
    }
}

#[test]
fn the_3_0_document_has_the_same_operations_and_only_keywords_of_3_0() {
    let (new, old) = (document(), openapi_3_0_document());
    assert_eq!(old["openapi"], "3.0.3");
    assert_eq!(
        operations(&old).into_keys().collect::<Vec<_>>(),
        operations(&new).into_keys().collect::<Vec<_>>()
    );
    assert_eq!(old["info"]["license"].get("identifier"), None);
    // The schema object of OpenAPI 3.0.3, and the reference object.
    let known = [
        "$ref",
        "title",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxProperties",
        "minProperties",
        "required",
        "enum",
        "type",
        "not",
        "allOf",
        "oneOf",
        "anyOf",
        "items",
        "properties",
        "additionalProperties",
        "description",
        "format",
        "default",
        "nullable",
        "discriminator",
        "readOnly",
        "writeOnly",
        "example",
        "externalDocs",
        "deprecated",
        "xml",
    ];
    let mut seen = 0;
    every_schema(&old, &mut |schema| {
        let fields = schema.as_object().expect("a schema is an object");
        assert!(fields.keys().all(|name| known.contains(&name.as_str())), "{schema}");
        assert!(fields.get("type").is_none_or(|kind| kind.is_string() && kind != "null"), "{schema}");
        assert!(!fields.contains_key("$ref") || fields.len() == 1, "{schema}");
        assert!(
            fields.get("type").is_none_or(|kind| kind != "array") || fields.contains_key("items"),
            "{schema}"
        );
        seen += 1;
    });
    assert!(seen > 1_000, "only {seen} schemas");
}

/// Names that code of generators imports or defines beside its models. With them, a generated client does not compile, or
/// the generator renames the model.
const NAMES_OF_LANGUAGES: [&str; 42] = [
    // Java: `java.util`, `java.util.function`, `java.net.http`, `java.time` and the client's own classes.
    "ApiClient",
    "ApiException",
    "ApiResponse",
    "Arrays",
    "Configuration",
    "Consumer",
    "Duration",
    "File",
    "Function",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "InputStream",
    "List",
    "Locale",
    "Map",
    "OffsetDateTime",
    "Optional",
    "Pair",
    "ServerConfiguration",
    "Set",
    "StringJoiner",
    "Supplier",
    "URI",
    // TypeScript and JavaScript.
    "Array",
    "Blob",
    "Boolean",
    "Date",
    "Number",
    "Object",
    "Promise",
    "Request",
    "Response",
    "String",
    // Go.
    "APIClient",
    "APIResponse",
    "NewApp",
    // Rust.
    "Box",
    "Option",
    "Result",
    "Value",
    "Vec",
];

#[test]
fn no_schema_has_a_name_that_generated_code_has_already() {
    let document = document();
    let names: BTreeSet<&String> =
        document["components"]["schemas"].as_object().expect("schemas").keys().collect();
    for taken in NAMES_OF_LANGUAGES {
        assert!(!names.contains(&taken.to_owned()), "{taken}");
    }
    // The constructor of a model in Go.
    for name in &names {
        assert!(!names.contains(&format!("New{name}")), "New{name}");
    }
}
