//! `runner prune`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use miette::miette;

use super::Context;
use crate::{
    cli::PruneArgs,
    error::{Error, ExitStatus},
    output,
    record::{PrunePolicy, RunId},
    session::{self, Store},
    view::UpkeepMode,
};

/// Deletes what the policies name, or says what would be deleted.
pub(super) fn prune(args: &PruneArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let runs: Result<BTreeSet<RunId>, _> = args.runs.iter().map(|run| named(&store, run)).collect();
    let mut policy = PrunePolicy {
        runs: runs?,
        statuses: args.status.clone(),
        older_than: args.older_than,
        keep_last: args.keep_last,
        max_bytes: args.max_size,
    };
    if !policy.says_anything()
        && let Some(kept) = session::retention_policy(&session::root_settings(store.root())?)
    {
        policy = kept;
        context.output.talk("by `[retention]` of the results root");
    }
    let mode = UpkeepMode::of(args.no_dry_run);
    let pruned = session::prune(&store, &policy, mode, context.now()).map_err(Error::record)?;
    output::print_pruned(&pruned, &store, args.json, &context.output);
    Ok(pruned.exit)
}

/// The run with this name, if it is one of this results root and no link to one.
fn named(store: &Store, name: &str) -> Result<RunId, Error> {
    let run = store.find(name).map_err(Error::find)?;
    let place = match name.contains('/') {
        // Behind a slash or a dot at its end a link would be followed.
        true => Path::new(name).components().collect::<PathBuf>(),
        false => store.root().join(name),
    };
    if place.is_symlink() {
        return Err(Error::usage(miette!(
            help = "name the run itself, or delete the link with `rm`",
            "`{name}` is a symbolic link to `{}`",
            run.dir.display()
        )));
    }
    let root = run.dir.parent().unwrap_or(&run.dir);
    let real = |path: &Path| fs_err::canonicalize(path).ok();
    match real(root) == real(store.root()) {
        true => Ok(run.id),
        false => Err(Error::usage(miette!(
            help = format!("`runner prune --results {}` deletes it", root.display()),
            "run `{}` is not in `{}`",
            run.id.as_str(),
            store.root().display()
        ))),
    }
}
