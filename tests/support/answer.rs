//! The server's answers, with assertions whose failures name the request.

use std::collections::BTreeSet;

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An HTTP answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Method and URL of the request.
    pub(crate) asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Returns the JSON of a 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self}");
        self.json()
    }

    /// Returns the list in a 200.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        match self.ok() {
            Value::Array(list) => list,
            _ => panic!("not a list: {self}"),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let media_type = self.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("application/json"), "not JSON: {self}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// Asserts an error in the common shape, and returns its body.
    #[track_caller]
    pub(crate) fn fails_with(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        let error = self.json();
        for field in ["error", "code", "request_id"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {field}: {self}");
        }
        error
    }

    /// Asserts an error with its stable code.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) -> Value {
        let error = self.fails_with(status);
        assert_eq!(error["code"], code, "{self}");
        error
    }

    /// Asserts a 400 that names a part of the request.
    #[track_caller]
    pub(crate) fn refuses_naming(&self, part: &str) {
        let error = self.refuses(400, "INVALID_REQUEST");
        let words = format!("{} {}", error["error"], error["details"]);
        assert!(words.contains(part), "does not name {part}: {self}");
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the path of the next page; `None` on the last page.
    #[track_caller]
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let next = link.split(',').find(|part| part.replace(' ', "").contains(";rel=\"next\""))?;
        let path = next.trim().strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(path, _)| path);
        let path = path.unwrap_or_else(|| panic!("no address in Link: {self}"));
        assert!(path.starts_with('/'), "the next page is not a relative address: {self}");
        Some(path.to_owned())
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.body.chars().take(2_000).collect();
        write!(out, "{} was answered {} {shown} {:?}", self.asked, self.status, self.headers)
    }
}

/// Asserts fields of a JSON object.
pub(crate) trait Shows {
    /// Asserts that each expected field has its value; other fields are ignored.
    fn shows(&self, expected: Value) -> &Self;
}

impl Shows for Value {
    #[track_caller]
    fn shows(&self, expected: Value) -> &Self {
        let expected = expected.as_object().expect("the expected value is an object");
        let differences: Vec<String> = expected
            .iter()
            .filter(|(name, value)| self.get(name) != Some(value))
            .map(|(name, value)| match self.get(name) {
                Some(shown) => format!("{name} is {shown} instead of {value}"),
                None => format!("{name} is missing instead of {value}"),
            })
            .collect();
        assert!(differences.is_empty(), "{}\nin {self:#}", differences.join("\n"));
        self
    }
}

/// Returns the names of an object's fields.
pub(crate) fn object_keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}
