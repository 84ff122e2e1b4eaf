//! Compares JSON values for `equals`, `contains` and `json`.

use std::{borrow::Cow, collections::BTreeMap, io, ops::Range};

use runner_model::alike::{differing_points, look_alike};
use runner_model::json::{Json, is_integer, is_kept};
use runner_model::row::{Difference, MAX_DIFFERENCES};
use runner_model::{Text, units::grouped, visible::cut_around_difference};
use runner_sandbox::cut;
use serde_json::Value;

use crate::schema::PathPart;

/// Bytes of a value inside a message.
pub(super) const MAX_SHORT: usize = 80;
/// Bytes of the differences that are listed, before the last one.
const MAX_LISTED: usize = 8 << 10;
/// Items that only one of two arrays has, above which they are one difference.
const MAX_ITEMS: usize = 3;
/// Keys of an object that are compared with a missing one.
const MAX_KEYS: usize = 10_000;
/// Bytes of a value that are compared to find its first difference, and of a path.
const MAX_COMPARED: usize = 4 << 10;

/// Returns whether an output is equal to a value. Numbers are compared by value, so `1` equals `1.0`.
pub(super) fn is_equal(expected: &Value, output: &Json<'_>) -> bool {
    let mut differences = Differences { most: 1, ..Differences::default() };
    Comparison::EXACT.compare(&mut Vec::new(), expected, output, &mut differences);
    differences.count == 0
}

/// Returns whether `value` is written as exactly this compact JSON. If not, they may be equal all the same.
pub(super) fn is_written_as(value: &Value, json: &str) -> bool {
    /// The part of a text that was not written yet.
    struct Rest<'a>(&'a [u8]);

    impl io::Write for Rest<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut rest = Rest(json.as_bytes());
    serde_json::to_writer(&mut rest, value).is_ok() && rest.0.is_empty()
}

/// The rules by which an output is compared with an expected value.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    /// Allowed difference of numbers.
    pub(super) tolerance: f64,
    /// Whether objects of the output may have more keys than expected. Arrays must have the same length.
    pub(super) allows_more_keys: bool,
}

/// The places where an output differs.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) count: u64,
    /// Number after which the comparison may end; 0 for no limit.
    most: u64,
    pub(super) listed: Vec<Difference<'static>>,
    /// Bytes of `listed` as text.
    bytes: usize,
}

impl Comparison {
    pub(super) const EXACT: Self = Self { tolerance: 0.0, allows_more_keys: false };

    /// Returns all places where `output` differs from `expected`.
    pub(super) fn differences(&self, expected: &Value, output: &Json<'_>) -> Differences {
        let mut differences = Differences::default();
        self.compare(&mut Vec::new(), expected, output, &mut differences);
        differences
    }

    fn compare<'a>(
        &self,
        path: &mut Vec<PathPart<'a>>,
        expected: &'a Value,
        output: &'a Json<'_>,
        differences: &mut Differences,
    ) {
        if differences.most > 0 && differences.count >= differences.most {
            return;
        }
        match (expected, output) {
            (Value::Object(expected), Json::Object(output)) => {
                for (key, expected) in expected {
                    path.push(PathPart::Key(key));
                    match output.get(key.as_str()) {
                        Some(output) => self.compare(path, expected, output, differences),
                        None => differences.add(path, || missing_key(key, expected, output)),
                    }
                    path.pop();
                }
                let more = output.iter().filter(|(key, _)| !expected.contains_key(&***key));
                for (key, output) in more.filter(|_| !self.allows_more_keys) {
                    path.push(PathPart::Key(key));
                    differences.unexpected(path, output);
                    path.pop();
                }
            }
            (Value::Array(expected), Json::Array(output)) => {
                let both = expected.len().min(output.len());
                let all = expected.len().max(output.len());
                for index in 0..both {
                    path.push(PathPart::Item(index));
                    self.compare(path, &expected[index], &output[index], differences);
                    path.pop();
                }
                if all - both > MAX_ITEMS {
                    let words = if expected.len() > both { "missing" } else { "not expected" };
                    return differences.add_run(path, both..all, words);
                }
                for (index, expected) in expected.iter().enumerate().skip(both) {
                    path.push(PathPart::Item(index));
                    differences.add(path, || missing(expected));
                    path.pop();
                }
                for (index, output) in output.iter().enumerate().skip(both) {
                    path.push(PathPart::Item(index));
                    differences.unexpected(path, output);
                    path.pop();
                }
            }
            (Value::Number(_), Json::Number(number))
                if self.tolerance > 0.0 && is_integer(number) && !is_kept(number) =>
            {
                let number = cut(MAX_SHORT, number);
                let words = "has more than 64 bits, too many for a tolerance";
                differences.add_words(path, "", format!("the integer {number} {words}"));
            }
            (expected, output) if self.is_same(expected, output) => {}
            (expected, output) => differences.add(path, || {
                let texts = [cut(MAX_COMPARED, expected), cut(MAX_COMPARED, output)];
                let texts = cut_around_difference([&texts[0], &texts[1]], MAX_SHORT);
                let [expected_text, actual] = texts.map(|text| Some(text.into()));
                let code_points = text_difference(expected, output);
                Difference { expected: expected_text, actual, code_points, ..Difference::default() }
            }),
        }
    }

    /// Compares values without parts.
    fn is_same(&self, expected: &Value, output: &Json<'_>) -> bool {
        match (expected, output) {
            (Value::Number(expected), Json::Number(number)) => {
                is_close(&expected.to_string(), number, self.tolerance)
            }
            (Value::String(expected), Json::String(text)) => expected == text,
            (Value::Bool(expected), Json::Word(word)) => *word == expected.to_string(),
            (Value::Null, Json::Word(word)) => *word == "null",
            _ => false,
        }
    }
}

impl Differences {
    fn unexpected(&mut self, path: &[PathPart<'_>], output: &Json<'_>) {
        let actual = || Some(cut(MAX_SHORT, output).into());
        self.add(path, || Difference { actual: actual(), ..Difference::default() });
    }

    /// Adds items of an array as one difference.
    fn add_run(&mut self, path: &[PathPart<'_>], items: Range<usize>, words: &str) {
        let last = [path, &[PathPart::Item(items.end - 1)]].concat();
        let first = [path, &[PathPart::Item(items.start)]].concat();
        let count = grouped(items.len() as u64);
        self.add_words(
            &first,
            &format!(" to ${}", shown(&last)),
            format!("{words} ({count} elements)"),
        );
    }

    /// Adds a difference without values. `to` is the end of its path.
    fn add_words(&mut self, path: &[PathPart<'_>], to: &str, words: String) {
        self.add(path, || Difference {
            path: to.to_owned().into(),
            message: Some(words.into()),
            ..Difference::default()
        });
    }

    /// Adds a difference whose `path` is only the end of the path.
    fn add(&mut self, path: &[PathPart<'_>], make: impl FnOnce() -> Difference<'static>) {
        self.count += 1;
        if self.bytes < MAX_LISTED && self.listed.len() < MAX_DIFFERENCES {
            let mut difference = make();
            difference.path = format!("${}{}", shown(path), &*difference.path).into();
            self.bytes += difference.to_string().len();
            self.listed.push(difference);
        }
    }
}

/// Returns a missing value.
fn missing(expected: &Value) -> Difference<'static> {
    Difference { expected: Some(cut(MAX_SHORT, expected).into()), ..Difference::default() }
}

/// Returns the value of a missing key, with the code points of a key of the object that looks alike.
fn missing_key(
    key: &str,
    expected: &Value,
    output: &BTreeMap<Cow<'_, str>, Json<'_>>,
) -> Difference<'static> {
    let alike = output.keys().take(MAX_KEYS).find(|other| look_alike(key, other));
    let code_points = alike.and_then(|other| differing_points(key, other)).map(Text::from);
    Difference { code_points, ..missing(expected) }
}

/// Returns the code points of the first difference of two texts, if it cannot be seen.
pub(super) fn text_difference(expected: &Value, output: &Json<'_>) -> Option<Text<'static>> {
    let (Value::String(expected), Json::String(text)) = (expected, output) else { return None };
    differing_points(expected, text).map(Text::from)
}

fn shown(path: &[PathPart<'_>]) -> String {
    cut(MAX_COMPARED, path.iter().map(PathPart::to_string).collect::<String>())
}

/// Compares two numbers of JSON.
fn is_close(left: &str, right: &str, tolerance: f64) -> bool {
    // Above 2^53, different integers are the same float.
    let left = exact(left);
    let right = exact(right);
    if left == right {
        return true;
    }
    let difference = match (left.parse::<i128>(), right.parse::<i128>()) {
        (Ok(left), Ok(right)) => left.abs_diff(right) as f64,
        _ => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => (left - right).abs(),
            _ => f64::INFINITY,
        },
    };
    // Without a tolerance, an integer and the float nearest to it differ.
    tolerance > 0.0 && difference <= tolerance
}

/// Returns a text that equal numbers share: all digits of a whole number, the shortest ones of another float, or the number
/// itself if a float does not keep it.
fn exact(number: &str) -> Cow<'_, str> {
    if is_integer(number) {
        return if number == "-0" { "0".into() } else { number.into() };
    }
    let float: f64 = number.parse().unwrap_or(f64::NAN);
    match float {
        _ if !is_kept(number) => number.into(),
        0.0 => "0".into(),
        // Without a precision, digits that a float does not distinguish are zeros.
        _ if float.fract() == 0.0 => format!("{float:.0}").into(),
        _ => float.to_string().into(),
    }
}

/// Returns the most bytes of a reply as a tree of values, for a provider with this `limits.reply`.
pub fn max_tree_bytes(reply: u64) -> usize {
    usize::try_from(reply.saturating_mul(6)).map_or(usize::MAX, |bytes| bytes.max(24 << 20))
}

/// Estimates the bytes of a JSON text as a tree of values, without parsing it: 4 MiB of text can become 400 MiB.
pub fn tree_bytes(json: &str) -> usize {
    let mut bytes = json.len();
    let mut is_text = false;
    let mut is_escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            // A new object has room for eleven entries. A new array has room for four items and doubles it.
            b'{' if !is_text => bytes += 640,
            b'[' | b':' if !is_text => bytes += 144,
            b',' if !is_text => bytes += 80,
            _ => {}
        }
    }
    bytes
}

/// Returns the text between fences as models write them around JSON, or else the text without white space at its ends.
pub fn without_fence(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim();
    let fenced = || {
        let (fence, inner) = text.split_at(text.find(|character| character != '`')?);
        let inner = inner.strip_suffix(fence).filter(|_| fence.len() >= 3)?;
        let (language, code) = inner.split_once('\n')?;
        let is_json = ["", "json"].iter().any(|name| language.trim().eq_ignore_ascii_case(name));
        is_json.then_some(code.trim())
    };
    fenced().unwrap_or(text)
}

#[cfg(test)]
#[path = "../tests/json.rs"]
mod tests;
