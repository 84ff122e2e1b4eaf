//! A document of JSON with a list that may be too long to be held: the same bytes as [`format::document`] makes of it whole.

use std::{
    io::{self, Write},
    mem,
};

use serde::Serialize;
use serde_json::{
    Serializer, Value,
    ser::{Formatter as _, PrettyFormatter},
};

use super::format;
use crate::model;

/// How much text is written at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes a document whose list `key` is empty in `document` and has `items` instead.
///
/// # Errors
///
/// Fails with the first item that there is instead of a value. What comes before it may have been written. The answer
/// within says whether it could be written; after a failure no further item is asked for.
pub(super) fn write<T: Serialize, E>(
    to: &mut impl Write,
    document: &impl Serialize,
    key: &str,
    items: impl Iterator<Item = Result<T, E>>,
) -> Result<io::Result<()>, E> {
    write_within(to, document, key, items, format::MAX_LAID_OUT_BYTES)
}

fn write_within<T: Serialize, E>(
    to: &mut impl Write,
    document: &impl Serialize,
    key: &str,
    items: impl Iterator<Item = Result<T, E>>,
    most_laid_out: usize,
) -> Result<io::Result<()>, E> {
    let mut items = Some(items);
    let mut text = UnwrittenText::new(most_laid_out);
    text.put(b"{", b"{");
    for (place, (name, value)) in members(document).iter().enumerate() {
        text.next(place == 0, 1);
        text.value(&Value::from(name.as_str()), 1);
        text.put(b":", b": ");
        match items.take_if(|_| name == key) {
            None => text.value(value, 1),
            Some(items) => {
                if let Err(error) = list(to, &mut text, items)? {
                    return Ok(Err(error));
                }
            }
        }
    }
    text.put(b"}", b"\n}");
    Ok(text.finish(to))
}

/// Writes the items of the list, as far as they are too much to be held.
fn list<T: Serialize, E>(
    to: &mut impl Write,
    text: &mut UnwrittenText,
    items: impl Iterator<Item = Result<T, E>>,
) -> Result<io::Result<()>, E> {
    let mut is_empty = true;
    text.put(b"[", b"[");
    for item in items {
        // By way of a value its keys are sorted, as those of the whole document are.
        let value = serde_json::to_value(item?).expect("a document has string keys alone");
        text.next(is_empty, 2);
        text.value(&value, 2);
        is_empty = false;
        if let Err(error) = text.write_pieces(to) {
            return Ok(Err(error));
        }
    }
    text.put(b"]", if is_empty { b"]" } else { b"\n  ]" });
    Ok(Ok(()))
}

/// The keys and values of a document, in the order in which they are written.
fn members(document: &impl Serialize) -> serde_json::Map<String, Value> {
    match serde_json::to_value(document) {
        Ok(Value::Object(members)) => members,
        _ => unreachable!("a document is an object with string keys"),
    }
}

/// What of the text is not written yet, on one line and laid out, as long as it is not known which of them it will be.
struct UnwrittenText {
    one_line: Vec<u8>,
    laid_out: Option<Vec<u8>>,
    most_laid_out: usize,
}

impl UnwrittenText {
    fn new(most_laid_out: usize) -> Self {
        Self {
            one_line: Vec::new(),
            laid_out: Some(Vec::new()),
            most_laid_out,
        }
    }

    fn put(&mut self, one_line: &[u8], laid_out: &[u8]) {
        self.one_line.extend_from_slice(one_line);
        self.lay_out(|text| text.write_all(laid_out));
    }

    /// Goes to the next place at this depth.
    fn next(&mut self, is_first: bool, depth: usize) {
        let comma: &[u8] = if is_first { b"" } else { b"," };
        self.one_line.extend_from_slice(comma);
        self.lay_out(|text| {
            write!(
                text,
                "{}\n{:depth$}{:depth$}",
                if is_first { "" } else { "," },
                "",
                ""
            )
        });
    }

    fn value(&mut self, value: &Value, depth: usize) {
        serde_json::to_writer(&mut self.one_line, value).expect("memory can be written to");
        self.lay_out(|text| {
            let mut layout = PrettyFormatter::new();
            for _ in 0..depth {
                layout.begin_object(&mut io::sink())?;
            }
            let mut serializer = Serializer::with_formatter(text, layout);
            value.serialize(&mut serializer).map_err(io::Error::from)
        });
    }

    /// Goes on with the text that is laid out, unless it is too long for anybody to read.
    fn lay_out(&mut self, put: impl FnOnce(&mut TextRoom<'_>) -> io::Result<()>) {
        let Some(text) = &mut self.laid_out else {
            return;
        };
        let mut room = TextRoom {
            text,
            most: self.most_laid_out,
        };
        if put(&mut room).is_err() {
            self.laid_out = None;
        }
    }

    /// Writes what is there, once it is known that all will be on one line.
    fn write_pieces(&mut self, to: &mut impl Write) -> io::Result<()> {
        if self.laid_out.is_some() || self.one_line.len() < PIECE_BYTES {
            return Ok(());
        }
        model::escape_json(&mut self.one_line, 0);
        to.write_all(&self.one_line)?;
        self.one_line.clear();
        Ok(())
    }

    /// Writes what is left, and ends the line.
    fn finish(mut self, to: &mut impl Write) -> io::Result<()> {
        let mut left = match self.laid_out.take() {
            Some(laid_out) => laid_out,
            None => mem::take(&mut self.one_line),
        };
        model::escape_json(&mut left, 0);
        left.push(b'\n');
        to.write_all(&left)?;
        to.flush()
    }
}

/// A text that has room for so many bytes.
struct TextRoom<'a> {
    text: &'a mut Vec<u8>,
    most: usize,
}

impl Write for TextRoom<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.most {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{super::format, write, write_within};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c\"\\\\\u{7f}\u{9b}\u{202e}\n✓]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The document with its list, whole, and what is written of it item by item.
    fn both(head: &Value, items: &[Value], most_laid_out: usize) -> (Value, String) {
        let document = |rows: &[Value]| json!({ "a": head, "rows": rows, "v": 1 });
        let mut written = Vec::new();
        let items = items.iter().map(Ok::<_, Infallible>);
        let Ok(result) = write_within(
            &mut written,
            &document(&[]),
            "rows",
            items.clone(),
            most_laid_out,
        );
        result.unwrap();
        let whole: Vec<_> = items.map(|Ok(item)| item.clone()).collect();
        (document(&whole), String::from_utf8(written).unwrap())
    }

    proptest! {
        #[test]
        fn a_list_item_by_item_has_the_bytes_of_the_whole(head in value(), items in prop::collection::vec(value(), 0..5)) {
            let (whole, written) = both(&head, &items, 1 << 20);
            prop_assert_eq!(written, format::document(&whole) + "\n");

            let laid_out = serde_json::to_string_pretty(&whole).unwrap().len();
            let (_, fits) = both(&head, &items, laid_out);
            prop_assert_eq!(fits, format::document(&whole) + "\n");
            let (_, does_not) = both(&head, &items, laid_out - 1);
            prop_assert_eq!(does_not, format::compact(&whole) + "\n");
        }
    }

    #[test]
    fn what_is_too_long_to_be_laid_out_has_the_bytes_of_the_whole() {
        let items = vec![json!({ "text": "\u{7f}x".repeat(100), "more": [1, 2, 3] }); 40_000];
        let mut written = Vec::new();
        let list = items.iter().map(Ok::<_, Infallible>);
        let Ok(result) = write(&mut written, &json!({ "rows": [], "v": 1 }), "rows", list);
        result.unwrap();
        let whole = format::document(&json!({ "rows": items, "v": 1 }));
        assert!(!whole.contains('\n') && written.len() > 8 * 1024 * 1024);
        assert!(written == (whole + "\n").as_bytes());
    }

    #[test]
    fn no_item_is_asked_for_once_nobody_reads() {
        struct Gone;
        impl io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let endless = std::iter::repeat_with(|| Ok::<_, Infallible>("x".repeat(1000)));
        let Ok(result) = write(&mut Gone, &json!({ "rows": [] }), "rows", endless);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        let fails = [Ok(1), Err("damage")];
        let result = write(
            &mut Vec::new(),
            &json!({ "rows": [] }),
            "rows",
            fails.into_iter(),
        );
        assert_eq!(result.unwrap_err(), "damage");
    }
}
