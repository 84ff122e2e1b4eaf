//! The filter language: which trials are meant.
//!
//! ```text
//! filter := or
//! or     := and ('|' and)*
//! and    := not ('&' not)*
//! not    := '!' not | '(' or ')' | name '(' argument ')'
//! ```
//!
//! A [`Filter`] is parsed once, with the place of each part in its text, and asked of whatever has [`Facts`]: a test that may be
//! planned, or a trial with its row. An answer may depend on what is not known yet; then there is none.

mod ask;
mod error;
mod evaluate;
mod expression;
mod glob;
mod members;
mod parse;
mod resolve;

pub use self::{
    ask::{CameTo, Facts},
    error::FilterError,
    expression::{Condition, Expression, Filter},
    glob::{glob, glob_set},
    members::Members,
    resolve::{InRun, quoted_run},
};
