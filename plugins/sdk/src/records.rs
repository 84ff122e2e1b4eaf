//! Records of a plugin that makes a test list.
//!
//! ```
//! use runner_sdk::serde_json::json;
//! use runner_sdk::testing::Host;
//! use runner_sdk::{NoConfig, Provider, Reply, Result, Test, records};
//!
//! /// Makes tests of multiplication.
//! struct Tables;
//!
//! impl Provider for Tables {
//!     type Input = u32;
//!     type Config = NoConfig;
//!
//!     fn run(test: Test<Self>) -> Result<Reply> {
//!         for factor in 1..=test.input {
//!             let question = format!("7 times {factor}");
//!             records::append(&json!({ "question": question, "answer": 7 * factor }))?;
//!         }
//!         Reply::new(json!(null))
//!     }
//! }
//!
//! let (_, calls) = Host::new().run_recorded::<Tables>(json!(3), json!({}));
//! assert_eq!(calls.records[2], json!({ "question": "7 times 3", "answer": 21 }));
//! ```

use serde::Serialize;

use crate::host;

/// Reason of a refused record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record is not valid.
    #[error("the record is not valid")]
    Invalid,
    /// The list would exceed its limit of bytes.
    #[error("the records are too large")]
    TooLarge,
    /// The list would exceed its limit of records.
    #[error("there are too many records")]
    TooMany,
    /// The provider does not make a list, or the record cannot be stored.
    #[error("the record cannot be stored")]
    Unavailable,
}

/// Appends a record to the list.
pub fn append(record: &(impl Serialize + ?Sized)) -> Result<(), RecordError> {
    let record = serde_json::to_string(record).map_err(|_| RecordError::Invalid)?;
    host::append_record(&record)
}
