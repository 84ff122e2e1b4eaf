//! Commands about the program itself: completions, manual pages and JSON Schemas.

pub mod completions;
pub mod manual;
pub mod schema;
