//! Parameters that are not in the query: headers and cookies.

use utoipa::openapi::{
    RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{Object, ObjectBuilder, Type},
};

/// Returns the schema of any string.
pub(crate) fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

/// Returns a header that may be left out.
pub(crate) fn header(name: &str, schema: impl Into<RefOr<Schema>>, description: &str) -> Parameter {
    optional(ParameterIn::Header, name, schema, description)
}

/// Returns a cookie that may be left out.
pub(crate) fn cookie(name: &str, description: &str) -> Parameter {
    optional(ParameterIn::Cookie, name, text(), description)
}

fn optional(
    parameter_in: ParameterIn,
    name: &str,
    schema: impl Into<RefOr<Schema>>,
    description: &str,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(parameter_in)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}
