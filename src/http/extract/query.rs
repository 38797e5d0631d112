//! The query of a request. What is not understood is refused and named, never silently ignored: a filter with a
//! typing error would otherwise give the wrong rows.

use std::{borrow::Cow, collections::HashMap};

use actix_web::HttpRequest;
use chrono::{DateTime, Datelike, Utc};
pub(crate) use cti_actors::event::write_ids_as_text;

use crate::{epoch, http::error::ApiError, store::views::listing::Cursor};

/// The parameters of a request.
pub(crate) struct Query {
    values: HashMap<String, String>,
}

impl Query {
    /// Reads the query; only the named parameters are allowed, each once.
    pub(crate) fn of(request: &HttpRequest, allowed: &[&str]) -> Result<Self, ApiError> {
        let mut values = HashMap::new();
        for (name, value) in parse(request.query_string()) {
            if is_mended(&value, request.query_string()) {
                return Err(ApiError::invalid(format!("{name}: must be UTF-8")));
            }
            if !allowed.contains(&&*name) {
                return Err(ApiError::invalid(format!("{name}: there is no such parameter here")));
            }
            if value.contains('\0') {
                return Err(ApiError::invalid(format!("{name}: must not contain a NUL")));
            }
            if values.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(ApiError::invalid(format!("{name}: is given twice")));
            }
        }
        Ok(Self { values })
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter that takes one of a few words.
    pub(crate) fn word(&self, name: &str, words: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.text(name) {
            Some(text) if !words.contains(&text) => {
                Err(ApiError::invalid(format!("{name}: must be one of {}", words.join(", "))))
            }
            text => Ok(text),
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|_| ApiError::invalid(format!("{name}: must be a whole number")))
    }

    /// How many items a page may have.
    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, ApiError> {
        match self.text("limit").map(str::parse) {
            None => Ok(default),
            Some(Ok(limit)) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(ApiError::invalid(format!("limit: must be a whole number from 1 to {most}"))),
        }
    }

    /// Unix seconds, unix milliseconds (either may have a fraction) or RFC 3339.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A plus sign in an offset that was not escaped arrives as a space.
        let rfc3339 = || DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|it| it.to_utc());
        let fractional = || text.parse().ok().and_then(epoch::fractional);
        let instant = match text.parse() {
            Ok(whole) => epoch::instant(whole),
            Err(_) => fractional().or_else(rfc3339),
        };
        let wrong =
            || ApiError::invalid(format!("{name}: must be unix seconds, unix milliseconds or RFC 3339"));
        // Before the year 1 there were neither calls nor dates that every database knows.
        let known = instant.filter(|instant| (1..10_000).contains(&instant.year()));
        known.map(Some).ok_or_else(wrong)
    }

    pub(crate) fn cursor(&self) -> Result<Option<Cursor>, ApiError> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        Cursor::decode(text)
            .map(Some)
            .ok_or_else(|| ApiError::invalid("cursor: must be one that a Link gave"))
    }

    /// Whether ids are to be written as strings.
    pub(crate) fn ids_as_text(&self) -> Result<bool, ApiError> {
        Ok(self.word("ids", &["number", "string"])? == Some("string"))
    }
}

/// Whether bytes that are no text were replaced in a value, and nobody wrote the replacement.
fn is_mended(value: &str, query: &str) -> bool {
    value.contains('\u{fffd}')
        && !query.to_ascii_lowercase().contains("%ef%bf%bd")
        && !query.contains('\u{fffd}')
}

/// The parameters of a query string, decoded, in order.
pub(crate) fn parse(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.as_bytes())
}

/// The `Link` to the next page: this request with other parameters in place of those named.
pub(crate) fn next_link(request: &HttpRequest, replaced: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parse(request.query_string()) {
        if name != "api_key" && replaced.iter().all(|(other, _)| *other != name) {
            query.append_pair(&name, &value);
        }
    }
    query.extend_pairs(replaced);
    format!("<{}?{}>; rel=\"next\"", request.path(), query.finish())
}
