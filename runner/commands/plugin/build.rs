//! `runner plugin build`.

use miette::miette;

use crate::{
    cli::BuildArgs,
    error::{Error, ExitStatus},
    output::{Notices, Output},
    run::StopSignals,
    session::plugins,
    toolchain::Source,
};

/// Builds the plugin in a folder.
pub(super) fn build(args: &BuildArgs, output: &Output) -> Result<ExitStatus, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let source = Source::open(&args.folder).map_err(|error| plugins::unusable(&error))?;
    plugins::build_now(&source, Some(&signals), &mut Notices(output.clone()))?;
    Ok(ExitStatus::Success)
}
