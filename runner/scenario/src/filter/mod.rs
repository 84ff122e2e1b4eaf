//! The filter language: an expression that selects trials.
//!
//! ```text
//! filter   = and { ( "|" | "or" ) and }
//! and      = not { [ "&" | "and" ] not }
//! not      = ( "!" | "not" ) not | "(" filter ")" | function | word
//! function = name "(" [ argument { "," argument } ] ")"
//! ```
//!
//! A [`Filter`] is parsed once and asked about anything that has [`Facts`]: a test that may be planned, or a row. Read
//! `expression.rs` first.

mod evaluate;
mod expression;
mod parse;
mod row_facts;

pub use evaluate::Facts;
pub(crate) use expression::{Condition, Expression};
pub use expression::{Filter, InRun};
pub(crate) use row_facts::text as meta_text;
pub use row_facts::{RowFacts, TestLabels};

#[cfg(test)]
mod tests;
