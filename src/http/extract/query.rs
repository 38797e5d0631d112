//! The query of a request. Every parameter must be known, valid, and given once: a filter with a typing error would
//! otherwise return the wrong rows.
//!
//! A handler's parameters are one type: a struct that derives `Deserialize` and `IntoParams`, or several such structs
//! combined with [`parameters!`]. It parses, checks and documents at once.

use std::{borrow::Cow, cell::Cell};

use actix_web::HttpRequest;
use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::fields::{Field, InvalidField};
use crate::http::error::ApiError;

/// Combines the parameters of several structs into one.
macro_rules! parameters {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($field:ident: $part:ty),+ $(,)? }) => {
        $(#[$meta])*
        $visibility struct $name { $(pub(crate) $field: $part),+ }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ($($field,)+) = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field),+ })
            }
        }

        impl utoipa::IntoParams for $name {
            fn into_params(
                parameter_in: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                let mut all = Vec::new();
                $(all.extend(<$part as utoipa::IntoParams>::into_params(&parameter_in));)+
                all
            }
        }
    };
}
pub(crate) use parameters;

/// Reads the parameters of a request.
///
/// # Errors
/// Names the parameter that is missing, unknown, invalid or repeated.
pub(crate) fn read_query<Q: DeserializeOwned>(request: &HttpRequest) -> Result<Q, ApiError> {
    Ok(read(request.query_string())?)
}

pub(crate) fn read<Q: DeserializeOwned>(query: &str) -> Result<Q, InvalidField> {
    let given = parse_strictly(query)?;
    let parameters = Q::deserialize(Given(&given))?;
    match given.iter().find(|parameter| !parameter.is_read.get()) {
        Some(unknown) => Err(InvalidField::new(&*unknown.name, "is not a known parameter")),
        None => Ok(parameters),
    }
}

/// A parameter of the query, decoded.
struct Parameter<'q> {
    name: Cow<'q, str>,
    value: Cow<'q, str>,
    is_read: Cell<bool>,
}

fn parse_strictly(query: &str) -> Result<Vec<Parameter<'_>>, InvalidField> {
    let mut given: Vec<Parameter<'_>> = Vec::new();
    for (name, value) in parse(query) {
        let refuse = |problem: &'static str| Err(InvalidField::new(&*name, problem));
        if has_invalid_utf8(&value, query) {
            return refuse("must be UTF-8");
        }
        if value.contains('\0') {
            return refuse("must not contain a NUL");
        }
        if given.iter().any(|earlier| earlier.name == name) {
            return refuse("must be given only once");
        }
        given.push(Parameter { name, value, is_read: Cell::new(false) });
    }
    Ok(given)
}

/// Returns whether invalid UTF-8 was replaced in a decoded value. A replacement character that the query itself
/// contains is valid.
fn has_invalid_utf8(value: &str, query: &str) -> bool {
    value.contains('\u{fffd}')
        && !query.to_ascii_lowercase().contains("%ef%bf%bd")
        && !query.contains('\u{fffd}')
}

/// Returns the parameters of a query, decoded, in order.
pub(crate) fn parse(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.as_bytes())
}

/// Returns the `Link` header to the next page (RFC 8288): this request with one parameter replaced, without the key.
pub(crate) fn next_link(request: &HttpRequest, parameter: &str, value: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, given) in parse(request.query_string()) {
        if name != "api_key" && name != parameter {
            query.append_pair(&name, &given);
        }
    }
    query.append_pair(parameter, value);
    format!("<{}?{}>; rel=\"next\"", request.path(), query.finish())
}

/// The given parameters as a `Deserializer`: a struct takes those that are its fields, a tuple gives each of its
/// structs the chance to do so, and the unit takes none.
#[derive(Clone, Copy)]
struct Given<'g>(&'g [Parameter<'g>]);

impl<'de> Deserializer<'de> for Given<'de> {
    type Error = InvalidField;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, InvalidField> {
        Err(InvalidField::custom("the parameters of a handler are a struct, or a tuple of structs"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidField> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, parts: usize, visitor: V) -> Result<V::Value, InvalidField> {
        visitor.visit_seq(Parts { given: self, left: parts })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidField> {
        visitor.visit_map(Fields { left: self.0.iter(), fields, value: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map enum identifier ignored_any
    }
}

struct Parts<'g> {
    given: Given<'g>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'de> {
    type Error = InvalidField;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, InvalidField> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.given).map(Some)
    }
}

/// The given parameters that are fields of a struct.
struct Fields<'g> {
    left: std::slice::Iter<'g, Parameter<'g>>,
    fields: &'static [&'static str],
    value: Option<&'g Parameter<'g>>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = InvalidField;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, InvalidField> {
        let Some(parameter) = self.left.find(|parameter| self.fields.contains(&&*parameter.name)) else {
            return Ok(None);
        };
        parameter.is_read.set(true);
        self.value = Some(parameter);
        seed.deserialize(BorrowedStrDeserializer::new(&parameter.name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, InvalidField> {
        let parameter = self.value.take().expect("serde reads a key before its value");
        seed.deserialize(Field::Text(&parameter.value)).map_err(|error| error.within(&parameter.name))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde::Deserialize;
    use utoipa::IntoParams;

    use super::*;
    use crate::http::extract::values::{AnyWholeNumber, WholeNumber};

    #[derive(Debug, Deserialize, IntoParams, PartialEq)]
    #[into_params(parameter_in = Query)]
    struct Size {
        /// The width.
        #[param(inline)]
        width: AnyWholeNumber,
        /// The height.
        #[param(inline)]
        height: Option<AnyWholeNumber>,
    }

    #[derive(Debug, Deserialize, IntoParams, PartialEq)]
    #[into_params(parameter_in = Query)]
    struct Style {
        /// Whether it is bold.
        #[serde(default)]
        bold: bool,
    }

    parameters! {
        #[derive(Debug, PartialEq)]
        struct Both {
            size: Size,
            style: Style,
        }
    }

    #[test]
    fn each_struct_takes_the_parameters_that_are_its_fields() {
        let both = read::<Both>("bold=true&width=3").expect("valid");
        assert_eq!(
            both,
            Both { size: Size { width: WholeNumber(3), height: None }, style: Style { bold: true } }
        );
        assert_eq!(read::<()>(""), Ok(()));
        let names = Both::into_params(|| None).into_iter().map(|parameter| parameter.name);
        assert_eq!(names.collect::<Vec<_>>(), ["width", "height", "bold"]);
    }

    #[test]
    fn an_error_names_the_parameter() {
        for (query, problem) in [
            ("bold=true", "width: is required"),
            ("width=3&colour=red", "colour: is not a known parameter"),
            ("width=3&width=3", "width: must be given only once"),
            ("width=three", "width: must be a whole number"),
            ("width=3&bold=yes", "bold: must be true or false"),
            ("width=3%00", "width: must not contain a NUL"),
            ("width=%ff", "width: must be UTF-8"),
        ] {
            assert_eq!(read::<Both>(query), Err(query).map_err(|_| problem_of(problem)), "{query}");
        }
        assert!(read::<()>("colour=red").is_err());
    }

    fn problem_of(sentence: &'static str) -> InvalidField {
        let (path, problem) = sentence.split_once(": ").expect("a path and a problem");
        InvalidField::new(path, problem)
    }

    #[test]
    fn the_next_link_replaces_the_parameter_and_drops_the_key() {
        let request = TestRequest::with_uri("/api/calls?after=1&api_key=raw_1&from=%2B1").to_http_request();
        assert_eq!(next_link(&request, "after", "9"), "</api/calls?from=%2B1&after=9>; rel=\"next\"");
    }
}
