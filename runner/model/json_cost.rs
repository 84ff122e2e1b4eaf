//! How much memory a value of JSON takes, estimated from its text before there is one, or from itself.

use serde_json::Value;

/// A leaf of the tree that an object is: room for eleven keys and their values.
const LEAF: u64 = 640;
/// What each entry of a larger object takes on average where all leaves are as empty as they may be.
const ENTRY: u64 = 170;
/// How many entries a leaf holds.
const LEAF_ENTRIES: u64 = 11;
/// A value's place in a list.
const SLOT: u64 = 32;
/// How many places a list begins with; it doubles them when they are full.
const FIRST_SLOTS: u64 = 4;
/// What the allocator adds to each allocation, and the least that it allocates.
const CHUNK: u64 = 16;
const SMALLEST_CHUNK: u64 = 32;
/// The depth at which the parser gives up by itself.
const MAX_DEPTH: usize = 128;

/// A container that is open.
#[derive(Clone, Copy, Default)]
struct Open {
    is_object: bool,
    items: u64,
}

/// About how many bytes of memory the value takes that a text of JSON stands for; rather more than less.
///
/// Of what is not JSON it estimates what a parser makes before it notices.
pub fn cost(text: &[u8]) -> u64 {
    let mut open = [Open::default(); MAX_DEPTH];
    let mut depth = 0;
    let mut sum: u64 = 0;
    let mut index = 0;
    // What begins a value in a container is counted there; in an object that is the key's colon.
    while let Some(&byte) = text.get(index) {
        index += 1;
        match byte {
            b'"' => {
                let start = index;
                index += string_end(&text[index..]);
                sum += string((index - start) as u64);
                index += 1;
                sum += begin_item(&mut open, depth);
            }
            b'[' | b'{' => {
                sum += begin_item(&mut open, depth);
                if depth == MAX_DEPTH {
                    return sum;
                }
                open[depth] = Open {
                    is_object: byte == b'{',
                    items: 0,
                };
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b':' => {
                if let Some(open) = depth.checked_sub(1).map(|top| &mut open[top])
                    && open.is_object
                {
                    sum += entry(open.items);
                    open.items += 1;
                }
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                sum += begin_item(&mut open, depth);
                let rest = &text[index..];
                let end =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{');
                index += rest.iter().position(end).unwrap_or(rest.len());
            }
            _ => {}
        }
    }
    sum
}

/// The same of a value that there is already; it stops at `limit`, and then says no more than that.
pub fn cost_of(value: &Value, limit: u64) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => string(text.len() as u64),
        Value::Array(items) => {
            let mut sum = (0..items.len() as u64).map(slot).sum();
            for item in items {
                if sum >= limit {
                    return limit;
                }
                sum += cost_of(item, limit - sum);
            }
            sum
        }
        Value::Object(entries) => {
            let mut sum = (0..entries.len() as u64).map(entry).sum();
            for (key, item) in entries {
                if sum >= limit {
                    return limit;
                }
                sum += string(key.len() as u64) + cost_of(item, limit - sum);
            }
            sum
        }
    }
    .min(limit)
}

/// Counts a value that stands in a list.
fn begin_item(open: &mut [Open; MAX_DEPTH], depth: usize) -> u64 {
    match depth.checked_sub(1).map(|top| &mut open[top]) {
        Some(open) if !open.is_object => {
            open.items += 1;
            slot(open.items - 1)
        }
        _ => 0,
    }
}

/// What a list grows by for one more item.
fn slot(items: u64) -> u64 {
    match items {
        0 => FIRST_SLOTS * SLOT + CHUNK,
        items if items >= FIRST_SLOTS && items.is_power_of_two() => items * SLOT,
        _ => 0,
    }
}

/// What an object grows by for one more entry.
fn entry(entries: u64) -> u64 {
    match entries {
        0 => LEAF,
        // The leaf is split, and a node is put above both halves.
        LEAF_ENTRIES => LEAF + 2 * LEAF,
        entries if entries > LEAF_ENTRIES => ENTRY,
        _ => 0,
    }
}

fn string(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        bytes => (bytes + CHUNK).max(SMALLEST_CHUNK),
    }
}

/// Where the quote is that ends a string; its end if there is none.
fn string_end(text: &[u8]) -> usize {
    let mut index = 0;
    while let Some(&byte) = text.get(index) {
        match byte {
            b'"' => return index,
            b'\\' => index += 2,
            _ => index += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::{cost, cost_of};

    #[test]
    fn what_is_no_json_is_scanned_to_its_end() {
        for text in [
            "",
            "\"",
            "\"\\",
            "}}]]::,,",
            "{{{{",
            &"[".repeat(10_000),
            "nul",
            "\u{0}",
        ] {
            assert!(cost(text.as_bytes()) < 1024 * 1024);
        }
    }

    /// What a value takes, by the sizes of this machine, where every list and leaf has the least that it can have.
    fn least(value: &Value) -> u64 {
        let text = |text: &str| text.len() as u64;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(string) => text(string),
            Value::Array(items) => {
                (items.capacity() * size_of::<Value>()) as u64
                    + items.iter().map(least).sum::<u64>()
            }
            Value::Object(map) => {
                let pair = size_of::<String>() + size_of::<Value>();
                let leaves = map.len().div_ceil(11) * 11 * pair;
                let inner = |(key, value): (&String, &Value)| text(key) + least(value);
                leaves as u64 + map.iter().map(inner).sum::<u64>()
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 200, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..40)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_takes_more_than_was_told_of_its_text(value in any_value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let parsed: Value = serde_json::from_str(&text).unwrap();
                prop_assert!(least(&parsed) <= cost(text.as_bytes()));
            }
            let told = cost_of(&value, u64::MAX);
            prop_assert!(least(&value) <= told);
            prop_assert_eq!(cost_of(&value, told / 2), told / 2);
        }

        #[test]
        fn any_text_is_scanned(text in prop::collection::vec(any::<u8>(), 0..200)) {
            cost(&text);
        }
    }
}
