//! `runner schema`.

use crate::{
    cli::{SchemaArgs, SchemaName},
    error::ExitStatus,
    output::{self, Output},
    record, scenario,
};

/// Prints a JSON Schema.
pub(super) fn schema(args: &SchemaArgs, output: &Output) -> ExitStatus {
    let schema = match args.name {
        SchemaName::Scenario => scenario::json_schema(),
        SchemaName::Row => record::row_schema(),
        SchemaName::Benchmark => record::benchmark_schema(),
        SchemaName::Events => output::events_schema(),
    };
    output.data(&format!("{schema:#}"));
    ExitStatus::Success
}
