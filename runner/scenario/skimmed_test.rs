//! [`SkimmedTest`]: the parts of a test's line, found without a look into them.

use std::io;

use memchr::memmem;
use serde_json::value::RawValue;

use super::test_line::{TestLine, read_repeats};
use crate::model::json_length;

/// How the line of a test begins.
const EXPECT: &[u8] = b"{\"expect\":";
/// What follows, if it hands over no file.
const NO_FILES: &[u8] = b",\"files\":[],\"id\":";

/// The parts of a test's line, as they are written.
///
/// Whoever goes through all tests for a part of each has it ten times sooner than by reading all of the line as JSON, which
/// is what a line takes whose keys are in another order.
pub(super) struct SkimmedTest<'a> {
    pub(super) expect: &'a str,
    pub(super) files: &'a str,
    pub(super) id: &'a str,
    pub(super) input: &'a str,
    pub(super) meta: Option<&'a str>,
    pub(super) providers: &'a str,
    pub(super) reference: Option<&'a str>,
    pub(super) repeat: u32,
    pub(super) repeats: Option<&'a str>,
    pub(super) retries: &'a str,
    pub(super) tags: &'a str,
    /// Nanoseconds, as the next one.
    pub(super) timeout: Option<u64>,
    pub(super) trial_timeout: Option<u64>,
}

impl<'a> SkimmedTest<'a> {
    pub(super) fn read(line: &'a [u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        if let Some(skimmed) = Self::skim(text) {
            return Ok(skimmed);
        }
        let line = TestLine::read(line)?;
        Ok(Self {
            expect: line.expect.get(),
            files: line.files.get(),
            id: line.id,
            input: line.input.get(),
            meta: line.meta.map(RawValue::get),
            providers: line.providers.get(),
            reference: line.reference.map(RawValue::get),
            repeat: line.repeat,
            repeats: line.repeats.map(RawValue::get),
            retries: line.retries.get(),
            tags: line.tags.get(),
            timeout: line.timeout,
            trial_timeout: line.trial_timeout,
        })
    }

    /// How many trials the test makes.
    pub(super) fn trials(&self) -> io::Result<u64> {
        let providers = match self.providers {
            // As most tests of a scenario with one provider.
            "[0]" => 1,
            text => serde_json::from_str::<Vec<u32>>(text)?.len() as u64,
        };
        Ok(providers * read_repeats(self.repeat, self.repeats)?.count())
    }

    /// `None` says nothing of a line but that its keys are not where a suite has them.
    fn skim(line: &'a str) -> Option<Self> {
        let mut rest = line;
        let expect = value(&mut rest, "{\"expect\":")?;
        let files = value(&mut rest, ",\"files\":")?;
        let id = value(&mut rest, ",\"id\":")?;
        let id = id.strip_prefix('"')?.strip_suffix('"')?;
        if id.contains('\\') {
            return None;
        }
        let input = value(&mut rest, ",\"input\":")?;
        let meta = optional(&mut rest, ",\"meta\":")?;
        let providers = value(&mut rest, ",\"providers\":")?;
        let reference = optional(&mut rest, ",\"reference\":")?;
        let repeat = value(&mut rest, ",\"repeat\":")?.parse().ok()?;
        let repeats = optional(&mut rest, ",\"repeats\":")?;
        let retries = value(&mut rest, ",\"retries\":")?;
        let tags = value(&mut rest, ",\"tags\":")?;
        let timeout = number(&mut rest, ",\"timeout\":")?;
        let trial_timeout = number(&mut rest, ",\"trial_timeout\":")?;
        (rest.trim_ascii_end() == "}").then_some(Self {
            expect,
            files,
            id,
            input,
            meta,
            providers,
            reference,
            repeat,
            repeats,
            retries,
            tags,
            timeout,
            trial_timeout,
        })
    }
}

/// How the line of a test ends, from its providers on: mostly as that of the test before it.
#[derive(Clone, Debug, Default)]
pub(super) struct TestLineEnd {
    text: String,
    trials: u64,
}

impl TestLineEnd {
    /// How many trials a test makes that hands over no file and whose line ends like this; `None` says only that all of it has
    /// to be read.
    pub(super) fn trials(&self, line: &[u8]) -> Option<u64> {
        self.head(line).map(|_| self.trials)
    }

    /// What such a test expects, and its id; it has no reference then. `None` says the same.
    pub(super) fn expect_and_id<'a>(&self, line: &'a [u8]) -> Option<(&'a str, &'a str)> {
        let (expect, rest) = self.head(line)?;
        let id = rest.get(..json_length(rest)?)?;
        let id = id.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let is_plain = !id.contains(&b'\\');
        let (expect, id) = (str::from_utf8(expect).ok()?, str::from_utf8(id).ok()?);
        is_plain.then_some((expect, id))
    }

    /// What a line has for an expectation, and what follows its files, if it ends like this.
    fn head<'a>(&self, line: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let end = self.text.as_bytes();
        let rest = line.strip_prefix(EXPECT)?;
        let (expect, rest) = rest.split_at_checked(json_length(rest)?)?;
        // JSON that ends with these keys has them itself, and not in one of its values.
        let ends_like_it = !end.is_empty() && rest.ends_with(end);
        Some((expect, rest.strip_prefix(NO_FILES)?)).filter(|_| ends_like_it)
    }

    /// The end of a line; an empty one if that depends on more than numbers of trials do.
    pub(super) fn of(line: &[u8]) -> Self {
        Self::read(line).unwrap_or_default()
    }

    fn read(line: &[u8]) -> Option<Self> {
        let begin = memmem::rfind(line, b",\"providers\":")?;
        let text = str::from_utf8(&line[begin..]).ok()?;
        let alone = format!("{{\"expect\":{{}},\"files\":[],\"id\":\"\",\"input\":null{text}");
        // What was found in a value is not the end of a line.
        let test = SkimmedTest::skim(&alone).filter(|test| test.reference.is_none())?;
        Some(Self {
            trials: test.trials().ok()?,
            text: text.to_owned(),
        })
    }
}

/// What a test expects, found without a look at the rest of its line.
pub(super) fn skimmed_expect(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(EXPECT)?;
    str::from_utf8(rest.get(..json_length(rest)?)?).ok()
}

/// The keys of a JSON object that is written without white space, and their values; `None` if a key has an escape in it.
pub(super) fn top_keys(object: &str) -> Option<Vec<(&str, &str)>> {
    let mut keys = Vec::new();
    let mut rest = object.strip_prefix('{')?;
    while rest != "}" {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let key = value(&mut rest, "")?;
        let key = key.strip_prefix('"')?.strip_suffix('"')?;
        keys.push((key, value(&mut rest, ":")?));
        if key.contains('\\') {
            return None;
        }
    }
    Some(keys)
}

/// Takes the value of a key that may be absent.
// Where a key is known, it is compared as the few words that it is.
#[inline(always)]
fn optional<'a>(rest: &mut &'a str, key: &str) -> Option<Option<&'a str>> {
    match rest.starts_with(key) {
        true => value(rest, key).map(Some),
        false => Some(None),
    }
}

/// The same of a number.
#[inline(always)]
fn number(rest: &mut &str, key: &str) -> Option<Option<u64>> {
    match optional(rest, key)? {
        Some(text) => text.parse().ok().map(Some),
        None => Some(None),
    }
}

/// Takes the value of a key.
#[inline(always)]
fn value<'a>(rest: &mut &'a str, key: &str) -> Option<&'a str> {
    let text = rest.strip_prefix(key)?;
    let (value, after) = text.split_at_checked(json_length(text.as_bytes())?)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{SkimmedTest, TestLineEnd, skimmed_expect, top_keys};

    fn line(keys: Value) -> String {
        let mut test = json!({
            "expect": {}, "files": [], "id": "a/b", "input": null, "providers": [0], "repeat": 1,
            "retries": {"backoff": 0, "max": 0, "on": []}, "tags": [],
        });
        let Value::Object(keys) = keys else {
            panic!("no keys")
        };
        test.as_object_mut().unwrap().extend(keys);
        test.to_string()
    }

    #[test]
    fn parts_are_found_whatever_is_in_them() {
        let nasty = json!({
            "providers": [7], "\",\"repeat\":9": "\\\"", "é\\": [[], {}, [{"id": "x\u{7f}\n"}], -1.5e-7, true],
        });
        let written = line(json!({
            "expect": {"equals": nasty, "contains": ["]", "}"]}, "input": nasty, "meta": {"a": "\\"},
            "providers": [0, 3], "reference": nasty, "repeat": 12, "repeats": [1, 12],
        }));
        let skimmed = SkimmedTest::skim(&written).unwrap();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(skimmed.expect)["equals"], nasty);
        assert_eq!(value(skimmed.reference.unwrap()), nasty);
        assert_eq!((skimmed.id, skimmed.files), ("a/b", "[]"));
        assert_eq!((skimmed.providers, skimmed.repeat), ("[0,3]", 12));
        assert_eq!(skimmed.repeats, Some("[1,12]"));

        assert_eq!(skimmed_expect(written.as_bytes()), Some(skimmed.expect));

        let plain = line(json!({}));
        let skimmed = SkimmedTest::skim(&plain).unwrap();
        assert_eq!((skimmed.reference, skimmed.repeats), (None, None));
    }

    #[test]
    fn lines_that_end_alike_make_as_many_trials() {
        let three = json!({"providers": [0, 4, 2], "tags": ["a"]});
        let with = |key: &str, value: Value| {
            let mut keys = three.clone();
            keys[key] = value;
            line(keys)
        };
        let end = TestLineEnd::of(line(three.clone()).as_bytes());
        assert_eq!(end.trials, 3);
        let nested = json!({"files": [], "providers": [1], "repeat": 9, "tags": ["a"]});
        for (key, trials) in [("expect", 3), ("input", 3), ("meta", 3), ("reference", 0)] {
            let line = with(key, nested.clone());
            assert_eq!(
                end.trials(line.as_bytes()),
                (trials > 0).then_some(3),
                "{key}"
            );
            assert_eq!(TestLineEnd::of(line.as_bytes()).trials, trials, "{key}");
            let read = SkimmedTest::read(line.as_bytes()).unwrap();
            let head = (trials > 0).then_some((read.expect, "a/b"));
            assert_eq!(end.expect_and_id(line.as_bytes()), head, "{key}");
        }
        for (key, value) in [
            ("files", json!([{"sha256": "00"}])),
            ("providers", json!([0, 4])),
            ("repeat", json!(2)),
            ("repeats", json!([2, 5])),
            ("tags", json!([])),
        ] {
            let line = with(key, value);
            assert_eq!(end.trials(line.as_bytes()), None, "{key}");
            let own = TestLineEnd::of(line.as_bytes());
            let read = SkimmedTest::read(line.as_bytes())
                .unwrap()
                .trials()
                .unwrap();
            assert_eq!(own.trials, read, "{key}");
        }
        let escaped = with("id", json!("a\\b"));
        assert_eq!(end.expect_and_id(escaped.as_bytes()), None);
        assert_eq!(
            TestLineEnd::default().trials(line(json!({})).as_bytes()),
            None
        );
        assert_eq!(TestLineEnd::of(b"").trials, 0);
    }

    #[test]
    fn another_order_is_read_as_json_and_what_is_none_is_refused() {
        let written = line(json!({"repeat": 3}));
        let map: Map<String, Value> = serde_json::from_str(&written).unwrap();
        let keys = map
            .iter()
            .rev()
            .map(|(key, value)| format!("{}:{value}", json!(key)));
        let turned = format!("{{{}}}", keys.collect::<Vec<_>>().join(","));
        assert!(SkimmedTest::skim(&turned).is_none());
        assert_eq!(skimmed_expect(turned.as_bytes()), None);
        let read = SkimmedTest::read(turned.as_bytes()).unwrap();
        assert_eq!((read.id, read.repeat), ("a/b", 3));
        for end in 0..written.len() - 60 {
            assert!(
                SkimmedTest::read(&written.as_bytes()[..end]).is_err(),
                "{end}"
            );
        }
        let keys = top_keys(r#"{"a":{"b":[1,"}"]},"c":null,"d":"x"}"#);
        let expected = [("a", r#"{"b":[1,"}"]}"#), ("c", "null"), ("d", r#""x""#)];
        assert_eq!(keys.unwrap(), expected);
        assert_eq!(top_keys("{}").unwrap(), []);
        for text in [
            "",
            "[]",
            "{",
            r#"{"a"}"#,
            r#"{"a":1"#,
            r#"{"\u0061":1}"#,
            r#"{1:2}"#,
        ] {
            assert_eq!(top_keys(text), None, "{text}");
        }
    }
}
