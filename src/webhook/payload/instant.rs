//! Times in payloads. Dialpad sends unix milliseconds; other senders write every form that ISO 8601 and their languages
//! have. A time without a zone is UTC.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SubsecRound, TimeDelta, Timelike, Utc};
use serde_json::Value;

/// Forms of a date and a time of the day, in UTC. A fraction of a second may follow.
const NAIVE: [&str; 5] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y%m%dT%H%M%S%.f",
    "%Y/%m/%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H%M%S%.f",
];
/// Forms of a date: it begins at midnight UTC.
const DATES: [&str; 3] = ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d"];
/// From these numbers on, a unix time counts milliseconds, microseconds, nanoseconds: as the unit before, each would be
/// beyond the year 5000.
const UNITS: [(f64, i64); 4] = [(1e17, 1_000_000_000), (1e14, 1_000_000), (1e11, 1_000), (0.0, 1)];

/// Times end about the year 2200.
const MAX_SINCE_EPOCH: TimeDelta = TimeDelta::days(365 * 230);

/// It is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads a time; `None` for 0, which Dialpad sends for "none".
pub(super) fn read(value: &Value) -> Result<Option<DateTime<Utc>>, Unreadable> {
    let instant = match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) => from_whole(whole),
            None => number.as_f64().and_then(from_fraction),
        },
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => from_text(text.trim()),
        _ => None,
    };
    let is_zero = match value {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().parse() == Ok(0.0),
        _ => false,
    };
    if is_zero {
        return Ok(None);
    }
    // Outside these years it is no time but a placeholder: the smallest or the largest number or date of a language.
    let years = DateTime::UNIX_EPOCH..DateTime::UNIX_EPOCH + MAX_SINCE_EPOCH;
    instant.filter(|instant| years.contains(instant)).map(Some).ok_or(Unreadable)
}

fn from_text(text: &str) -> Option<DateTime<Utc>> {
    let is_compact_date = text.len() == 8 && text.starts_with(['1', '2']) && from_date(text).is_some();
    if !is_compact_date {
        if let Ok(whole) = text.parse() {
            return from_whole(whole);
        }
        if let Ok(number) = text.parse() {
            return from_fraction(number);
        }
    }
    from_iso(text)
        .or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|instant| instant.to_utc()))
        .map(stored)
}

fn from_iso(text: &str) -> Option<DateTime<Utc>> {
    // Java adds the name of the zone: `2024-01-01T12:00:00+01:00[Europe/Berlin]`.
    let text = text.split_once('[').map_or(text, |(instant, _)| instant).trim();
    let (local, offset) = split_zone(text)?;
    let local = local.trim().replacen([' ', 't'], "T", 1).replace(',', ".");
    let naive = NAIVE.iter().find_map(|form| NaiveDateTime::parse_from_str(&local, form).ok());
    let naive = naive.or_else(|| from_date(&local))?;
    naive.and_local_timezone(offset).single().map(|instant| instant.to_utc())
}

fn from_date(text: &str) -> Option<NaiveDateTime> {
    let date = DATES.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())?;
    date.and_hms_opt(0, 0, 0)
}

/// Splits off the zone: `Z`, `UTC`, `+01:00`, `+0100`, `+01`. Without one, it is UTC.
fn split_zone(text: &str) -> Option<(&str, FixedOffset)> {
    let utc = FixedOffset::east_opt(0)?;
    for name in ["Z", "z", "UTC", "GMT"] {
        if let Some(local) = text.strip_suffix(name) {
            return Some((local, utc));
        }
    }
    // The hyphens of a date are no zone.
    let time_at = text.find(['T', 't', ' ']).filter(|at| *at >= 8);
    let Some(sign_at) = time_at.and_then(|at| text[at..].rfind(['+', '-', '\u{2212}']).map(|sign| at + sign))
    else {
        return Some((text, utc));
    };
    let (local, zone) = text.split_at(sign_at);
    let is_east = zone.starts_with('+');
    let digits: String = zone.chars().skip(1).filter(|character| *character != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(2);
    let minutes = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes * 60;
    let is_valid = minutes < 60 && seconds < 24 * 3600;
    let offset = FixedOffset::east_opt(if is_east { seconds } else { -seconds })?;
    is_valid.then_some((local, offset))
}

fn from_whole(number: i64) -> Option<DateTime<Utc>> {
    #[expect(clippy::cast_precision_loss, reason = "only its magnitude counts")]
    let (_, per_second) = UNITS.into_iter().find(|(from, _)| number as f64 >= *from)?;
    let nanoseconds = number.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    DateTime::from_timestamp(number.div_euclid(per_second), nanoseconds).map(stored)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a cast saturates, and is out of range then"
)]
fn from_fraction(number: f64) -> Option<DateTime<Utc>> {
    let (_, per_second) = UNITS.into_iter().find(|(from, _)| number >= *from)?;
    let milliseconds = (number * (1000.0 / per_second as f64)).round();
    DateTime::from_timestamp_millis(milliseconds as i64)
}

/// Returns the time as both databases store it: in microseconds, and without leap seconds, which PostgreSQL counts as the
/// beginning of the next minute.
fn stored(instant: DateTime<Utc>) -> DateTime<Utc> {
    if instant.nanosecond() >= 1_000_000_000 {
        return instant.trunc_subsecs(0).with_nanosecond(0).unwrap_or(instant) + TimeDelta::seconds(1);
    }
    instant.trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use serde_json::json;

    use super::*;

    fn shown(value: &Value) -> String {
        match read(value) {
            Ok(Some(instant)) => instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Ok(None) => "absent".to_owned(),
            Err(Unreadable) => "unreadable".to_owned(),
        }
    }

    #[test]
    fn a_time_may_come_in_every_form() {
        for value in [
            json!(1_704_110_400),
            json!("1704110400"),
            json!(" 1704110400 "),
            json!(1_704_110_400_000_i64),
            json!(1_704_110_400_000_000_i64),
            json!(1_704_110_400_000_000_000_i64),
            json!(1_704_110_400.0),
            json!("1704110400.0"),
            json!("1704110400000.0"),
            json!("2024-01-01T12:00:00Z"),
            json!("2024-01-01t12:00:00z"),
            json!("2024-01-01T13:00:00+01:00"),
            json!("2024-01-01T13:00:00+0100"),
            json!("2024-01-01T13:00:00+01"),
            json!("2024-01-01T04:00:00-0800"),
            json!("2024-01-01T13:00:00.000+01:00[Europe/Berlin]"),
            json!("2024-01-01T12:00:00"),
            json!("2024-01-01 12:00:00"),
            json!("2024-01-01 12:00:00 UTC"),
            json!("2024-01-01 13:00:00 +0100"),
            json!("2024-01-01T12:00"),
            json!("2024-01-01T12:00Z"),
            json!("20240101T120000Z"),
            json!("2024-01-01T12:00:00,000Z"),
            json!("Mon, 01 Jan 2024 12:00:00 GMT"),
            json!("Mon, 1 Jan 2024 13:00:00 +0100"),
            json!("2024-01-01T11:59:60Z"),
            json!("2024-01-01T11:59:60.5"),
            json!("2024-01-01T12:59:60+01:00"),
        ] {
            assert_eq!(shown(&value), "2024-01-01T12:00:00Z", "{value}");
        }
        for (value, expected) in [
            (json!("2024-01-01"), "2024-01-01T00:00:00Z"),
            (json!("20240101"), "2024-01-01T00:00:00Z"),
            (json!("2024-01-01T12:00:00.123456"), "2024-01-01T12:00:00.123456Z"),
            (json!("2024-01-01T12:00:00.123456789Z"), "2024-01-01T12:00:00.123456Z"),
            (json!(1_704_110_400_123_456_i64), "2024-01-01T12:00:00.123456Z"),
            (json!(1_704_110_400.25), "2024-01-01T12:00:00.250Z"),
            (json!(1_704_110_400_250.4), "2024-01-01T12:00:00.250Z"),
            (json!("1704110400.25"), "2024-01-01T12:00:00.250Z"),
            (json!("2023-12-31T23:59:60Z"), "2024-01-01T00:00:00Z"),
            (json!(5), "1970-01-01T00:00:05Z"),
        ] {
            assert_eq!(shown(&value), expected, "{value}");
        }
    }

    #[test]
    fn zero_is_no_time_and_what_is_no_time_is_an_error() {
        for value in [json!(0), json!("0"), json!(0.0), json!("0.0"), json!(" ")] {
            assert_eq!(shown(&value), "absent", "{value}");
        }
        for value in [
            json!("soon"),
            json!("12:00"),
            json!(i64::MAX),
            json!(-1),
            json!("-5"),
            json!(true),
            json!([5]),
            json!({"at": 5}),
            json!("2024-13-01"),
            json!("2024-02-30T12:00:00"),
            json!("2024-01-01T25:00:00Z"),
            json!("2024-01-01T12:00:00+25:00"),
            json!("2024-01-01T12:00:00+1"),
            json!("0001-01-01T00:00:00"),
            json!("9999-12-31T23:59:59Z"),
            json!("NaN"),
            json!("1e999"),
            json!("01/02/2024"),
            json!("2024-01-01T12:00:00 Berlin"),
        ] {
            assert_eq!(shown(&value), "unreadable", "{value}");
        }
    }
}
