//! `runner init`.

use super::Context;
use crate::{
    cli::InitArgs,
    error::{Error, ExitStatus},
    output, scenario,
};

/// Writes a first scenario, and says how to go on.
pub(super) fn init(args: &InitArgs, context: &Context) -> Result<ExitStatus, Error> {
    let created = scenario::create_project(&args.folder).map_err(Error::usage)?;
    output::print_project(&created.files, &created.scenario, &context.output);
    Ok(ExitStatus::Success)
}
