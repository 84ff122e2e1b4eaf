//! Reads TOML and JSON values by their forms, and reports every problem with its place.

mod document;
mod form;
mod path;
mod reader;
mod scalar;
mod table;
mod templates;
mod text_file;

pub(crate) use document::{Document, MatrixOrigins};
pub(crate) use form::{
    Any, AnyTable, Either, Form, Globs, List, MAX_GLOBS, Named, StringOr, TEMPLATE, Templated,
    Templates, TextOrList,
};
pub(crate) use path::{At, Part, Places, Step, dotted, keys};
pub use reader::similar;
pub(crate) use reader::{
    COMMAND_ROOTS, ENV_ROOTS, FileOwner, LIST_ROOTS, MATRIX_ROOTS, Reader, kind, slip_distance,
    suggest,
};
pub(crate) use scalar::{
    AGE, Boolean, DIGEST, DURATION, EXPECTED_ERROR, FILE_GLOB, FailFastForm, GLOB, Integer, Number,
    Pattern, RATE, SIZE, Scalar, TEST_ID, TEXT, TIMEOUT, Text, Word, size,
};
pub(crate) use table::{Table, TableForm};
pub(crate) use templates::{TemplateValue, read_literals, visit_templates};
pub use text_file::files_beside;
pub(crate) use text_file::{MAX_BYTES, not_utf8, read_text};
