//! The JSON body of a request, read strictly: an unknown or invalid field is refused and named.

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload, web::Bytes};
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, ready},
};
use serde::de::DeserializeOwned;

use super::fields::{InvalidField, read_object};
use crate::http::error::ApiError;

/// How a handler reads the body.
pub(crate) trait RequestBody: Sized + 'static {
    /// Receives the body. Fails where the body breaks the rules of HTTP or is too large. The future does nothing before
    /// it is polled.
    fn receive(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> LocalBoxFuture<'static, Result<Bytes, Error>> {
        Bytes::from_request(request, payload).boxed_local()
    }

    /// Parses a body that was received.
    fn parse(body: &[u8]) -> Result<Self, ApiError>;
}

/// No body is read.
impl RequestBody for () {
    fn receive(_: &HttpRequest, _: &mut Payload) -> LocalBoxFuture<'static, Result<Bytes, Error>> {
        ready(Ok(Bytes::new())).boxed_local()
    }

    fn parse(_: &[u8]) -> Result<Self, ApiError> {
        Ok(())
    }
}

/// A body that must be a JSON object.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> RequestBody for Json<T> {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self(parse(body)?))
    }
}

/// A body that may be left out, and is a JSON object otherwise.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default + 'static> RequestBody for OptionalJson<T> {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self(parse_optional(body)?))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let not_an_object = |_| InvalidField::new("", "the body must be a JSON object");
    let fields = serde_json::from_slice(body).map_err(not_an_object)?;
    Ok(read_object(fields)?)
}

fn parse_optional<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() { Ok(T::default()) } else { parse(body) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::http::extract::values::{NonNegative, WholeNumber};

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        count: Option<NonNegative>,
        name: String,
    }

    #[test]
    fn a_body_is_a_json_object_with_known_fields() {
        for (body, problem) in [
            ("", "the body must be a JSON object"),
            ("[]", "the body must be a JSON object"),
            ("7", "the body must be a JSON object"),
            ("{", "the body must be a JSON object"),
            ("\u{feff}{}", "the body must be a JSON object"),
            ("{}", "name: is required"),
            ("{\"name\":\"a\",\"color\":1}", "color: is not a known field"),
        ] {
            let error = parse::<Order>(body.as_bytes()).expect_err("invalid");
            assert_eq!(error.message, problem, "{body}");
        }
        let order: Order = parse(b"{\"name\":\"a\",\"count\":5.0}").expect("valid");
        assert_eq!((order.name.as_str(), order.count), ("a", Some(WholeNumber(5))));
        assert_eq!(parse_optional::<Order>(b" ").expect("valid").name, "");
        assert!(parse_optional::<Order>(b"[]").is_err());
    }
}
