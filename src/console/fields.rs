//! The fields of queries and forms.

use std::collections::HashMap;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Bytes};
use futures_util::{FutureExt, future::LocalBoxFuture};

use super::access::Failure;
use crate::http::{
    error::{ApiError, ErrorCode},
    extract::query::parse,
};

/// The fields of a query or a form. Empty ones count as not given: that is how browsers send them.
#[derive(Default)]
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    /// Reads the query of a request.
    pub(super) fn of_query(request: &HttpRequest) -> Self {
        Self::of(request.query_string())
    }

    fn of(text: &str) -> Self {
        let fields = parse(text).map(|(name, value)| (name.into_owned(), value.trim().replace('\0', "")));
        Self(fields.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Parses a field, if it is given.
    ///
    /// # Errors
    /// It can't be parsed.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let invalid = || ApiError::invalid(format!("{name}: {text} is not valid")).into();
        parse(text).map(Some).ok_or_else(invalid)
    }
}

/// Reads the body of a request as a form.
pub(super) fn read_form(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Fields, Failure>> {
    let body = Bytes::from_request(request, payload);
    async move {
        let body = body.await.map_err(|_| ApiError::new(ErrorCode::PayloadTooLarge, "The form is too large"));
        let body = body?;
        let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("The form must be UTF-8"))?;
        Ok(Fields::of(text))
    }
    .boxed_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_field_counts_as_not_given() {
        let fields = Fields::of("status=&call=+12+&app=a%00b");
        assert_eq!(
            (fields.get("status"), fields.get("call"), fields.get("app")),
            (None, Some("12"), Some("ab"))
        );
    }
}
