//! [`Ids`]: the ids of a suite's trials.

use std::{collections::HashSet, io};

use runner_model::{Places as _, TestId, TrialId, provider::Provider};
use runner_scenario::Suite;

use super::test_line::TestLine;

/// Reads the ids of a suite's trials. For consecutive trials of a test, its line is read once.
pub(crate) struct Ids<'a> {
    suite: &'a Suite,
    providers: &'a [Provider],
    line: Vec<u8>,
    last: Option<(u64, TestId)>,
}

impl<'a> Ids<'a> {
    pub(crate) fn new(suite: &'a Suite, providers: &'a [Provider]) -> Self {
        Self { suite, providers, line: Vec::new(), last: None }
    }

    /// Returns the id of a trial by its index.
    pub(crate) fn trial(&mut self, trial: u64) -> io::Result<TrialId> {
        let planned = self.suite.trial(trial);
        let test = match &self.last {
            Some((test, id)) if *test == planned.test => id.clone(),
            _ => {
                self.suite.line(planned.test, &mut self.line)?;
                let id = TestLine::read(&self.line)?.id;
                self.last.insert((planned.test, id)).1.clone()
            }
        };
        Ok(TrialId {
            test,
            provider: self.providers[usize::from(planned.provider)].name.clone(),
            repeat: planned.repeat,
        })
    }
}

/// Returns `test@provider` for each trial whose index satisfies `is_selected`.
pub(crate) fn tests(
    suite: &Suite,
    providers: &[Provider],
    is_selected: impl Fn(u64) -> bool,
) -> io::Result<HashSet<String>> {
    let mut ids = Ids::new(suite, providers);
    (0..suite.trials())
        .filter(|trial| is_selected(*trial))
        .map(|trial| ids.trial(trial).map(|id| format!("{}@{}", id.test, id.provider)))
        .collect()
}
