//! The JSON body of a request, read strictly: what is not known or not understood is refused and named.

use serde_json::{Map, Value};

use crate::http::error::ApiError;

/// The fields of a body.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that must be an object with no fields but these.
    pub(crate) fn of(body: &[u8], allowed: &[&str]) -> Result<Self, ApiError> {
        let fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| ApiError::invalid("the body must be a JSON object"))?;
        Self::with(fields, allowed)
    }

    /// The same, where there may be no body at all.
    pub(crate) fn of_optional(body: &[u8], allowed: &[&str]) -> Result<Self, ApiError> {
        if body.trim_ascii().is_empty() { Ok(Self(Map::new())) } else { Self::of(body, allowed) }
    }

    /// The same of an object within a body.
    pub(crate) fn with(fields: Map<String, Value>, allowed: &[&str]) -> Result<Self, ApiError> {
        match fields.keys().find(|name| !allowed.contains(&name.as_str())) {
            Some(name) => Err(ApiError::invalid(format!("{name}: there is no such field here"))),
            None => Ok(Self(fields)),
        }
    }

    /// A field; `None` where it is left out.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text of 1 to `most` characters, without the white space around it.
    pub(crate) fn text(&self, name: &str, most: usize) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| ApiError::invalid(format!("{name}: must be a text")))?.trim();
        if text.is_empty() || text.chars().count() > most || text.contains('\0') {
            return Err(ApiError::invalid(format!("{name}: must have 1 to {most} characters")));
        }
        Ok(Some(text))
    }

    /// The same, which must be there.
    pub(crate) fn required_text(&self, name: &str, most: usize) -> Result<&str, ApiError> {
        self.text(name, most)?
            .ok_or_else(|| ApiError::invalid(format!("{name}: is required and must be a text")))
    }

    /// A text of 1 to `most` characters, as it is.
    pub(crate) fn verbatim(&self, name: &str, most: usize) -> Result<&str, ApiError> {
        let wrong =
            || ApiError::invalid(format!("{name}: is required and must be a text of 1 to {most} characters"));
        let text = self.get(name).and_then(Value::as_str).ok_or_else(wrong)?;
        let is_good = !text.trim().is_empty() && text.chars().count() <= most && !text.contains('\0');
        if is_good { Ok(text) } else { Err(wrong()) }
    }

    /// Dialpad's id of something: a number, or its digits as a text.
    pub(crate) fn dialpad_id(&self, name: &str) -> Result<i64, ApiError> {
        let id = match self.get(name) {
            Some(value @ Value::Number(_)) => whole(value),
            Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        let wrong = || ApiError::invalid(format!("{name}: is required and must be an id of Dialpad's"));
        id.filter(|id| *id > 0).ok_or_else(wrong)
    }

    /// A whole number within these bounds.
    pub(crate) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = whole(value).filter(|number| (least..=most).contains(number));
        let wrong = || ApiError::invalid(format!("{name}: must be a whole number from {least} to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// True or false.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| ApiError::invalid(format!("{name}: must be true or false")))
    }
}

/// A whole number. To JSON, `5.0` is one too; beyond 2^53, what is written so is no longer exact.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT;
    value.as_i64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        let read = |body: &str| Fields::of(body.as_bytes(), &["name", "count", "on"]);
        let message = |outcome: Result<(), ApiError>| outcome.expect_err("it is wrong").message.into_owned();
        for bad in ["", "[]", "7", "{", "\u{feff}{}"] {
            assert!(message(read(bad).map(drop)).contains("body"), "{bad}");
        }
        assert!(message(read("{\"colour\":1}").map(drop)).starts_with("colour:"));
        let fields = read("{\"name\":\"  a\\u0000\",\"count\":1.5,\"on\":\"yes\"}").expect("an object");
        assert!(message(fields.text("name", 5).map(drop)).starts_with("name:"));
        assert!(message(fields.number("count", 0, 5).map(drop)).starts_with("count:"));
        assert!(message(fields.switch("on").map(drop)).starts_with("on:"));
        let fields = read("{\"name\":\" ä \",\"count\":5}").expect("an object");
        assert_eq!(fields.text("name", 1).expect("good"), Some("ä"));
        assert_eq!(fields.number("count", 0, 5).expect("good"), Some(5));
        for (text, number) in
            [("5.0", Some(5)), ("5e0", Some(5)), ("5.5", None), ("1e300", None), ("\"5\"", None)]
        {
            assert_eq!(whole(&serde_json::from_str(text).expect("JSON")), number, "{text}");
        }
        assert_eq!(whole(&i64::MAX.into()), Some(i64::MAX));
        assert_eq!(fields.switch("on").expect("good"), None);
        assert!(
            message(read("{}").expect("an object").required_text("name", 5).map(drop)).starts_with("name:")
        );
    }
}
