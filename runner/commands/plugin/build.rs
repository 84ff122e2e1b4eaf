//! `runner plugin build`.

use miette::miette;

use crate::{
    cli::BuildArgs,
    commands::plugins,
    error::{Error, ExitStatus},
    output::Output,
    run::StopSignals,
    toolchain::Source,
};

/// Builds the plugin in a folder.
pub(super) fn build(args: &BuildArgs, output: &Output) -> Result<ExitStatus, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let source = Source::open(&args.folder).map_err(|error| plugins::unusable(&error))?;
    plugins::build_now(&source, &signals, output)?;
    Ok(ExitStatus::Success)
}
