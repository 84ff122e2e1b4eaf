//! `runner list`.

use jiff::Timestamp;

use super::Context;
use crate::{
    cli::{ListArgs, Since},
    error::{Error, ExitStatus},
    output,
    session::{self, List, Store},
};

/// Lists runs, newest first.
pub(super) fn list(args: &ListArgs, context: &Context) -> Result<ExitStatus, Error> {
    // What the store warns of, such as a damaged `runner.db`, reaches the screen this way.
    context.show_warnings();
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let now = context.now();
    let asked = asked(args, now);
    let listed = session::list(&store, &asked, now).map_err(Error::record)?;
    output::warn_unreadable(&listed.unreadable, &context.output);
    match args.json {
        true => context.output.document(&listed.list),
        false => output::print_list(&listed, &asked, &store, &context.results, &context.output),
    }
    Ok(ExitStatus::Success)
}

/// Which runs are asked for.
fn asked(args: &ListArgs, now: Timestamp) -> List {
    List {
        statuses: args.status.clone(),
        verdict: args.verdict,
        group: args.group.clone(),
        scenario: args.scenario.clone(),
        since: match args.since {
            None => Timestamp::MIN,
            Some(Since::At(since)) => since,
            Some(Since::Ago(age)) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
        },
        limit: args.limit.unwrap_or(usize::MAX),
    }
}
