//! [`Copies`]: how much of what a guest replied its checks may repeat.

use std::cell::Cell;

use serde_json::Value;

use crate::model::json_cost_of;

/// Bytes of memory that one copy may take. A row, which is what shows it, has 256 KiB.
const MAX_COPY_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of memory that all copies of one attempt may take: a test may have any number of expectations.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// How much of a text is copied, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// What the checks of one attempt may still repeat.
pub(super) struct Copies(Cell<u64>);

impl Copies {
    pub(super) fn new() -> Self {
        Self(Cell::new(MAX_BYTES))
    }

    /// A copy of a value, of a long text its beginning; none where it is too large, or the others were.
    pub(super) fn of(&self, value: &Value) -> Option<Value> {
        if let Value::String(text) = value
            && text.len() > MAX_TEXT_BYTES
        {
            let kept = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
            self.take(MAX_TEXT_BYTES as u64)?;
            return Some(format!("{kept}…").into());
        }
        let cost = json_cost_of(value, MAX_COPY_BYTES);
        if cost == MAX_COPY_BYTES {
            return None;
        }
        self.take(cost)?;
        Some(value.clone())
    }

    fn take(&self, bytes: u64) -> Option<()> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Copies;

    #[test]
    fn what_is_small_is_copied_and_of_the_rest_no_more_than_a_row_shows() {
        let copies = Copies::new();
        let small = json!({ "a": vec!["some text"; 1000] });
        assert_eq!(copies.of(&small), Some(small));
        let text = copies.of(&"x".repeat(1 << 22).into()).unwrap();
        assert_eq!(text.as_str().map(str::len), Some(64 * 1024 + "…".len()));
        assert_eq!(copies.of(&vec![json!({"": 0}); 10_000].into()), None);
    }

    #[test]
    fn all_copies_together_are_bounded() {
        let copies = Copies::new();
        let value = Value::from(vec![0; 30_000]);
        let made = (0..100).filter_map(|_| copies.of(&value)).count();
        assert!((1..10).contains(&made), "{made}");
        assert_eq!(copies.of(&json!(1)), Some(json!(1)));
    }
}
