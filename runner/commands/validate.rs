//! `runner validate`.

use crate::{
    cli::ValidateArgs,
    error::{Error, ExitStatus},
    output::Output,
    scenario::{self, Selection},
};

/// Checks scenarios and their test lists.
pub(super) fn validate(args: &ValidateArgs, output: &Output) -> Result<ExitStatus, Error> {
    let mut status = ExitStatus::Success;
    for path in &args.scenarios {
        let checked = scenario::load(path)
            .and_then(|scenario| scenario::normalise(&scenario, &Selection::default()));
        match checked {
            Ok(suite) => output.data(&format!(
                "{}: valid, {} tests make {} trials",
                path.display(),
                suite.test_count(),
                suite.trial_count()
            )),
            Err(error) => {
                output.error(&Error::usage(error));
                status = ExitStatus::Usage;
            }
        }
    }
    Ok(status)
}
