//! JSON as it is really sent. What is valid JSON is read by `serde_json`. Where that fails, a lenient reader takes over:
//! it replaces or drops the spots that can't be read, and says what it did. So a side field that is broken (half an
//! emoji, `NaN`, a byte that is no UTF-8) does not cost the event.
//!
//! It corrects spots, it does not guess: a text that ends too early, or that is no JSON at all, stays an error.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

/// How deep values may be nested. `serde_json` reads up to 127 levels; what is deeper is left out.
const MAX_DEPTH: usize = 120;
/// How many spots are named; the others are only counted.
const MAX_NAMED: usize = 3;
/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON value, and what had to be left out to read it.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) value: Value,
    /// What could not be read, as a sentence; `None` for valid JSON.
    pub(crate) unreadable: Option<String>,
}

/// Reads JSON, leniently where it is not valid.
///
/// # Errors
/// Says why it can't be read even so.
pub(crate) fn read(bytes: &[u8]) -> Result<Json, String> {
    let problem = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(Json { value, unreadable: None }),
        Err(problem) => problem,
    };
    let mut reader = Reader { rest: bytes, spots: Spots::default() };
    match reader.document() {
        Some(value) => Ok(Json { value, unreadable: Some(reader.spots.sentence()) }),
        None => Err(format!("the payload is not valid JSON: {problem}")),
    }
}

/// What could not be read.
#[derive(Default)]
struct Spots {
    named: Vec<String>,
    more: usize,
    /// The keys that lead to the value that is being read.
    path: Vec<String>,
}

impl Spots {
    fn note(&mut self, what: &str) {
        let spot = match self.path[..] {
            [] => what.to_owned(),
            _ => format!("{what} in {}", self.path.join(".")),
        };
        if self.named.contains(&spot) {
            return;
        }
        if self.named.len() < MAX_NAMED {
            self.named.push(spot);
        } else {
            self.more += 1;
        }
    }

    fn sentence(&self) -> String {
        let named = self.named.join(", ");
        match self.more {
            0 => format!("read without what is not valid JSON: {named}"),
            more => format!("read without what is not valid JSON: {named}, and {more} more"),
        }
    }
}

/// Reads byte after byte. Every method returns `None` where the text ends too early or is no JSON.
struct Reader<'b> {
    rest: &'b [u8],
    spots: Spots,
}

impl Reader<'_> {
    fn document(&mut self) -> Option<Value> {
        if let Some(rest) = self.rest.strip_prefix(BYTE_ORDER_MARK) {
            self.rest = rest;
            self.spots.note("a byte order mark");
        }
        let value = self.value(0)?;
        self.skip_space();
        if !self.rest.is_empty() {
            self.spots.note("text after the end");
        }
        Some(value)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn take(&mut self, expected: u8) -> bool {
        let is_there = self.peek() == Some(expected);
        if is_there {
            self.advance(1);
        }
        is_there
    }

    /// Skips white space, and between two values whatever can be no part of either.
    fn skip_space(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                0..0x20 | 0x7f.. => self.spots.note("a stray byte"),
                _ => return,
            }
            self.advance(1);
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            b'{' | b'[' if depth >= MAX_DEPTH => {
                self.spots.note("a value that is nested too deep");
                self.skip_nested()?;
                Some(Value::Null)
            }
            b'{' => self.object(depth).map(Value::Object),
            b'[' => self.array(depth).map(Value::Array),
            b'"' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Map<String, Value>> {
        self.advance(1);
        let mut object = Map::new();
        loop {
            self.skip_space();
            if self.take(b'}') {
                return Some(object);
            }
            if self.peek()? != b'"' {
                return None;
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return None;
            }
            self.spots.path.push(name.clone());
            let value = self.value(depth + 1)?;
            self.spots.path.pop();
            object.insert(name, value);
            self.end_item(b'}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Value>> {
        self.advance(1);
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(b']') {
                return Some(items);
            }
            items.push(self.value(depth + 1)?);
            self.end_item(b']')?;
        }
    }

    /// Takes the comma behind an item, unless the list ends there.
    fn end_item(&mut self, end: u8) -> Option<()> {
        self.skip_space();
        if self.peek()? == end {
            return Some(());
        }
        if !self.take(b',') {
            return None;
        }
        self.skip_space();
        if self.peek()? == end {
            self.spots.note("a comma at the end of a list");
        }
        Some(())
    }

    /// Skips an object or a list, whatever is in it.
    fn skip_nested(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                b'"' => {
                    self.string()?;
                    continue;
                }
                _ => {}
            }
            self.advance(1);
            if open == 0 {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.advance(1);
        let mut text = String::new();
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            let (part, rest) = self.rest.split_at(plain);
            let part = String::from_utf8_lossy(part);
            if let Cow::Owned(_) = part {
                self.spots.note("bytes that are no UTF-8");
            }
            text.push_str(&part);
            self.rest = rest;
            match self.peek()? {
                b'"' => {
                    self.advance(1);
                    return Some(text);
                }
                b'\\' => text.push(self.escape()?),
                control => {
                    self.advance(1);
                    self.spots.note("a control character");
                    // A line break is what was meant; there is no text with a NUL.
                    if control != 0 {
                        text.push(char::from(control));
                    }
                }
            }
        }
    }

    /// Reads an escape sequence; one that stands for no character is replaced.
    fn escape(&mut self) -> Option<char> {
        let character = match self.rest.get(1)? {
            b'u' => return self.unicode_escape(),
            escaped @ (b'"' | b'\\' | b'/') => char::from(*escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => {
                // Only the backslash: what follows it stays.
                self.advance(1);
                self.spots.note("an unknown escape sequence");
                return Some(char::REPLACEMENT_CHARACTER);
            }
        };
        self.advance(2);
        Some(character)
    }

    fn unicode_escape(&mut self) -> Option<char> {
        let Some(first) = self.code_unit(0) else {
            // A text that ends within it is a text that ends too early.
            self.rest.get(2)?;
            self.advance(2);
            self.spots.note("an incomplete escape sequence");
            return Some(char::REPLACEMENT_CHARACTER);
        };
        let second = self.code_unit(6).filter(|unit| (0xdc00..0xe000).contains(unit));
        match (first, second) {
            (0xd800..0xdc00, Some(second)) => {
                self.advance(12);
                let code = 0x1_0000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                char::from_u32(code)
            }
            (0xd800..0xe000, _) => {
                self.advance(6);
                self.spots.note("half a character");
                Some(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.advance(6);
                char::from_u32(u32::from(first))
            }
        }
    }

    /// Returns the number of an escape sequence `\u` and four digits at this distance.
    fn code_unit(&self, distance: usize) -> Option<u16> {
        let digits = self.rest.get(distance..distance + 6)?.strip_prefix(b"\\u")?;
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Reads a value that is neither quoted nor a list: a number, a word of JSON, or one that JSON does not have.
    fn word(&mut self) -> Option<Value> {
        let is_end = |byte: &u8| matches!(byte, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"' | 0..=b' ');
        let length = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        if length == 0 {
            // A value that is missing: `{"a":,"b":1}`.
            return matches!(self.peek()?, b',' | b'}' | b']').then(|| {
                self.spots.note("a missing value");
                Value::Null
            });
        }
        let word = String::from_utf8_lossy(&self.rest[..length]).into_owned();
        self.advance(length);
        if let Ok(value) = serde_json::from_str::<Value>(&word) {
            return Some(value);
        }
        Some(match word.as_str() {
            "True" => self.noted("the word True", Value::Bool(true)),
            "False" => self.noted("the word False", Value::Bool(false)),
            "None" | "undefined" => self.noted("a word for nothing", Value::Null),
            _ if is_decimal(&word) && word.contains(['e', 'E']) => {
                match word.parse().ok().and_then(Number::from_f64) {
                    Some(number) => self.noted("a number in another notation", Value::Number(number)),
                    None => self.noted("a number that JSON does not have", Value::Null),
                }
            }
            // 007, +14155550123, .5: the digits are kept as they are, because it may be an id or a phone number.
            _ if is_decimal(&word) => self.noted("a number in another notation", Value::String(word)),
            _ if word.parse::<f64>().is_ok() => self.noted("a number that JSON does not have", Value::Null),
            _ => self.noted("an unknown word", Value::Null),
        })
    }

    fn noted(&mut self, what: &str, value: Value) -> Value {
        self.spots.note(what);
        value
    }
}

/// Whether a word consists of digits, with what JSON does not allow around them: a plus sign, leading zeros, a point at
/// either end. An exponent may follow.
fn is_decimal(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (digits, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent.is_empty()
        && are_digits(exponent)
}

#[cfg(test)]
mod tests;
