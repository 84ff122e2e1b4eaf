//! Which attempts are made again.

use crate::scenario::form::{Form, Key, required, with_default};

/// The words of error classes that can be expected or retried, and `timeout`.
pub(in crate::scenario) const ERROR_WORDS: &[&str] = &[
    "trap",
    "out-of-memory",
    "limit",
    "protocol",
    "denied",
    "invalid-input",
    "invalid-config",
    "unavailable",
    "rate-limited",
    "internal",
    "other",
    "timeout",
];

/// When attempts are made again.
pub(super) const RETRIES: &[Key] = &[
    required(
        "max",
        Form::Integer { min: 0, max: 1000 },
        "How many retries at most; the first attempt does not count.",
    ),
    with_default(
        "backoff",
        Form::Duration { zero: true },
        r#""0s""#,
        "How long to wait before a retry.",
    ),
    with_default(
        "on",
        Form::List(&Form::Word(ERROR_WORDS)),
        r#"["unavailable", "rate-limited"]"#,
        "What is retried: error classes, or `timeout`.",
    ),
];
