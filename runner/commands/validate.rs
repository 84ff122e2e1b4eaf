//! `runner validate`.

use super::Context;
use crate::{
    cli::ValidateArgs,
    error::{Error, ExitStatus},
    output, session,
};

/// Checks scenarios and their test lists, and the folders that they grant.
pub(super) fn validate(args: &ValidateArgs, context: &Context) -> Result<ExitStatus, Error> {
    let mut status = ExitStatus::Success;
    for path in &args.scenarios {
        match session::validate(path, &context.host, &mut context.notices()) {
            Ok((_, suite)) => {
                let (tests, trials) = (suite.test_count(), suite.trial_count());
                let text = output::valid_text(path, tests, trials);
                context.output.plain_data(&text);
            }
            Err(error) => {
                context.output.error(&error);
                status = ExitStatus::Usage;
            }
        }
    }
    Ok(status)
}
