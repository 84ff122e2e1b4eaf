//! `runner schema`: prints the JSON Schemas of documents, of lines and of files.

use clap::builder::{PossibleValue, PossibleValuesParser};
use runner_model::exit::Exit;
use runner_report::SCHEMAS;

use crate::text::{CommandError, Out, Table};

/// Print the JSON Schema of a file or of `--json`
///
/// Without a name, it lists the names.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the schema
    #[arg(value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
}

fn names() -> PossibleValuesParser {
    SCHEMAS.iter().map(|schema| PossibleValue::new(schema.name).help(schema.title)).into()
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let named = args.name.as_ref().and_then(|name| SCHEMAS.iter().find(|one| one.name == *name));
    if let Some(schema) = named {
        out.document(&schema.schema());
    } else {
        let mut table = Table::new([("name", 0), ("describes", 0)]);
        SCHEMAS.iter().for_each(|schema| table.row([schema.name.into(), schema.title.into()]));
        out.data(table.render(out.columns()).trim_end());
    }
    Ok(Exit::Success)
}
