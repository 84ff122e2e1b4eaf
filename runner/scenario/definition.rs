//! [`Definition`]: a line of a suite's file that defines a schema.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expect::Schema;
use crate::model::Digest;

/// A schema that later lines name by its digest.
#[derive(Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) define: String,
    pub(super) schema: Value,
}

/// Reads such a line.
pub(super) fn read_definition(line: &[u8]) -> io::Result<(Digest, Arc<Schema>)> {
    let definition: Definition = serde_json::from_slice(line)?;
    let schema = Schema::compile(definition.schema).map_err(io::Error::other)?;
    let digest = Digest::parse(&definition.define);
    let digest = digest.ok_or_else(|| damaged("a digest"))?;
    Ok((digest, Arc::new(schema)))
}

/// The error of a suite in which something is not what was written.
pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the stored list of tests is damaged: {what} cannot be read"),
    )
}
