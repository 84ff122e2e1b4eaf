//! JSON as text: [`parse`] refuses parts that readers disagree on, and [`Json`] keeps numbers as they are written.
//!
//! Most readers round long numbers, and keep the last of two equal keys. Both change a value silently.

use std::{
    borrow::Cow, collections::BTreeMap, fmt, io, iter::Peekable, marker::PhantomData, ops::Range,
};

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Value, value::RawValue};

use super::Text;

/// A part of JSON that readers disagree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// A sentence without places.
    pub message: String,
    /// Path of the object or number, such as `$.a[1]`.
    pub path: String,
    /// Bytes of the fault. For a repeated key, then those of the first one.
    pub places: Vec<Range<usize>>,
    /// Line and column of each place, for people.
    lines: Vec<(usize, usize)>,
}

/// Numbers that a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    Any,
    /// Numbers for which [`is_kept`] holds.
    Kept,
}

/// JSON with its numbers as they are written. Keys are sorted.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`, `true` or `false`.
    Word(&'a str),
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(BTreeMap<Cow<'a, str>, Self>),
}

/// Parses JSON that a user wrote.
///
/// # Errors
///
/// A mistake in its syntax or a [`JsonFault`], with its place.
pub fn parse(json: &str) -> Result<Value, String> {
    let value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    match find_fault(json, Numbers::Kept) {
        Some(fault) => Err(fault.to_string()),
        None => Ok(value),
    }
}

/// Finds a key that an object has twice, or a number that is not accepted. `json` must be valid.
pub fn find_fault(json: &str, numbers: Numbers) -> Option<JsonFault> {
    // The keys of all open objects. For each open object or array, the number of keys before it, and its items so far.
    let mut keys = Vec::<(Cow<'_, str>, Range<usize>)>::new();
    let mut open = Vec::new();
    let mut tokens = Tokens { json, at: 0 }.peekable();
    while let Some((at, token)) = tokens.next() {
        match token.as_bytes()[0] {
            b'{' | b'[' => open.push((keys.len(), 0_usize)),
            b'}' | b']' => {
                let (first, _) = open.pop()?;
                keys[first..].sort_unstable_by(|a, b| (&a.0, a.1.start).cmp(&(&b.0, b.1.start)));
                if let Some(pair) = keys[first..].windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    let message = format!("the key `{}` is in one object twice", pair[0].0);
                    let places = vec![pair[1].1.clone(), pair[0].1.clone()];
                    return Some(JsonFault::new(
                        json,
                        message,
                        path(&open, &keys[..first]),
                        places,
                    ));
                }
                keys.truncate(first);
            }
            b',' => open.last_mut()?.1 += 1,
            b'"' if tokens.peek().is_some_and(|(_, next)| *next == ":") => {
                keys.push((text_of(token), at..at + token.len()));
            }
            b'-' | b'0'..=b'9' if numbers == Numbers::Kept && !is_kept(token) => {
                let message = if is_integer(token) {
                    format!("the integer {token} has more than 64 bits")
                } else {
                    format!("the number {token} has more digits than a float")
                };
                let place = at..at + token.len();
                return Some(JsonFault::new(json, message, path(&open, &keys), vec![place]));
            }
            _ => {}
        }
    }
    None
}

/// Returns the path of the current value in open objects and arrays.
fn path(open: &[(usize, usize)], keys: &[(Cow<'_, str>, Range<usize>)]) -> String {
    let ends = open.iter().skip(1).map(|(first, _)| *first).chain([keys.len()]);
    let steps = open.iter().zip(ends).map(|((first, items), end)| match keys[*first..end].last() {
        Some((key, _)) => format!(".{key}"),
        None => format!("[{items}]"),
    });
    steps.fold("$".to_owned(), |path, step| path + &step)
}

/// Returns whether a reader keeps a number: as an integer of 64 bits, or as a float that has its digits when it is rounded
/// to as many.
pub fn is_kept(number: &str) -> bool {
    // More significant digits than any float has.
    const MAX_DIGITS: usize = 768;
    if is_integer(number) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let digits = significant_digits(number);
    let float = number.parse().unwrap_or(f64::NAN);
    let places = digits.len().saturating_sub(1);
    places < MAX_DIGITS && significant_digits(&format!("{float:.places$e}")) == digits
}

fn significant_digits(number: &str) -> String {
    let digits = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

/// Returns whether a number is written without a fraction and an exponent.
pub fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

impl JsonFault {
    fn new(json: &str, message: String, path: String, places: Vec<Range<usize>>) -> Self {
        let line = |place: &Range<usize>| {
            let before = &json[..place.start];
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
        };
        let lines = places.iter().map(line).collect();
        Self { message, path, places, lines }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at `{}`: {}", self.path, self.message)?;
        let words = [", at", " and at"].into_iter();
        words.zip(&self.lines).try_for_each(|(word, (line, column))| {
            write!(formatter, "{word} line {line} column {column}")
        })
    }
}

impl<'a> Json<'a> {
    /// Reads JSON. `None` if it has more levels than serde reads.
    pub fn of(json: &'a RawValue) -> Option<Self> {
        const MAX_LEVELS: usize = 127;
        Self::read(&mut Tokens { json: json.get(), at: 0 }.peekable(), MAX_LEVELS)
    }

    fn read(tokens: &mut Peekable<Tokens<'a>>, levels: usize) -> Option<Self> {
        let (_, token) = tokens.next()?;
        Some(match token.as_bytes()[0] {
            b'{' => {
                let mut entries = BTreeMap::new();
                loop {
                    match tokens.next()?.1 {
                        "}" => break Self::Object(entries),
                        "," => {}
                        key => {
                            // The colon.
                            tokens.next()?;
                            entries
                                .insert(text_of(key), Self::read(tokens, levels.checked_sub(1)?)?);
                        }
                    }
                }
            }
            b'[' => {
                let mut items = Vec::new();
                loop {
                    match tokens.peek()?.1 {
                        "]" | "," => {
                            if tokens.next()?.1 == "]" {
                                break Self::Array(items);
                            }
                        }
                        _ => items.push(Self::read(tokens, levels.checked_sub(1)?)?),
                    }
                }
            }
            b'"' => Self::String(text_of(token)),
            b'-' | b'0'..=b'9' => Self::Number(token),
            _ => Self::Word(token),
        })
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(text) | Self::Number(text) => {
                let raw: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(entries) => serializer.collect_map(entries),
        }
    }
}

/// Writes compact JSON, or with `#` indented JSON.
impl fmt::Display for Json<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A caller may need only the start of a long indented value, so it is written piece by piece.
        struct Writer<'f, 'b>(&'f mut fmt::Formatter<'b>);
        impl io::Write for Writer<'_, '_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
                self.0.write_str(text).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let is_indented = formatter.alternate();
        let writer = Writer(formatter);
        let write = if is_indented { serde_json::to_writer_pretty } else { serde_json::to_writer };
        write(writer, self).map_err(|_| fmt::Error)
    }
}

/// Returns the text of a string.
fn text_of(string: &str) -> Cow<'_, str> {
    serde_json::from_str::<Text<'_>>(string).map_or(Cow::Borrowed(string), |text| text.0)
}

/// The tokens of valid JSON, each with its position.
struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.json.as_bytes()[self.at..];
        let start = self.at + rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let token = &self.json.as_bytes()[start..];
        let length = match token[0] {
            b'"' => {
                let mut is_escaped = false;
                token[1..].iter().position(|byte| {
                    let ends = *byte == b'"' && !is_escaped;
                    is_escaped = *byte == b'\\' && !is_escaped;
                    ends
                })? + 2
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => token.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(token.len()),
        };
        self.at = start + length;
        Some((start, &self.json[start..self.at]))
    }
}

/// Parses a value. `None` if it has another form.
pub fn read_part<'a, T: Deserialize<'a>>(json: Option<&'a RawValue>) -> Option<T> {
    json.and_then(|json| serde_json::from_str(json.get()).ok())
}

/// Calls `each` with the items of an array: one can have millions of them. `None` and `null` have none.
///
/// # Errors
///
/// JSON that is not an array, or an item of another form. `each` has got the items before it.
pub fn each_item<'a, T: Deserialize<'a>>(
    array: Option<&'a RawValue>,
    each: &mut dyn FnMut(T),
) -> serde_json::Result<()> {
    let array = array.map(RawValue::get).filter(|array| *array != "null");
    let Some(array) = array else { return Ok(()) };
    let items = ItemSeed { each, item: PhantomData };
    items.deserialize(&mut serde_json::Deserializer::from_str(array))
}

struct ItemSeed<'f, T> {
    each: &'f mut dyn FnMut(T),
    item: PhantomData<T>,
}

impl<'a, T: Deserialize<'a>> DeserializeSeed<'a> for ItemSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, T: Deserialize<'a>> Visitor<'a> for ItemSeed<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.each)(item);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../tests/json.rs"]
mod tests;
