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

/// The name and the title of the description of the API, which is not a JSON Schema.
const OPENAPI: (&str, &str) = ("openapi", "HTTP API of `serve`, by OpenAPI 3.1");

/// Returns the names and titles of all schemas.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCHEMAS.iter().map(|schema| (schema.name, schema.title)).chain([OPENAPI])
}

fn names() -> PossibleValuesParser {
    all().map(|(name, title)| PossibleValue::new(name).help(title)).collect::<Vec<_>>().into()
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let named = args.name.as_ref().and_then(|name| SCHEMAS.iter().find(|one| one.name == *name));
    if let Some(schema) = named {
        out.document(&schema.schema());
    } else if args.name.is_some() {
        out.document(&runner_serve::openapi());
    } else {
        let mut table = Table::new([("name", 0), ("describes", 0)]);
        all().for_each(|(name, title)| table.row([name.into(), title.into()]));
        out.data(table.render(out.columns()).trim_end());
    }
    Ok(Exit::Success)
}
