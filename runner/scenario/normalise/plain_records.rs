//! [`PlainRecords`]: records that say nothing but an id, an input and what of the output is known, made into lines of tests
//! without being held as values.

use std::sync::Arc;

use serde_json::{Map, Value, value::RawValue};

use super::{filter::Resolved, resolver::TestResolver};
use crate::{
    model::TestId,
    scenario::{settings::Settings, skimmed_test::top_keys, source::FromList},
};

/// How deep a value may be; what is deeper is left to whoever knows what to say of it.
const MAX_DEPTH: usize = 64;

/// Makes lines of the plain records of a list. A clone of it is for another thread.
#[derive(Clone)]
pub(super) struct PlainRecords {
    /// What is behind the input in the line of each of them.
    tail: Vec<u8>,
    /// How many trials each of them makes: on which providers, and how often on each.
    pub(super) trials: u64,
    pub(super) providers: Vec<u32>,
    pub(super) repeat: u32,
    expect: Vec<u8>,
    id: Vec<u8>,
    input: Vec<u8>,
}

impl PlainRecords {
    /// For a list and a selection by which the id of a test decides nothing.
    pub(super) fn of(resolver: &mut TestResolver<'_>, from: &FromList<'_>) -> Option<Self> {
        let list = from.list;
        let is_by_id = list.fills_in() || list.select.is_some() || list.exclude.is_some();
        if is_by_id || list.providers.is_empty() || !resolver.takes_any(&list.providers) {
            return None;
        }
        let expect = RawValue::from_string("{}".to_owned()).expect("it is JSON");
        let any = Resolved {
            id: "x".to_owned(),
            input: Value::Null,
            reference: None,
            expect: Arc::from(expect),
            providers: list.providers.clone(),
            settings: resolver.settings(Settings::default(), from),
            files: Map::new(),
        };
        let mut line = Vec::new();
        let trials = resolver.write(&any, &[], &mut line);
        let head = head("{}", "x") + "null";
        Some(Self {
            tail: line.strip_prefix(head.as_bytes())?.to_owned(),
            trials,
            repeat: resolver.repeat(&any.settings),
            providers: any.providers,
            expect: Vec::new(),
            id: Vec::new(),
            input: Vec::new(),
        })
    }

    /// The id of the record that was written last.
    pub(super) fn id(&self) -> Option<&str> {
        let id = str::from_utf8(&self.id).ok()?;
        id.strip_prefix('"')?.strip_suffix('"')
    }

    /// Appends the line of a record; `None` says only that the record is not plain.
    pub(super) fn write(&mut self, record: &[u8], lines: &mut Vec<u8>) -> Option<()> {
        let record = str::from_utf8(record).ok()?;
        self.read(record.as_bytes())?;
        if self.expect.is_empty() {
            self.expect.extend_from_slice(b"{}");
        }
        if self.input.is_empty() {
            self.input.extend_from_slice(b"null");
        }
        let expect = str::from_utf8(&self.expect).ok()?;
        let keys = top_keys(expect)?;
        let is_exact = |(key, _): &(&str, &str)| matches!(*key, "equals" | "json");
        let id = self.id()?;
        if !keys.iter().all(is_exact) || TestId::parse(id).is_err() {
            return None;
        }
        lines.extend_from_slice(head(expect, id).as_bytes());
        lines.extend_from_slice(&self.input);
        lines.extend_from_slice(&self.tail);
        Some(())
    }

    fn read(&mut self, record: &[u8]) -> Option<()> {
        let parts = [&mut self.expect, &mut self.id, &mut self.input];
        let [expect, id, input] = parts;
        for part in [&mut *expect, &mut *id, &mut *input] {
            part.clear();
        }
        let mut reader = PlainJson {
            text: record,
            at: 0,
        };
        reader.take(b'{')?;
        loop {
            let part = match reader.text()? {
                b"\"expect\"" => &mut *expect,
                b"\"id\"" => &mut *id,
                b"\"input\"" => &mut *input,
                _ => return None,
            };
            reader.take(b':')?;
            // What is there twice is left to others.
            if !part.is_empty() {
                return None;
            }
            reader.copy(part, MAX_DEPTH)?;
            match reader.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        reader.skip_space();
        (reader.at == record.len()).then_some(())
    }
}

/// How the line of a test begins that hands over no file.
fn head(expect: &str, id: &str) -> String {
    [
        "{\"expect\":",
        expect,
        ",\"files\":[],\"id\":\"",
        id,
        "\",\"input\":",
    ]
    .concat()
}

/// Reads JSON of which it is known what this program writes for it: only white space goes.
struct PlainJson<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> PlainJson<'a> {
    /// Appends a value as this program writes it; `None` if it is not JSON, or its keys, texts or numbers could be written in
    /// another way.
    fn copy(&mut self, to: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.skip_space();
        match self.text.get(self.at)? {
            b'"' => to.extend_from_slice(self.text()?),
            b'{' => self.object(to, depth.checked_sub(1)?)?,
            b'[' => self.list(to, depth.checked_sub(1)?)?,
            b'-' | b'0'..=b'9' => to.extend_from_slice(self.number()?),
            _ => {
                let words: [&[u8]; 3] = [b"true", b"false", b"null"];
                let rest = &self.text[self.at..];
                let word = words.into_iter().find(|word| rest.starts_with(word))?;
                self.at += word.len();
                to.extend_from_slice(word);
            }
        }
        Some(())
    }

    fn object(&mut self, to: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        to.push(b'{');
        if self.is_over(b'}', to) {
            return Some(());
        }
        let mut last = None;
        loop {
            let quoted = self.text()?;
            let key = &quoted[1..quoted.len() - 1];
            if last.replace(key).is_some_and(|last| last >= key) {
                return None;
            }
            to.extend_from_slice(quoted);
            self.take(b':')?;
            to.push(b':');
            self.copy(to, depth)?;
            if self.goes_on(b'}', to)? {
                continue;
            }
            return Some(());
        }
    }

    fn list(&mut self, to: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        to.push(b'[');
        if self.is_over(b']', to) {
            return Some(());
        }
        loop {
            self.copy(to, depth)?;
            if !self.goes_on(b']', to)? {
                return Some(());
            }
        }
    }

    fn is_over(&mut self, end: u8, to: &mut Vec<u8>) -> bool {
        let is_over = self.take(end).is_some();
        if is_over {
            to.push(end);
        }
        is_over
    }

    fn goes_on(&mut self, end: u8, to: &mut Vec<u8>) -> Option<bool> {
        let next = self.next()?;
        to.push(next);
        (next == b',' || next == end).then_some(next == b',')
    }

    /// Takes a text without escapes, with its quotes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let inner = &self.text[self.at..];
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let length = inner.iter().position(is_special)?;
        let text = &self.text[self.at - 1..=self.at + length];
        self.at += length + 1;
        (inner[length] == b'"').then_some(text)
    }

    /// Takes a whole number of which no digit is lost.
    fn number(&mut self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit());
        let count = count.count();
        let (digits, after) = digits.split_at(count);
        let is_plain = match digits {
            [b'0'] => rest[0] == b'0',
            [first, ..] => *first != b'0' && count <= 15,
            [] => false,
        };
        let length = rest.len() - after.len();
        self.at += length;
        let is_whole = !matches!(after.first(), Some(b'.' | b'e' | b'E'));
        (is_plain && is_whole).then(|| &rest[..length])
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (*self.text.get(self.at)? == byte).then(|| self.at += 1)
    }

    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        let next = *self.text.get(self.at)?;
        self.at += 1;
        Some(next)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{MAX_DEPTH, PlainJson};

    fn copied(text: &str) -> Option<String> {
        let mut copy = Vec::new();
        let mut reader = PlainJson {
            text: text.as_bytes(),
            at: 0,
        };
        reader.copy(&mut copy, MAX_DEPTH)?;
        reader.skip_space();
        (reader.at == text.len()).then(|| String::from_utf8(copy).unwrap())
    }

    fn written(text: &str) -> Option<String> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(value.to_string())
    }

    #[test]
    fn what_is_copied_is_what_is_written_of_its_value() {
        for text in [
            r#"{"a": [1, -2, 0, {"b": null}], "z": {"x": true, "y": false}, "é": "ü ✓"}"#,
            " { } ",
            "[]",
            "[ [ ] ,{}]",
            "123456789012345",
            "\"\u{7f}\"",
        ] {
            assert_eq!(copied(text), written(text), "{text}");
            assert!(copied(text).is_some(), "{text}");
        }
        for text in [
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#""\n""#,
            "-0",
            "01",
            "1.0",
            "1e3",
            "1234567890123456",
            "nul",
            "[1,]",
            "{\"a\":1,}",
            "[1 2]",
            "\"a",
            "\"\t\"",
            "-",
            "",
            "1 2",
        ] {
            assert_eq!(copied(text), None, "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(copied(&deep(MAX_DEPTH)).is_some());
        assert_eq!(copied(&deep(MAX_DEPTH + 1)), None);
    }

    proptest! {
        #[test]
        fn whatever_is_copied_is_json_and_written_so(text in r#"[ \[\]{}:,"\\a-c0-2\-.eénultrfs]{0,24}"#) {
            if let Some(copied) = copied(&text) {
                prop_assert_eq!(Some(copied), written(&text));
            }
        }
    }
}
