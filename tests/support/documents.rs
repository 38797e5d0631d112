//! Checks answers and messages against the server's documents: every answer in any test must have a documented status and
//! a body of that schema, without other fields.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use cti_server::http::{self, openapi};
use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use super::answer::Answer;

/// How many items of a long list are checked.
const MAX_ITEMS: usize = 40;
/// Statuses that any route may answer with.
const EVERYWHERE: [u16; 3] = [308, 405, 413];

static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let document = openapi::openapi_document();
    closed(serde_json::to_value(document).expect("it is JSON"))
});
static ASYNCAPI: LazyLock<Value> = LazyLock::new(|| closed(openapi::asyncapi_document()));
static VALIDATORS: LazyLock<Mutex<HashMap<String, &'static Validator>>> = LazyLock::new(Mutex::default);

/// Asserts that the document describes this answer.
pub(super) fn check_answer(method: &Method, path: &str, answer: &Answer) {
    let problems = problems_of(method, path, answer);
    assert!(problems.is_empty(), "not as documented: {problems:#?}\n{answer}");
}

/// Returns the differences between an answer and the document.
pub(crate) fn problems_of(method: &Method, path: &str, answer: &Answer) -> Vec<String> {
    let Some((route, operation)) = operation(method, path) else { return Vec::new() };
    if EVERYWHERE.contains(&answer.status) {
        return Vec::new();
    }
    let response = &operation["responses"][answer.status.to_string()];
    if !response.is_object() {
        return vec![format!("{method} {route} has no {}", answer.status)];
    }
    let schema = &response["content"]["application/json"]["schema"];
    let is_json = answer.header("content-type").is_some_and(|value| value.starts_with("application/json"));
    if *method == Method::HEAD || !is_json {
        return Vec::new();
    }
    if !schema.is_object() {
        return vec![format!("{method} {route} has no JSON with {}", answer.status)];
    }
    let mut body = answer.json();
    if let Value::Array(items) = &mut body {
        items.truncate(MAX_ITEMS);
    }
    problems(&format!("{method} {route} {}", answer.status), &OPENAPI, schema, &body)
}

/// Asserts that the document describes this message.
pub(super) fn check_message(message: &Value) {
    let kind = message["type"].as_str().unwrap_or_else(|| panic!("a message without a type: {message:#}"));
    let payload = &ASYNCAPI["components"]["messages"][kind.replace('.', "_")]["payload"];
    assert!(payload.is_object(), "no such message is documented: {message:#}");
    let problems = problems(kind, &ASYNCAPI, payload, message);
    assert!(problems.is_empty(), "not as documented: {problems:#?}\n{message:#}");
}

/// Returns the route and the operation of a request.
fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let matches = |route: &str| {
        let (mut ours, mut theirs) = (route.split('/'), path.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) if our == their || (our.starts_with('{') && !their.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let found = http::route_table().find(|(route, _)| matches(route))?.0;
    let operation = &OPENAPI["paths"][found][method.as_str().to_lowercase()];
    operation.is_object().then_some((found, operation))
}

/// Returns the violations of a schema.
fn problems(name: &str, document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = *known.entry(name.to_owned()).or_insert_with(|| {
        let mut root = json!({"allOf": [schema]});
        root["components"] = document["components"].clone();
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&root).unwrap_or_else(|error| panic!("the schema of {name}: {error}"));
        Box::leak(Box::new(validator))
    });
    drop(known);
    validator.iter_errors(value).map(|problem| format!("{}: {problem}", problem.instance_path())).collect()
}

/// Forbids fields that are not described.
fn closed(mut document: Value) -> Value {
    let close = |schema: &mut Value| {
        if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = false.into();
        }
    };
    document["components"]["schemas"].as_object_mut().expect("schemas").values_mut().for_each(close);
    if let Some(messages) = document["components"]["messages"].as_object_mut() {
        messages.values_mut().for_each(|message| close(&mut message["payload"]));
    }
    document
}
