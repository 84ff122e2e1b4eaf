//! `runner validate`.

use super::Surroundings;
use crate::{
    cli::ValidateArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    session,
};

/// Checks scenarios and their test lists, and the folders that they grant.
pub(super) fn validate(
    args: &ValidateArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut status = ExitStatus::Success;
    for path in &args.scenarios {
        match session::validate(path, &surroundings.host) {
            Ok(suite) => output.plain_data(&format!(
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
                output.error(&error);
                status = ExitStatus::Usage;
            }
        }
    }
    Ok(status)
}
