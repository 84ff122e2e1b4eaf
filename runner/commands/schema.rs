//! `runner schema`.

use clap::ValueEnum as _;

use super::Context;
use crate::{
    cli::{SchemaArgs, SchemaName},
    error::ExitStatus,
    record, scenario, serve, view,
};

/// Prints a JSON Schema.
pub(super) fn schema(args: &SchemaArgs, context: &Context) -> ExitStatus {
    let schema = match args.name {
        SchemaName::Scenario => scenario::json_schema(),
        SchemaName::Settings => scenario::settings_schema(),
        SchemaName::Row => record::row_schema(),
        SchemaName::LogLine => record::log_line_schema(),
        SchemaName::Benchmark => record::benchmark_schema(),
        SchemaName::Events => view::events_schema(),
        SchemaName::Openapi => serve::openapi(),
        _ => {
            let name = args.name.to_possible_value().expect("no name is hidden");
            view::schema(name.get_name()).expect("every document has a schema of its name")
        }
    };
    context.output.data(&format!("{schema:#}"));
    ExitStatus::Success
}
