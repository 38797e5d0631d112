//! What a client of the feed asks for, over every transport: in a query, or in the first message of a WebSocket. Pure.

use std::{borrow::Cow, collections::BTreeSet, str::FromStr};

use strum::VariantNames;
use thiserror::Error;

use crate::{
    consumer::{Consumer, Mode},
    event::{EventType, Filter, NumberFilter},
    feed::Position,
    model::{call::Direction, number::Region},
};

/// The most characters of a user's id or of a number.
const MAX_NAME_CHARS: usize = 255;
/// The most characters of a consumer's name.
const MAX_CONSUMER_CHARS: usize = 100;

/// What a client of the feed asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Resume after this event; `None`: only new events.
    pub after: Option<Position>,
    /// Which events.
    pub filter: Filter,
    /// Whether Dialpad's ids are written as strings.
    pub ids_as_text: bool,
    /// Whether it begins with the calls that are not over.
    pub snapshot: bool,
    /// Whether a message says every few seconds that nothing is missing.
    pub watermark: bool,
    /// The consumer, if the server is to store the cursor; `after` then is where a new one begins.
    pub consumer: Option<Consumer>,
}

/// A parameter that is not valid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {problem}")]
pub struct SubscriptionError {
    /// The parameter.
    pub field: String,
    /// What is wrong with it.
    pub problem: Cow<'static, str>,
}

impl SubscriptionError {
    pub(super) fn new(field: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

impl Subscription {
    /// The parameters that only lasting sessions take: WebSockets, and streams of server-sent events.
    pub const OF_SESSIONS: [&'static str; 2] = ["snapshot", "watermark"];
    /// The parameters that every transport takes.
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

    /// Reads the parameters; `text_of` returns the text of one.
    ///
    /// # Errors
    /// Names the first parameter that is not valid.
    pub fn read<'a>(text_of: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SubscriptionError> {
        let after = text_of("after").map(position).transpose()?;
        let filter = filter(&text_of)?;
        let ids_as_text = match text_of("ids") {
            None | Some("number") => false,
            Some("string") => true,
            Some(_) => return Err(SubscriptionError::new("ids", "must be number or string")),
        };
        let snapshot = boolean("snapshot", text_of("snapshot"))?;
        if snapshot && after.is_some() {
            return Err(SubscriptionError::new("snapshot", "can't be combined with after"));
        }
        let consumer = consumer(&text_of)?;
        if snapshot && consumer.is_some() {
            return Err(SubscriptionError::new(
                "snapshot",
                "can't be combined with consumer, which resumes at its stored cursor",
            ));
        }
        let watermark = boolean("watermark", text_of("watermark"))?;
        if watermark && consumer.as_ref().is_some_and(|consumer| consumer.mode == Mode::Share) {
            return Err(SubscriptionError::new(
                "watermark",
                "can't be combined with mode=share, whose other connections get a part of the events",
            ));
        }
        Ok(Self { after, filter, ids_as_text, snapshot, watermark, consumer })
    }
}

fn filter<'a>(text_of: &impl Fn(&'static str) -> Option<&'a str>) -> Result<Filter, SubscriptionError> {
    let types = text_of("types").map(|text| text.split(',').map(|part| part.trim().to_owned()).collect());
    let types: BTreeSet<String> = types.unwrap_or_default();
    if !types.iter().all(|pattern| is_type_pattern(pattern)) {
        return Err(SubscriptionError::new("types", "matches no event type"));
    }
    let dialpad_user_id =
        text_of("dialpad_user_id").map(|text| integer("dialpad_user_id", text)).transpose()?;
    let direction = text_of("direction").map(|text| word::<Direction>("direction", text)).transpose()?;
    // The region of the app is known once it is known who asks.
    let number = |name| {
        let text = text_of(name).map(|text| short_text(name, text)).transpose()?;
        Ok(text.map(|text| NumberFilter::new(&text, Region::default())))
    };
    Ok(Filter {
        types,
        dialpad_user_id,
        crm_user_id: text_of("crm_user_id").map(|text| short_text("crm_user_id", text)).transpose()?,
        direction,
        number: number("number")?,
        from: number("from")?,
        to: number("to")?,
        region: Region::default(),
    })
}

fn consumer<'a>(
    text_of: &impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Option<Consumer>, SubscriptionError> {
    let mode = text_of("mode").map(|text| word::<Mode>("mode", text)).transpose()?;
    match (text_of("consumer"), mode) {
        (Some(name), mode) => {
            Ok(Some(Consumer { name: consumer_name(name)?, mode: mode.unwrap_or_default() }))
        }
        (None, Some(_)) => Err(SubscriptionError::new("mode", "requires consumer")),
        (None, None) => Ok(None),
    }
}

fn word<T: FromStr + VariantNames>(field: &str, text: &str) -> Result<T, SubscriptionError> {
    let problem = || format!("must be {}", T::VARIANTS.join(" or "));
    text.parse().map_err(|_| SubscriptionError::new(field, problem()))
}

fn position(text: &str) -> Result<Position, SubscriptionError> {
    let problem = "must be a whole number, 0 or more, or EPOCH:SEQ";
    text.parse().map_err(|_| SubscriptionError::new("after", problem))
}

fn integer(field: &str, text: &str) -> Result<i64, SubscriptionError> {
    text.parse().map_err(|_| SubscriptionError::new(field, "must be a whole number"))
}

fn boolean(field: &str, text: Option<&str>) -> Result<bool, SubscriptionError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(SubscriptionError::new(field, "must be true or false")),
    }
}

fn short_text(field: &str, text: &str) -> Result<String, SubscriptionError> {
    if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
        return Err(SubscriptionError::new(field, "must have 1 to 255 characters"));
    }
    Ok(text.to_owned())
}

/// Checks the name of a consumer, which is a part of request paths as well.
fn consumer_name(text: &str) -> Result<String, SubscriptionError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    // One dot alone, or two, have another meaning in a path.
    let is_valid = !text.is_empty()
        && text.len() <= MAX_CONSUMER_CHARS
        && text.bytes().all(is_allowed)
        && !text.starts_with('.');
    if !is_valid {
        let problem = "must have 1 to 100 letters, digits and . _ : -, and not begin with a dot";
        return Err(SubscriptionError::new("consumer", problem));
    }
    Ok(text.to_owned())
}

fn is_type_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => EventType::VARIANTS.iter().any(|event_type| event_type.starts_with(prefix)),
        None => pattern.parse::<EventType>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&'static str, &'static str)]) -> Result<Subscription, String> {
        let text_of = |name| query.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        Subscription::read(text_of).map_err(|problem| problem.field)
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused() {
        assert!(read(&[("types", "call.*,voicemail.received")]).is_ok());
        assert_eq!(read(&[("types", "call.rings")]), Err("types".to_owned()));
    }

    #[test]
    fn an_error_names_the_parameter() {
        let long = "x".repeat(256).leak();
        let invalid = [
            ("dialpad_user_id", "Ada"),
            ("direction", "both"),
            ("crm_user_id", ""),
            ("number", ""),
            ("from", &*long),
            ("ids", "text"),
            ("after", "-1"),
            ("after", "epoch:1"),
            ("snapshot", "yes"),
            ("watermark", "5s"),
            ("consumer", "crm backend"),
            ("consumer", ".."),
            ("mode", "share"),
        ];
        for (name, value) in invalid {
            assert_eq!(read(&[(name, value)]), Err(name.to_owned()), "{value}");
        }
        assert_eq!(read(&[("snapshot", "true"), ("after", "0")]), Err("snapshot".to_owned()));
        let shared = [("watermark", "true"), ("consumer", "crm"), ("mode", "share")];
        assert_eq!(read(&shared), Err("watermark".to_owned()));
        let subscription = read(&[("number", " 14155551234"), ("direction", "inbound")]).expect("valid");
        assert_eq!(subscription.filter.number.as_ref().and_then(NumberFilter::e164), Some("+14155551234"));
    }
}
