//! `runner cleanup`.

use super::Context;
use crate::{
    cli::CleanupArgs,
    error::{Error, ExitStatus},
    output,
    session::{self, Store},
    view::UpkeepMode,
};

/// Sweeps runs whose process has died, or says what a sweep would do.
pub(super) fn cleanup(args: &CleanupArgs, context: &Context) -> Result<ExitStatus, Error> {
    // Runs that cannot be looked at are warned of by the store.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let age = args.stale_hours.unwrap_or_default();
    let mode = UpkeepMode::of(args.no_dry_run);
    let cleaned = session::cleanup(&store, age, mode, context.now()).map_err(Error::record)?;
    output::print_cleaned(&cleaned, &store, args.json, &context.output);
    Ok(cleaned.exit)
}
