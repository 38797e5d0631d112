//! What a reader of the feed asks for, however it reads: in a query, or in the first message of a WebSocket. Pure.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use strum::VariantNames;
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    consumer::{Consumer, Mode},
    event::{EventType, Filter},
    id::Seq,
    model::call::Direction,
};

/// The longest name of a user or a number, in characters.
const LONGEST_NAME: usize = 255;
/// The longest name of a consumer.
const LONGEST_CONSUMER: usize = 100;

/// What a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Resume behind this event; `None`: only what comes from now on.
    pub after: Option<Seq>,
    /// Which events.
    pub filter: Filter,
    /// Whether Dialpad's ids are written as strings.
    pub ids_as_text: bool,
    /// Whether it begins with the calls that are not over.
    pub snapshot: bool,
    /// As which consumer, if the server is to keep the cursor; `after` then says where it begins if it is new.
    pub consumer: Option<Consumer>,
}

/// Why a subscription can't be granted as asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct SubscriptionError {
    /// The parameter.
    pub field: String,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
}

impl Subscription {
    /// Those that only make sense for whoever stays: over a WebSocket, or a stream of server-sent events.
    pub const OF_SESSIONS: [&'static str; 1] = ["snapshot"];
    /// The parameters that are understood.
    pub const PARAMETERS: [&'static str; 11] = [
        "after",
        "types",
        "dialpad_user_id",
        "crm_user_id",
        "direction",
        "number",
        "from",
        "to",
        "ids",
        "consumer",
        "mode",
    ];

    /// Reads the parameters; `said` gives the text of one.
    ///
    /// # Errors
    /// Names the first parameter that can't be understood.
    pub fn read<'a>(said: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SubscriptionError> {
        let after = said("after").map(|text| whole("after", text)).transpose()?;
        if after.is_some_and(|after| after < 0) {
            return Err(wrong("after", "must not be negative"));
        }
        let filter = filter(&said)?;
        let ids_as_text = match said("ids") {
            None | Some("number") => false,
            Some("string") => true,
            Some(_) => return Err(wrong("ids", "must be number or string")),
        };
        let snapshot = switch("snapshot", said("snapshot"))?;
        if snapshot && after.is_some() {
            return Err(wrong("snapshot", "does not go together with after"));
        }
        let consumer = consumer(&said)?;
        if snapshot && consumer.is_some() {
            return Err(wrong(
                "snapshot",
                "does not go together with consumer, which goes on where it stands",
            ));
        }
        Ok(Self { after: after.map(Seq), filter, ids_as_text, snapshot, consumer })
    }
}

fn filter<'a>(said: &impl Fn(&'static str) -> Option<&'a str>) -> Result<Filter, SubscriptionError> {
    let types = said("types").map(|text| text.split(',').map(|part| part.trim().to_owned()).collect());
    let types: BTreeSet<String> = types.unwrap_or_default();
    if !types.iter().all(|wanted| is_type_pattern(wanted)) {
        return Err(wrong("types", "names no event type"));
    }
    let dialpad_user_id = said("dialpad_user_id").map(|text| whole("dialpad_user_id", text)).transpose()?;
    let direction = said("direction").map(|text| word::<Direction>("direction", text)).transpose()?;
    let number = |name| said(name).map(|text| name_of_somebody(name, &phone_number(text))).transpose();
    Ok(Filter {
        types,
        dialpad_user_id,
        crm_user_id: said("crm_user_id").map(|text| name_of_somebody("crm_user_id", text)).transpose()?,
        direction,
        number: number("number")?,
        from: number("from")?,
        to: number("to")?,
    })
}

fn consumer<'a>(
    said: &impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Option<Consumer>, SubscriptionError> {
    let mode = said("mode").map(|text| word::<Mode>("mode", text)).transpose()?;
    match (said("consumer"), mode) {
        (Some(name), mode) => {
            Ok(Some(Consumer { name: consumer_name(name)?, mode: mode.unwrap_or_default() }))
        }
        (None, Some(_)) => Err(wrong("mode", "is that of a consumer, and there is none")),
        (None, None) => Ok(None),
    }
}

fn wrong(field: &str, problem: impl Into<Cow<'static, str>>) -> SubscriptionError {
    SubscriptionError { field: field.to_owned(), problem: problem.into() }
}

fn word<T: FromStr + VariantNames>(field: &str, text: &str) -> Result<T, SubscriptionError> {
    text.parse().map_err(|_| wrong(field, format!("must be {}", T::VARIANTS.join(" or "))))
}

fn whole(field: &str, text: &str) -> Result<i64, SubscriptionError> {
    text.parse().map_err(|_| wrong(field, "must be a whole number"))
}

fn switch(field: &str, text: Option<&str>) -> Result<bool, SubscriptionError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(field, "must be true or false")),
    }
}

fn name_of_somebody(field: &str, text: &str) -> Result<String, SubscriptionError> {
    if text.is_empty() || text.chars().count() > LONGEST_NAME {
        return Err(wrong(field, "must have 1 to 255 characters"));
    }
    Ok(text.to_owned())
}

/// The name of a consumer, which stands in the path of a request as well.
fn consumer_name(text: &str) -> Result<String, SubscriptionError> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    // A dot alone, or two, would be another place in a path.
    if text.is_empty()
        || text.len() > LONGEST_CONSUMER
        || !text.bytes().all(is_known)
        || text.starts_with('.')
    {
        return Err(wrong("consumer", "must have 1 to 100 letters, digits and . _ : -, and begin with no ."));
    }
    Ok(text.to_owned())
}

/// A phone number as it was meant: in a query, a plus sign that was not escaped arrives as a space.
#[must_use]
pub fn phone_number(text: &str) -> String {
    match text.strip_prefix(' ') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("+{digits}"),
        _ => text.to_owned(),
    }
}

fn is_type_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => EventType::VARIANTS.iter().any(|event_type| event_type.starts_with(prefix)),
        None => pattern.parse::<EventType>().is_ok(),
    }
}

/// The first message of a WebSocket that brought no key with its request.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Subscribe {
    /// The app's key.
    pub(super) api_key: String,
    /// What the query could say as well.
    #[serde(flatten)]
    #[schema(ignore)]
    wishes: Map<String, Value>,
}

impl Subscribe {
    /// What is asked for, or `None` where the message leaves that to the query.
    pub(super) fn subscription(&self) -> Result<Option<Subscription>, SubscriptionError> {
        let mut texts = BTreeMap::new();
        for (name, value) in &self.wishes {
            let known = Subscription::PARAMETERS.iter().chain(&Subscription::OF_SESSIONS);
            if !known.into_iter().any(|known| known == name) {
                return Err(wrong(name, "is not known here"));
            }
            if let Some(text) = text_of(name, value)? {
                texts.insert(name.as_str(), text);
            }
        }
        if texts.is_empty() {
            return Ok(None);
        }
        Subscription::read(|name| texts.get(name).map(String::as_str)).map(Some)
    }
}

/// A wish as it would stand in a query.
fn text_of(name: &str, value: &Value) -> Result<Option<String>, SubscriptionError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(switch) => Ok(Some(switch.to_string())),
        Value::Array(items) if name == "types" => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| Some(texts.join(","))).ok_or_else(|| wrong(name, "must be a list of texts"))
        }
        Value::Array(_) | Value::Object(_) => Err(wrong(name, "must be a single value")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(said: &[(&'static str, &'static str)]) -> Result<Subscription, String> {
        let text = |name| said.iter().find(|(said, _)| *said == name).map(|(_, text)| *text);
        Subscription::read(text).map_err(|problem| problem.field)
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused() {
        assert!(read(&[("types", "call.*,voicemail.received")]).is_ok());
        assert_eq!(read(&[("types", "call.rings")]), Err("types".to_owned()));
    }

    #[test]
    fn a_filter_names_what_is_wrong_with_it() {
        let long = "x".repeat(256).leak();
        let wrong = [
            ("dialpad_user_id", "Ada"),
            ("direction", "both"),
            ("crm_user_id", ""),
            ("number", ""),
            ("from", &*long),
            ("ids", "text"),
            ("after", "-1"),
            ("snapshot", "yes"),
            ("consumer", "crm backend"),
            ("consumer", ".."),
            ("mode", "share"),
        ];
        for (name, value) in wrong {
            assert_eq!(read(&[(name, value)]), Err(name.to_owned()), "{value}");
        }
        assert_eq!(read(&[("snapshot", "true"), ("after", "0")]), Err("snapshot".to_owned()));
        let wanted = read(&[("number", " 14155551234"), ("direction", "inbound")]).expect("a filter");
        assert_eq!(wanted.filter.number.as_deref(), Some("+14155551234"));
    }

    #[test]
    fn a_message_may_say_what_a_query_may() {
        let subscribe = |message| serde_json::from_value::<Subscribe>(message).expect("a subscribe");
        let said = subscribe(json!({"api_key": "raw_1", "after": 3, "types": ["call.*", "message.sent"]}));
        let wanted = said.subscription().expect("understood").expect("something");
        assert_eq!(Ok(wanted), read(&[("after", "3"), ("types", "call.*,message.sent")]));
        let wanted = subscribe(json!({"api_key": "raw_1", "snapshot": true})).subscription();
        assert!(wanted.expect("understood").expect("something").snapshot);
        assert_eq!(subscribe(json!({"api_key": "raw_1", "after": null})).subscription(), Ok(None));
        for (name, value) in [("colour", json!("red")), ("after", json!([1])), ("types", json!([1]))] {
            let refused = subscribe(json!({"api_key": "raw_1", name: value})).subscription();
            assert_eq!(refused.map_err(|problem| problem.field), Err(name.to_owned()));
        }
    }
}
