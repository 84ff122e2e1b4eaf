//! `runner validate`.

use super::{Surroundings, protected};
use crate::{
    cli::ValidateArgs,
    error::{Error, ExitStatus},
    output::{self, Output},
    run,
    scenario::{self, Selection},
};

/// Checks scenarios and their test lists, and the folders that they grant.
pub(super) fn validate(
    args: &ValidateArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut status = ExitStatus::Success;
    let everything = Selection::default();
    for path in &args.scenarios {
        let checked = scenario::load(path)
            .map_err(Error::usage)
            .and_then(|scenario| {
                let suite = scenario::normalise(&scenario, &everything);
                let suite = suite.map_err(Error::usage)?;
                let protected = protected::of_process(surroundings);
                run::check_scenario(&scenario, Some(&suite), &everything, protected)
                    .map_err(Error::usage)?;
                Ok(suite)
            });
        match checked {
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
