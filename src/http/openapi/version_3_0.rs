//! The OpenAPI document as version 3.0.3, for generators that do not support 3.1.
//!
//! The conversion is mechanical: it rewrites the keywords in which the two versions differ (3.1 adopted JSON Schema
//! 2020-12, 3.0 extends an older draft) and changes nothing else.

use serde_json::{Map, Value, json};

/// Schema keywords whose values are maps from names to schemas.
const MAPS_OF_SCHEMAS: [&str; 1] = ["properties"];
/// Schema keywords whose values are lists of schemas.
const LISTS_OF_SCHEMAS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Schema keywords whose values are schemas.
const SCHEMAS: [&str; 3] = ["items", "not", "additionalProperties"];
/// Schema keywords that 3.0 does not have.
const UNKNOWN: [&str; 4] = ["propertyNames", "contentEncoding", "contentMediaType", "$schema"];

/// Converts a document.
pub(crate) fn converted(mut document: Value) -> Value {
    document["openapi"] = "3.0.3".into();
    if let Some(license) = document["info"]["license"].as_object_mut() {
        license.remove("identifier");
    }
    convert_places(&mut document);
    document
}

/// Converts every schema of a document: those of its components, parameters, headers and bodies.
fn convert_places(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(convert_places),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "schema" => convert(field),
                    "schemas" => each_member(field, convert),
                    // Data, in which nothing is a schema.
                    "example" | "examples" => {}
                    _ => convert_places(field),
                }
            }
        }
        _ => {}
    }
}

fn each_member(value: &mut Value, mut apply: impl FnMut(&mut Value)) {
    value.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(&mut apply);
}

fn convert(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for (name, field) in fields.iter_mut() {
        if MAPS_OF_SCHEMAS.contains(&name.as_str()) {
            each_member(field, convert);
        } else if LISTS_OF_SCHEMAS.contains(&name.as_str()) {
            field.as_array_mut().into_iter().flatten().for_each(convert);
        } else if SCHEMAS.contains(&name.as_str()) {
            convert(field);
        }
    }
    fields.retain(|name, _| !UNKNOWN.contains(&name.as_str()));
    if let Some(value) = fields.remove("const") {
        fields.insert("enum".to_owned(), json!([value]));
    }
    convert_examples(fields);
    convert_limit(fields, "exclusiveMinimum", "minimum");
    convert_limit(fields, "exclusiveMaximum", "maximum");
    convert_type(fields);
    convert_null_choice(fields);
    convert_reference(fields);
}

/// 3.0 has one example.
fn convert_examples(fields: &mut Map<String, Value>) {
    let examples = fields.remove("examples");
    if let Some(first) = examples.as_ref().and_then(|examples| examples.get(0)) {
        fields.insert("example".to_owned(), first.clone());
    }
}

/// In 3.0, an exclusive limit is a switch beside the limit.
fn convert_limit(fields: &mut Map<String, Value>, exclusive: &str, limit: &str) {
    if let Some(number) = fields.get(exclusive).filter(|value| value.is_number()).cloned() {
        fields.insert(limit.to_owned(), number);
        fields.insert(exclusive.to_owned(), true.into());
    }
}

/// In 3.0, a schema has one type and may be nullable.
fn convert_type(fields: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = fields.get("type") else { return };
    let (null, mut types): (Vec<Value>, Vec<Value>) = types.iter().cloned().partition(|kind| kind == "null");
    fields.remove("type");
    if types.len() == 1 {
        fields.insert("type".to_owned(), types.remove(0));
    } else if !types.is_empty() {
        let choice: Vec<Value> = types.into_iter().map(|kind| json!({"type": kind})).collect();
        fields.insert("oneOf".to_owned(), choice.into());
    }
    if !null.is_empty() {
        fields.insert("nullable".to_owned(), true.into());
    }
}

/// A choice between null and something else becomes something nullable.
fn convert_null_choice(fields: &mut Map<String, Value>) {
    for choice in ["oneOf", "anyOf"] {
        let Some(Value::Array(items)) = fields.get_mut(choice) else { continue };
        let before = items.len();
        items.retain(|item| item["type"] != "null");
        if items.len() == before {
            continue;
        }
        if items.len() == 1 {
            let only = items.remove(0);
            fields.remove(choice);
            // A schema within a schema makes some generators lose the type: its keywords move up.
            match only {
                Value::Object(keywords) if !keywords.contains_key("$ref") => {
                    for (name, value) in keywords {
                        fields.entry(name).or_insert(value);
                    }
                }
                reference => {
                    fields.insert("allOf".to_owned(), json!([reference]));
                }
            }
        }
        fields.insert("nullable".to_owned(), true.into());
    }
}

/// In 3.0, the siblings of a reference are ignored.
fn convert_reference(fields: &mut Map<String, Value>) {
    if fields.len() > 1
        && let Some(reference) = fields.remove("$ref")
    {
        fields.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(mut schema: Value) -> Value {
        convert(&mut schema);
        schema
    }

    #[test]
    fn keywords_of_3_1_become_those_of_3_0() {
        for (before, after) in [
            (json!({"type": ["string", "null"]}), json!({"type": "string", "nullable": true})),
            (
                json!({"type": ["integer", "string"]}),
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}),
            ),
            (json!({"const": "a"}), json!({"enum": ["a"]})),
            (json!({"type": "string", "examples": ["a", "b"]}), json!({"type": "string", "example": "a"})),
            (json!({"exclusiveMinimum": 0}), json!({"minimum": 0, "exclusiveMinimum": true})),
            (
                json!({"oneOf": [{"type": "null"}, {"$ref": "#/a"}]}),
                json!({"allOf": [{"$ref": "#/a"}], "nullable": true}),
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"$ref": "#/a", "description": "It."}]}),
                json!({"allOf": [{"$ref": "#/a"}], "description": "It.", "nullable": true}),
            ),
            (
                json!({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}], "description": "It."}),
                json!({"type": "string", "format": "uuid", "description": "It.", "nullable": true}),
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"type": "string"}, {"type": "integer"}]}),
                json!({"oneOf": [{"type": "string"}, {"type": "integer"}], "nullable": true}),
            ),
            (
                json!({"$ref": "#/a", "description": "It."}),
                json!({"allOf": [{"$ref": "#/a"}], "description": "It."}),
            ),
            (json!({"$ref": "#/a"}), json!({"$ref": "#/a"})),
            (
                json!({"properties": {"type": {"type": ["string", "null"]}}}),
                json!({"properties": {"type": {"type": "string", "nullable": true}}}),
            ),
        ] {
            assert_eq!(schema(before.clone()), after, "{before}");
        }
    }
}
