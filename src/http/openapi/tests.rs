use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cti_actors::{event::EventType, session::CloseCode};
use strum::{VariantArray, VariantNames};

use super::{TAGS, asyncapi_document, openapi_document, ways};
use crate::http::{ROUTES, error::ErrorCode};

fn document() -> Value {
    serde_json::to_value(openapi_document()).expect("it is JSON")
}

/// Every operation, by its method and path.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path") {
            found.insert((method.clone(), path.clone()), operation.clone());
        }
    }
    found
}

/// Every value in a document, depth first.
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
    let documented: BTreeSet<(String, String)> = operations(&document()).into_keys().collect();
    let missing: Vec<_> = routes.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&routes).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}, invented: {invented:?}");
    assert_eq!(documented.len(), ways().len(), "a way is described twice");
}

#[test]
fn every_code_is_that_of_some_way_and_only_where_its_status_is() {
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
    // Those two are of no way in particular.
    let everywhere = [ErrorCode::NotFound, ErrorCode::MethodNotAllowed].map(ErrorCode::as_str);
    for code in ErrorCode::ALL.iter().map(|code| code.as_str()) {
        let said = document["info"]["description"].as_str().is_some_and(|text| text.contains(code));
        assert!(named.contains(code) || (everywhere.contains(&code) && said), "no way answers {code}");
    }
    let listed = &document["components"]["schemas"]["ErrorCode"]["enum"];
    assert_eq!(listed.as_array().map(Vec::len), Some(ErrorCode::ALL.len()));
}

#[test]
fn every_reference_leads_somewhere() {
    for document in [document(), asyncapi_document()] {
        let mut lost = BTreeSet::new();
        every_value(&document, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str)
                && document.pointer(reference.trim_start_matches('#')).is_none()
            {
                lost.insert(reference);
            }
        });
        assert!(lost.is_empty(), "{lost:?}");
    }
}

#[test]
fn every_way_says_what_it_is() {
    let document = document();
    let mut ids = BTreeSet::new();
    for ((method, path), operation) in operations(&document) {
        let text = |field: &str| operation[field].as_str().unwrap_or_default().to_owned();
        assert!(!text("summary").is_empty(), "{method} {path} has no summary");
        assert!(ids.insert(text("operationId")), "{method} {path}: the id is another's");
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        assert!(TAGS.iter().any(|(known, _)| *known == tag), "{method} {path}: no such group: {tag}");
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

/// The example is one of this schema of the document.
fn assert_fits(document: &Value, schema: &Value, example: &Value, place: &str) {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{place}: {error}"));
    let problems: Vec<String> =
        validator.iter_errors(example).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(problems.is_empty(), "{place}: {problems:#?}");
}

#[test]
fn every_example_is_a_good_one() {
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

/// The names of the messages that an operation of the other document is about.
fn said_in(document: &Value, operation: &str) -> BTreeSet<String> {
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
fn every_event_and_message_is_said_with_a_good_example() {
    let document = asyncapi_document();
    let events: BTreeSet<String> =
        <EventType as VariantNames>::VARIANTS.iter().map(ToString::to_string).collect();
    let control = ["connected", "snapshot", "gap", "cursor", "reconnect"].map(str::to_owned);
    let (socket, stream) = (said_in(&document, "tell"), said_in(&document, "stream"));
    assert!(events.is_subset(&socket) && events.is_subset(&stream));
    assert!(control.iter().all(|kind| socket.contains(kind) && stream.contains(kind)), "{socket:?}");
    assert!(stream.contains("closed"));
    assert!(["subscribe", "ack"].iter().all(|kind| said_in(&document, "hear").contains(*kind)));
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
    // Of the protocol itself: what comes is no frame.
    assert_eq!(said.difference(&ours).collect::<Vec<_>>(), [&1002]);
    assert!(ours.is_subset(&said), "{said:?}");
}

#[test]
fn every_parameter_of_lists_and_feeds_is_described() {
    use cti_actors::session::Subscription;
    let names = |parameters: Vec<utoipa::openapi::path::Parameter>| {
        parameters.into_iter().map(|it| it.name).collect::<BTreeSet<String>>()
    };
    let known =
        |names: &[&[&str]]| names.concat().into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
    assert_eq!(names(super::parameters::of_lists()), known(&[&crate::http::extract::lists::PARAMETERS]));
    let feeds =
        [vec![super::parameters::after("")], super::parameters::of_feeds(), super::feed::of_sessions()];
    assert_eq!(names(feeds.concat()), known(&[&Subscription::PARAMETERS, &Subscription::OF_SESSIONS]));
}
