//! `runner validate`.

use crate::{
    cli::ValidateArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
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
                "{}: valid, {} {} {}",
                path.display(),
                output::plural(suite.test_count(), "test"),
                if suite.test_count() == 1 {
                    "makes"
                } else {
                    "make"
                },
                output::plural(suite.trial_count(), "trial")
            )),
            Err(error) => {
                output.error(&Error::usage(error));
                status = ExitStatus::Usage;
            }
        }
    }
    Ok(status)
}
