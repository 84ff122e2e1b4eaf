//! What is reported of values that a plugin's schema refuses.

use serde_json::Value;

use super::ready::{schema, schema_cost};

/// What may be reported of all errors, in bytes.
const MAX_TOLD: usize = 32 * 1024;

/// A plugin's schema and a value: where the schema is called cheap, the value is checked against it here, and that must be
/// done at once.
pub fn schemas(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let mut value = || serde_json::from_slice::<Value>(parts.next().unwrap_or_default());
    let (Ok(schema), Ok(value)) = (value(), value()) else {
        return;
    };
    if schema_cost::cost(&schema).is_none() {
        return;
    }
    let Ok(validator) = jsonschema::validator_for(&schema) else {
        return;
    };
    let many = Value::from(vec![value.clone(); 100]);
    for value in [value, many] {
        let told = schema::errors(&validator, &value);
        assert_eq!(told.is_none(), validator.is_valid(&value));
        assert!(told.is_none_or(|told| told.len() <= MAX_TOLD));
    }
}
