//! Deserializes what a request carries, and names the parameter or field in every error.
//!
//! `serde` does the work; this is a `Deserializer` over the two forms in which values come, with an error that keeps
//! the path. Values are read strictly: a JSON string is no number, and an unknown field is an error.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Expected, MapAccess, SeqAccess, Unexpected, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

use crate::http::error::ApiError;

/// Beyond this, the whole numbers that a JSON float can express are no longer exact: 2^53.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Why a request is refused: a sentence about one of its parameters or fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidField {
    /// `limit`, `mappings[3].crm_user_id`; empty for the request as a whole.
    path: String,
    problem: Cow<'static, str>,
}

impl InvalidField {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// Returns the error of a field as that of the object which has the field.
    pub(crate) fn within(mut self, name: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => name.to_owned(),
            index if index.starts_with('[') => format!("{name}{index}"),
            path => format!("{name}.{path}"),
        };
        self
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return out.write_str(&self.problem);
        }
        write!(out, "{}: {}", self.path, self.problem)
    }
}

impl std::error::Error for InvalidField {}

impl de::Error for InvalidField {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::new("", problem.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", format!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", format!("must be {expected}"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(name, "is required")
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::new(name, "is not a known field")
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new("", format!("must be one of {}", known.join(", ")))
    }
}

impl From<InvalidField> for ApiError {
    fn from(error: InvalidField) -> Self {
        Self::invalid(error.to_string())
    }
}

/// A value of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field<'v> {
    /// From the query, the path or a header: numbers and switches come as text.
    Text(&'v str),
    /// From a JSON body.
    Json(&'v Value),
}

impl<'v> Field<'v> {
    fn as_text(self) -> Option<&'v str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value) => value.as_str(),
        }
    }

    fn as_bool(self) -> Option<bool> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Json(value) => value.as_bool(),
        }
    }

    /// To JSON, `5.0` is a whole number too.
    fn as_whole_number(self) -> Option<i64> {
        let is_exact = |number: &f64| number.fract() == 0.0 && number.abs() <= MAX_EXACT_FLOAT;
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Json(value) => {
                value.as_i64().or_else(|| value.as_f64().filter(is_exact).map(|number| number as i64))
            }
        }
    }
}

fn invalid<E: Expected>(expected: &E) -> InvalidField {
    de::Error::invalid_type(Unexpected::Other("another type"), expected)
}

impl<'de> Deserializer<'de> for Field<'de> {
    type Error = InvalidField;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        match self {
            Self::Json(Value::Null) => visitor.visit_unit(),
            Self::Json(Value::Bool(_)) => self.deserialize_bool(visitor),
            Self::Json(Value::Number(_)) => self.deserialize_i64(visitor),
            Self::Json(Value::Array(items)) => visitor.visit_seq(Items { items, next: 0 }),
            Self::Json(Value::Object(fields)) => {
                visitor.visit_map(Members { left: fields.iter(), value: None })
            }
            Self::Text(text) => visitor.visit_borrowed_str(text),
            Self::Json(Value::String(text)) => visitor.visit_borrowed_str(text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        visitor.visit_bool(self.as_bool().ok_or_else(|| invalid(&"true or false"))?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        match self.as_whole_number() {
            Some(number) => visitor.visit_i64(number),
            None => Err(invalid(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        match self.as_text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(invalid(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        match self {
            Self::Json(Value::Null) => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        match self {
            Self::Json(Value::Array(_)) => self.deserialize_any(visitor),
            _ => Err(invalid(&"a list")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidField> {
        match self {
            Self::Json(Value::Object(_)) => self.deserialize_any(visitor),
            _ => Err(invalid(&"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidField> {
        let text = self.as_text().ok_or_else(|| de::Error::unknown_variant("", known))?;
        visitor.visit_enum(StrDeserializer::new(text))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct map identifier ignored_any
    }
}

/// The items of a JSON list.
struct Items<'v> {
    items: &'v [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = InvalidField;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, InvalidField> {
        let index = self.next;
        let Some(item) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        let item =
            seed.deserialize(Field::Json(item)).map_err(|error| error.within(&format!("[{index}]")))?;
        Ok(Some(item))
    }
}

/// The members of a JSON object.
struct Members<'v> {
    left: serde_json::map::Iter<'v>,
    value: Option<(&'v str, &'v Value)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = InvalidField;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, InvalidField> {
        let Some((name, value)) = self.left.next() else { return Ok(None) };
        self.value = Some((name, value));
        seed.deserialize(Field::Text(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, InvalidField> {
        let (name, value) = self.value.take().expect("serde reads a key before its value");
        seed.deserialize(Field::Json(value)).map_err(|error| error.within(name))
    }
}

/// Deserializes the fields of a JSON object.
///
/// # Errors
/// Names the field that is missing, unknown or invalid.
pub(crate) fn read_object<T: de::DeserializeOwned>(fields: Map<String, Value>) -> Result<T, InvalidField> {
    T::deserialize(Field::Json(&Value::Object(fields)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::http::extract::values::{NonNegative, WholeNumber};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Order {
        count: NonNegative,
        #[serde(default)]
        urgent: bool,
        note: Option<String>,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    struct Part {
        color: Color,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Color {
        Red,
        Blue,
    }

    fn read(order: Value) -> Result<Order, String> {
        let Value::Object(fields) = order else { panic!("an object") };
        read_object(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn an_error_names_the_field_and_what_is_allowed() {
        for (order, problem) in [
            (json!({}), "count: is required"),
            (json!({"count": 1, "size": 2}), "size: is not a known field"),
            (json!({"count": "1"}), "count: must be a whole number, 0 or more"),
            (json!({"count": 1.5}), "count: must be a whole number, 0 or more"),
            (json!({"count": 1e300}), "count: must be a whole number, 0 or more"),
            (json!({"count": null}), "count: must be a whole number, 0 or more"),
            (json!({"count": 1, "urgent": "true"}), "urgent: must be true or false"),
            (json!({"count": 1, "note": 7}), "note: must be a string"),
            (json!({"count": 1, "parts": {}}), "parts: must be a list"),
            (json!({"count": 1, "parts": [7]}), "parts[0]: must be an object"),
            (json!({"count": 1, "parts": [{"color": "red"}, {}]}), "parts[1].color: is required"),
            (json!({"count": 1, "parts": [{"color": "green"}]}), "parts[0].color: must be one of red, blue"),
            (json!({"count": 1, "parts": [{"color": 7}]}), "parts[0].color: must be one of red, blue"),
            (json!({"count": 1, "parts": [{"color": "red", "x": 1}]}), "parts[0].x: is not a known field"),
        ] {
            assert_eq!(read(order.clone()), Err(problem.to_owned()), "{order}");
        }
    }

    #[test]
    fn what_is_valid_is_read() {
        let order = read(json!({"count": 5.0, "note": null, "parts": [{"color": "blue"}]})).expect("valid");
        let parts = vec![Part { color: Color::Blue }];
        assert_eq!(order, Order { count: WholeNumber(5), urgent: false, note: None, parts });
        assert_eq!(read(json!({"count": i64::MAX})).expect("valid").count, WholeNumber(i64::MAX));
    }
}
