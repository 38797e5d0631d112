//! The kinds of values that parameters and fields have. Each is parsed, checked and described in one place.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type},
    },
};

use crate::{epoch, store::views::listing::Cursor};

/// Deserializes a string with a function that parses it.
///
/// # Errors
/// "must be …" with what was `expected`, if it does not parse.
pub(crate) fn parse_text<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    expected: impl fmt::Display,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    struct Parser<E, P>(E, P);

    impl<T, E: fmt::Display, P: FnOnce(&str) -> Option<T>> Visitor<'_> for Parser<E, P> {
        type Value = T;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(out)
        }

        fn visit_str<F: Error>(self, text: &str) -> Result<T, F> {
            let Self(expected, parse) = self;
            parse(text).ok_or_else(|| F::invalid_value(Unexpected::Str(text), &&*expected.to_string()))
        }
    }

    deserializer.deserialize_str(Parser(expected, parse))
}

/// Deserializes a field that may be left out but not be null. Use it with `#[serde(default)]`.
///
/// # Errors
/// Those of the field's type.
pub(crate) fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn typed(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type)
}

fn formatted(schema_type: Type, format: KnownFormat) -> ObjectBuilder {
    typed(schema_type).format(Some(SchemaFormat::KnownFormat(format)))
}

/// Returns the schema of a UUID.
pub(crate) fn uuid() -> ObjectBuilder {
    formatted(Type::String, KnownFormat::Uuid)
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeNumber<const MIN: i64, const MAX: i64>(pub(crate) i64);

/// A whole number of 64 bits.
pub(crate) type AnyWholeNumber = WholeNumber<{ i64::MIN }, { i64::MAX }>;
/// A whole number that is not negative.
pub(crate) type NonNegative = WholeNumber<0, { i64::MAX }>;

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for WholeNumber<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Range::<MIN, MAX>).map(Self)
    }
}

struct Range<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Visitor<'_> for Range<MIN, MAX> {
    type Value = i64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (MIN, MAX) {
            (i64::MIN, i64::MAX) => out.write_str("a whole number"),
            (_, i64::MAX) => write!(out, "a whole number, {MIN} or more"),
            _ => write!(out, "a whole number from {MIN} to {MAX}"),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        let is_valid = (MIN..=MAX).contains(&number);
        if is_valid { Ok(number) } else { Err(E::invalid_value(Unexpected::Signed(number), &self)) }
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for WholeNumber<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let number = formatted(Type::Integer, KnownFormat::Int64);
        number.minimum(Some(MIN)).maximum(Some(MAX)).into()
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for WholeNumber<MIN, MAX> {}

/// A whole number from `MIN` to `MAX` that is `DEFAULT` where it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeNumberOr<const DEFAULT: i64, const MIN: i64, const MAX: i64>(WholeNumber<MIN, MAX>);

impl<const DEFAULT: i64, const MIN: i64, const MAX: i64> WholeNumberOr<DEFAULT, MIN, MAX> {
    pub(crate) fn get(self) -> i64 {
        self.0.0
    }

    /// Returns the number as a count. `MIN` is not negative.
    pub(crate) fn count(self) -> usize {
        usize::try_from(self.get()).unwrap_or_default()
    }
}

impl<const DEFAULT: i64, const MIN: i64, const MAX: i64> Default for WholeNumberOr<DEFAULT, MIN, MAX> {
    fn default() -> Self {
        Self(WholeNumber(DEFAULT))
    }
}

impl<'de, const DEFAULT: i64, const MIN: i64, const MAX: i64> Deserialize<'de>
    for WholeNumberOr<DEFAULT, MIN, MAX>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WholeNumber::deserialize(deserializer).map(Self)
    }
}

impl<const DEFAULT: i64, const MIN: i64, const MAX: i64> PartialSchema for WholeNumberOr<DEFAULT, MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let number = formatted(Type::Integer, KnownFormat::Int64);
        number.minimum(Some(MIN)).maximum(Some(MAX)).default(Some(DEFAULT.into())).into()
    }
}

impl<const DEFAULT: i64, const MIN: i64, const MAX: i64> ToSchema for WholeNumberOr<DEFAULT, MIN, MAX> {}

/// A point in time: unix seconds, unix milliseconds (either with or without a fraction) or RFC 3339.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

impl FromStr for Timestamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // The plus sign of an offset that was not encoded arrives as a space.
        let rfc3339 = || DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|time| time.to_utc());
        let fractional = || text.parse().ok().and_then(epoch::fractional);
        let time = match text.parse() {
            Ok(whole) => epoch::instant(whole),
            Err(_) => fractional().or_else(rfc3339),
        };
        // Both databases store dates of these years.
        time.filter(|time| (1..10_000).contains(&time.year())).map(Self).ok_or(())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "unix seconds, unix milliseconds or RFC 3339", |text| text.parse().ok())
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        // A choice of types in a query or a path breaks the clients of generators.
        typed(Type::String)
            .description(Some("Unix seconds, Unix milliseconds or RFC 3339."))
            .examples(["1704110400", "2024-01-01T12:00:00Z"])
            .into()
    }
}

impl ToSchema for Timestamp {}

/// The position of a page in a list, as a `Link` header gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageCursor(pub(crate) Cursor);

impl<'de> Deserialize<'de> for PageCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_text(deserializer, "one that a Link header gave", Cursor::decode).map(Self)
    }
}

impl PartialSchema for PageCursor {
    fn schema() -> RefOr<Schema> {
        typed(Type::String).into()
    }
}

impl ToSchema for PageCursor {}

/// A string of 1 to `MAX` characters, without the white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed<const MAX: usize>(pub(crate) String);

impl<'de, const MAX: usize> Deserialize<'de> for Trimmed<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = format_args!("a string of 1 to {MAX} characters");
        parse_text(deserializer, expected, |text| within::<MAX>(text.trim())).map(Self)
    }
}

/// A string of 1 to `MAX` characters that are not all white space, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verbatim<const MAX: usize>(pub(crate) String);

impl<'de, const MAX: usize> Deserialize<'de> for Verbatim<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = format_args!("a string of 1 to {MAX} characters");
        parse_text(deserializer, expected, within::<MAX>).map(Self)
    }
}

/// Returns a text of a sender, if it has from 1 to so many characters and is not blank.
pub(crate) fn within<const MAX: usize>(text: &str) -> Option<String> {
    let is_blank = text.trim().is_empty();
    // PostgreSQL has no NUL in texts.
    (!is_blank && text.chars().count() <= MAX && !text.contains('\0')).then(|| text.to_owned())
}

/// An id of Dialpad in a request body: a number, or its digits as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositiveId(pub(crate) i64);

impl<'de> Deserialize<'de> for PositiveId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor).map(Self)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = i64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an id of Dialpad: a number, or its digits as a string")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        if number > 0 { Ok(number) } else { Err(E::invalid_value(Unexpected::Signed(number), &self)) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        self.visit_i64(number.unwrap_or_default())
    }
}

impl PartialSchema for PositiveId {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(WholeNumber::<1, { i64::MAX }>::schema())
            .item(typed(Type::String).pattern(Some("^[1-9][0-9]{0,17}$")))
            .description(Some("An id of Dialpad: a number, or its digits as a string."))
            .into()
    }
}

impl ToSchema for PositiveId {}

/// The id of something in the path: ours, or Dialpad's number.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct EitherId(pub(crate) String);

impl PartialSchema for EitherId {
    fn schema() -> RefOr<Schema> {
        typed(Type::String).min_length(Some(1)).into()
    }
}

impl ToSchema for EitherId {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::extract::fields::Field;

    fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, String> {
        T::deserialize(Field::Json(value)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_outside_its_range_is_refused_with_the_range() {
        type Limit = WholeNumberOr<50, 1, 500>;
        assert_eq!(Limit::default().count(), 50);
        assert_eq!(read::<Limit>(&json!(500)).map(Limit::get), Ok(500));
        for value in [json!(0), json!(501), json!("5"), json!(1.5)] {
            assert_eq!(read::<Limit>(&value), Err("must be a whole number from 1 to 500".to_owned()));
        }
        assert_eq!(read::<NonNegative>(&json!(-1)), Err("must be a whole number, 0 or more".to_owned()));
    }

    #[test]
    fn a_string_has_a_length() {
        assert_eq!(read(&json!(" ä ")), Ok(Trimmed::<1>("ä".to_owned())));
        assert_eq!(read(&json!(" ä ")), Ok(Verbatim::<3>(" ä ".to_owned())));
        for value in [json!(""), json!("  "), json!("a\u{0}"), json!("123456")] {
            let problem = Err("must be a string of 1 to 5 characters".to_owned());
            assert_eq!(read::<Trimmed<5>>(&value).map(drop), problem);
            assert_eq!(read::<Verbatim<5>>(&value).map(drop), problem);
        }
    }

    #[test]
    fn an_id_of_dialpad_is_a_number_or_its_digits() {
        for value in [json!(555), json!("555"), json!(555.0)] {
            assert_eq!(read(&value), Ok(PositiveId(555)), "{value}");
        }
        for value in [json!(0), json!(-1), json!(""), json!("+5"), json!(5.5), json!(null), json!([5])] {
            assert!(read::<PositiveId>(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_time_is_unix_time_or_rfc_3339() {
        let expected = DateTime::from_timestamp(1_704_110_403, 0);
        for text in ["1704110403", "1704110403000", "1704110403.0", "2024-01-01T13:00:03 01:00"] {
            assert_eq!(text.parse::<Timestamp>().ok().map(|time| time.0), expected, "{text}");
        }
        for text in ["", "yesterday", "0000-01-01T00:00:00Z", "1e30"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
