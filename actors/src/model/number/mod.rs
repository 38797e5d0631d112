//! Phone numbers: the spellings of one number have one E.164 form. Pure.
//!
//! The national number plans are those of `libphonenumber`. Only its data is used: the parser of the crate removes
//! prefixes of one country from numbers of another one.

mod search;

use std::{cell::RefCell, collections::HashMap, fmt, str::FromStr};

use phonenumber::metadata::{DATABASE, Metadata};
use serde::{Deserialize, Serialize, Serializer, de::Error};

pub use self::search::NumberSearch;

/// The digits of an E.164 number, without the plus sign.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// The code of the North American numbering plan.
const NANP: u16 = 1;
/// What a withheld number looks like where it was spelled on a keypad: ANONYMOUS, RESTRICTED, UNAVAILABLE, BLOCKED,
/// UNKNOWN, PRIVATE.
const WITHHELD: [&str; 6] = ["266696687", "7378742833", "86282452253", "2562533", "8656696", "7748283"];
/// Spellings and their forms. Looking a number up in its plan takes 5 to 20 µs.
type Cached = HashMap<Box<str>, Option<Box<str>>>;

/// How many spellings a thread remembers for each region.
const MAX_CACHED: usize = 4096;
/// What nobody writes as a phone number is not looked at.
const MAX_LENGTH: usize = 64;

/// A country or territory, by its ISO 3166 code: how numbers without a country code are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region([u8; 2]);

impl Region {
    /// The United States.
    pub const US: Self = Self(*b"US");

    /// Returns the code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn plan(self) -> Option<&'static Metadata> {
        DATABASE.by_id(self.as_str())
    }
}

impl Default for Region {
    fn default() -> Self {
        Self::US
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(code: &str) -> Result<Self, UnknownRegion> {
        let region = Self(code.as_bytes().try_into().map_err(|_| UnknownRegion)?);
        let is_code = region.0.iter().all(u8::is_ascii_uppercase);
        let is_known = is_code && (region == Self::US || region.plan().is_some());
        is_known.then_some(region).ok_or(UnknownRegion)
    }
}

impl TryFrom<String> for Region {
    type Error = UnknownRegion;

    fn try_from(code: String) -> Result<Self, UnknownRegion> {
        code.parse()
    }
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse().map_err(D::Error::custom)
    }
}

/// It is no upper-case code of a country or territory with phone numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no upper-case ISO 3166 code of two letters")]
pub struct UnknownRegion;

/// Why a number can't be called as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undialable {
    /// It does not say which country it belongs to.
    #[error("must begin with + and the country code")]
    NoCountryCode,
    /// It has an extension, which would be lost.
    #[error("must not have an extension")]
    Extension,
    /// It contains something that is no part of a phone number.
    #[error(
        "must be one phone number: + and digits, with spaces, hyphens, dots, slashes and parentheses between them"
    )]
    NotANumber,
    /// No number plan has such a number.
    #[error("is no number of the country that its code names")]
    NotInPlan,
}

/// Loads the number plans, which takes tens of milliseconds. Otherwise the first number that needs one does.
pub fn load_plans() {
    let _ = main_plan(NANP);
}

/// Returns the E.164 form of a number, however it is written; `None` for what is no number. Numbers without a country
/// code are read as those of the region.
#[must_use]
pub fn e164(text: &str, region: Region) -> Option<String> {
    thread_local! {
        static CACHE: RefCell<HashMap<Region, Cached>> = RefCell::default();
    }
    if is_nanp(text) {
        return Some(text.to_owned());
    }
    if text.len() > MAX_LENGTH || !text.bytes().any(|byte| byte.is_ascii_digit() || !byte.is_ascii()) {
        return None;
    }
    CACHE.with_borrow_mut(|cache| {
        let cache = cache.entry(region).or_default();
        if let Some(known) = cache.get(text) {
            return known.as_deref().map(str::to_owned);
        }
        let number = normalize(text, region);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(text.into(), number.as_deref().map(Box::from));
        number
    })
}

/// Returns the E.164 forms of numbers that are separated by commas, separated in the same way; `None` if none is a
/// number.
#[must_use]
pub fn e164_list(numbers: &str, region: Region) -> Option<String> {
    if !numbers.contains(',') {
        return e164(numbers, region);
    }
    let numbers: Vec<String> = numbers.split(',').filter_map(|number| e164(number, region)).collect();
    (!numbers.is_empty()).then(|| numbers.join(","))
}

/// Returns the E.164 form of a number that is to be called. It has to say its country code, and nothing of it may be
/// lost or guessed.
///
/// # Errors
/// Says what is wrong with it.
pub fn dialable(text: &str) -> Result<String, Undialable> {
    if is_nanp(text) {
        return Ok(text.to_owned());
    }
    if text.len() > 4 * MAX_LENGTH {
        return Err(Undialable::NotANumber);
    }
    let spelling = Spelling::of(text).ok_or(Undialable::NotANumber)?;
    if spelling.has_extension {
        return Err(Undialable::Extension);
    }
    if !spelling.is_international {
        return Err(Undialable::NoCountryCode);
    }
    international(&spelling).ok_or(Undialable::NotInPlan)
}

/// Restores a number from a query: a plus sign that was not escaped arrives as a space.
#[must_use]
pub fn from_query(text: &str) -> String {
    match text.strip_prefix(' ').map(str::trim_start) {
        Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) => format!("+{number}"),
        _ => text.to_owned(),
    }
}

/// Whether it is a number of the North American plan in E.164 form, which is most of what Dialpad sends.
fn is_nanp(text: &str) -> bool {
    let digits = text.strip_prefix("+1").unwrap_or_default().as_bytes();
    digits.len() == 10
        && digits.iter().all(u8::is_ascii_digit)
        && [digits[0], digits[3]].iter().all(|first| *first >= b'2')
}

fn normalize(text: &str, region: Region) -> Option<String> {
    let spelling = Spelling::of(text)?;
    if WITHHELD.contains(&spelling.digits.as_str()) {
        return None;
    }
    if spelling.is_international { international(&spelling) } else { national(&spelling.digits, region) }
}

/// A number as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spelling {
    digits: String,
    /// Whether a plus sign precedes the digits.
    is_international: bool,
    /// Whether it has a zero in parentheses, which is dialled only within a country.
    has_trunk_zero: bool,
    has_extension: bool,
}

impl Spelling {
    /// Reads a text that is one phone number; `None` for any other.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = strip_word(text, "tel:").unwrap_or(text);
        let mut spelling = Self { has_trunk_zero: text.contains("(0)"), ..Self::default() };
        for (index, character) in text.char_indices() {
            match character {
                '+' | '\u{ff0b}' if spelling.digits.is_empty() && !spelling.is_international => {
                    spelling.is_international = true;
                }
                ' ' | '\t' | '-' | '.' | '(' | ')' | '/' | '[' | ']' | '~' => {}
                // Spaces, hyphens and dots of other scripts; marks of the direction of writing, which are copied unseen.
                '\u{a0}'
                | '\u{ad}'
                | '\u{2000}'..='\u{2015}'
                | '\u{202a}'..='\u{202f}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2212}'
                | '\u{3000}'
                | '\u{feff}'
                | '\u{ff08}'
                | '\u{ff09}'
                | '\u{ff0d}'
                | '\u{ff0e}' => {}
                _ => match digit(character) {
                    Some(digit) => spelling.digits.push(digit),
                    None if is_extension(&text[index..]) => {
                        spelling.has_extension = true;
                        break;
                    }
                    None => return None,
                },
            }
        }
        (!spelling.digits.is_empty()).then_some(spelling)
    }
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// Returns a digit of any script that phones write, as ASCII.
fn digit(character: char) -> Option<char> {
    const ZEROS: [char; 4] = ['0', '\u{660}', '\u{6f0}', '\u{ff10}'];
    let value = ZEROS.iter().find_map(|zero| {
        let value = u32::from(character).checked_sub(u32::from(*zero))?;
        (value < 10).then_some(value)
    });
    value.and_then(|value| char::from_digit(value, 10))
}

/// Whether what follows a number is an extension: `x5`, `ext. 5`, `;ext=5`, `#5`, `,,5`.
fn is_extension(text: &str) -> bool {
    const WORDS: [&str; 7] = [";ext=", "extension", "ext", "x", "#", ",", ";"];
    let number = WORDS.iter().find_map(|word| strip_word(text, word));
    let number = number.map(|number| number.trim_start_matches([' ', '.', ':', ',', ';', '=', '#']));
    number.is_some_and(|number| {
        let number = number.trim_end_matches([' ', '#']);
        !number.is_empty() && number.len() <= 10 && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Reads the digits behind a plus sign. A trunk prefix that people write behind the country code, as in `+44 (0)20`, is
/// removed where the plan has no number with it.
fn international(spelling: &Spelling) -> Option<String> {
    let (code, national) = split_country_code(&spelling.digits)?;
    let without_zero =
        || national.strip_prefix('0').filter(|rest| spelling.has_trunk_zero && is_valid(code, rest));
    let found = in_plan(code, national).or_else(without_zero).or_else(|| {
        // The plans lag behind reality: a new range is accepted if its numbers are as long as others of the country.
        let is_possible = !national.starts_with('0') && has_possible_length(code, national);
        is_possible.then_some(national)
    })?;
    let number = format!("+{code}{found}");
    DIGITS.contains(&(number.len() - 1)).then_some(number)
}

/// Reads digits without a plus sign, as they are dialled in the region.
fn national(digits: &str, region: Region) -> Option<String> {
    let code = region.plan()?.country_code();
    let abroad = digits.strip_prefix(international_prefix(code)).and_then(|rest| {
        let (code, national) = split_country_code(rest)?;
        Some((code, in_plan(code, national)?))
    });
    let at_home = || Some((code, in_plan(code, digits)?));
    let with_code = || {
        let national = digits.strip_prefix(&*code.to_string())?;
        is_valid(code, national).then_some((code, national))
    };
    let (code, national) = abroad.or_else(at_home).or_else(with_code)?;
    Some(format!("+{code}{national}"))
}

/// What is dialled before the code of another country.
fn international_prefix(code: u16) -> &'static str {
    match code {
        NANP => "011",
        7 => "810",
        61 => "0011",
        81 => "010",
        _ => "00",
    }
}

/// No country code begins with another one.
fn split_country_code(digits: &str) -> Option<(u16, &str)> {
    (1..=3).find_map(|length| {
        let (code, national) = digits.split_at_checked(length)?;
        let code: u16 = code.parse().ok().filter(|_| !code.starts_with('0'))?;
        DATABASE.by_code(&code).map(|_| (code, national))
    })
}

/// Returns the number as the plan has it: as it is written, otherwise without the trunk prefix.
fn in_plan(code: u16, national: &str) -> Option<&str> {
    if is_valid(code, national) {
        return Some(national);
    }
    let prefix = main_plan(code).and_then(Metadata::national_prefix)?;
    national.strip_prefix(prefix).filter(|rest| is_valid(code, rest))
}

fn main_plan(code: u16) -> Option<&'static Metadata> {
    let plans = DATABASE.by_code(&code)?;
    let main = plans.iter().find(|plan| plan.is_main_country_for_code());
    main.or(plans.first()).copied()
}

fn is_valid(code: u16, national: &str) -> bool {
    let plans = DATABASE.by_code(&code).unwrap_or_default();
    plans.into_iter().any(|plan| {
        let kinds = plan.descriptors();
        let all = [
            kinds.fixed_line(),
            kinds.mobile(),
            kinds.toll_free(),
            kinds.premium_rate(),
            kinds.shared_cost(),
            kinds.personal_number(),
            kinds.voip(),
            kinds.pager(),
            kinds.uan(),
            kinds.voicemail(),
        ];
        kinds.general().is_match(national) && all.into_iter().flatten().any(|kind| kind.is_match(national))
    })
}

fn has_possible_length(code: u16, national: &str) -> bool {
    if code == NANP {
        return national.len() == 10 && !national.starts_with('1');
    }
    let Some(plan) = main_plan(code) else { return false };
    let lengths = plan.descriptors().general().possible_length();
    u16::try_from(national.len()).is_ok_and(|length| lengths.contains(&length))
}

#[cfg(test)]
mod tests;
