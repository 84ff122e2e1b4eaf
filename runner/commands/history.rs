//! `runner history`.

use super::Context;
use crate::{
    cli::HistoryArgs,
    error::{Error, ExitStatus},
    output,
    session::{self, AskedTrends, Store},
};

/// Tells what tests came to over many runs.
pub(super) fn history(args: &HistoryArgs, context: &Context) -> Result<ExitStatus, Error> {
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let asked = AskedTrends {
        scenario: args.scenario.clone(),
        test: args.test.clone(),
        filter: args.filter.parse()?,
        last: args.last.get(),
    };
    let found = session::trends(&store, &asked)?;
    let output = &context.output;
    output::warn_unreadable(&found.unreadable, output);
    match args.json {
        true => output.document(&found.trends),
        false => output.show(&output::trends_text(&found.trends, output.columns())),
    }
    Ok(ExitStatus::Success)
}
