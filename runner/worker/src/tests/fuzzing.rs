//! Schemas of plugins and the values that they check, both hostile.

use serde_json::{Value, json};

use super::{MAX_NAMED, MAX_REASON, Schema};

/// Bytes of a path in front of a reason, and of the words between reasons.
const MAX_PATH: usize = 4 * 1024;

/// The input has a schema and a value. The schema is refused, or it decides in bounded time, and explains a refusal in a short
/// text.
pub fn schemas(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let mut value = || serde_json::from_slice::<Value>(parts.next().unwrap_or_default());
    let (Ok(source), Ok(value)) = (value(), value()) else { return };
    let schema = match Schema::new(source.clone()) {
        Ok(schema) => schema,
        Err(reason) => return assert!(reason.len() <= MAX_REASON + MAX_PATH, "{reason}"),
    };
    // One level deeper, a draft and a reference have another meaning.
    let has_address = source.to_string().contains('$');
    let negated = Schema::new(json!({ "not": source })).ok().filter(|_| !has_address);
    let many = Value::from(vec![value.clone(); 100]);
    for value in [value, many] {
        let mismatch = schema.mismatch(value.clone());
        if let Some(reasons) = &mismatch {
            assert!(reasons.len() <= MAX_NAMED * (MAX_REASON + MAX_PATH), "{reasons}");
        }
        let Some(negated) = &negated else { continue };
        let opposite = negated.mismatch(value);
        let is_open = |mismatch: &Option<String>| {
            mismatch.as_ref().is_some_and(|reasons| reasons.ends_with("too many steps"))
        };
        if !is_open(&mismatch) && !is_open(&opposite) {
            assert_ne!(mismatch.is_none(), opposite.is_none(), "{}", schema.value);
        }
    }
}
