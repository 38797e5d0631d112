//! Finds a number in text and in JSON, however it is written. Pure.

use chrono::DateTime;
use serde_json::Value;

use super::{Region, e164, split_country_code};

/// How many characters may stand between two digits of a number.
const MAX_SEPARATORS: usize = 4;
/// How many digits a number without its country code has at least to be looked for in a text.
const MIN_NATIONAL: usize = 7;

/// A number that is looked for.
#[derive(Clone, Debug)]
pub struct NumberSearch {
    number: String,
    region: Region,
    /// The digits of its spellings.
    forms: Vec<String>,
}

impl NumberSearch {
    /// Looks for a number in E.164 form. Numbers without a country code are read as those of the region.
    #[must_use]
    pub fn new(number: &str, region: Region) -> Self {
        let digits = number.trim_start_matches('+').to_owned();
        let mut forms = vec![digits.clone(), format!("00{digits}"), format!("011{digits}")];
        if let Some((code, national)) = split_country_code(&digits)
            && national.len() >= MIN_NATIONAL
        {
            forms.extend([national.to_owned(), format!("0{national}"), format!("{code}0{national}")]);
        }
        Self { number: number.to_owned(), region, forms }
    }

    /// Returns the number in E.164 form.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Whether a text is the number, or contains it.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_bytes(text.as_bytes())
            || text.split(',').any(|part| e164(part, self.region).as_deref() == Some(&self.number))
    }

    /// Whether bytes contain the number in a spelling with ASCII digits.
    #[must_use]
    pub fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
        (0..bytes.len())
            .filter(|place| is_digit(*place) && (*place == 0 || !is_digit(place - 1)))
            .any(|place| self.forms.iter().any(|form| is_at(&bytes[place..], form.as_bytes())))
    }

    /// Whether a text or a whole number anywhere in JSON is the number or contains it. Times are none.
    #[must_use]
    pub fn is_in_json(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => DateTime::parse_from_rfc3339(text).is_err() && self.is_in(text),
            Value::Number(number) => self.forms.contains(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| self.is_in_json(item)),
            Value::Object(fields) => fields.values().any(|field| self.is_in_json(field)),
            Value::Null | Value::Bool(_) => false,
        }
    }
}

/// Whether bytes begin with these digits, with separators between them, and no other digit follows.
fn is_at(bytes: &[u8], digits: &[u8]) -> bool {
    let mut rest = bytes;
    for digit in digits {
        let separators = rest.iter().take_while(|byte| is_separator(**byte)).count();
        if separators > MAX_SEPARATORS || rest.get(separators) != Some(digit) {
            return false;
        }
        rest = &rest[separators + 1..];
    }
    !rest.first().is_some_and(u8::is_ascii_digit)
}

/// Whether a byte may stand between the digits of a number: spaces of other scripts consist of several.
fn is_separator(byte: u8) -> bool {
    b" -.()/".contains(&byte) || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_found_in_every_spelling_and_within_a_text() {
        let search = NumberSearch::new("+14155551234", Region::US);
        for text in [
            "+14155551234",
            "(415) 555-1234",
            "1-415-555-1234",
            "call 415.555.1234, please",
            "+14155550000,+14155551234",
            "００１４１５５５５１２３４".trim_start_matches('０'),
            "4155551234 4pm",
        ] {
            assert!(search.is_in(text), "{text}");
        }
        for text in ["+14155551235", "94155551234", "41555512345", "4155551234567890", "555-1234", ""] {
            assert!(!search.is_in(text), "{text}");
        }
        let london = NumberSearch::new("+442079460018", Region::US);
        for text in ["+44 (0)20 7946 0018", "020 7946 0018", "00442079460018", "011 44 20 7946 0018"] {
            assert!(london.is_in(text), "{text}");
        }
    }

    #[test]
    fn a_time_in_json_is_no_number_and_an_integer_can_be_one() {
        let danish = NumberSearch::new("+4520240101", Region::US);
        assert!(!danish.is_in_json(&json!({"at": "2024-01-01T12:00:00Z"})));
        assert!(danish.is_in_json(&json!({"payload": [{"from": 4_520_240_101_i64}]})));
        assert!(danish.is_in_json(&json!({"text": "20 24 01 01"})));
    }
}
