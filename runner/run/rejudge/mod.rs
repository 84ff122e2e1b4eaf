//! [`Rejudging`]: which trials mean something else by other expectations.

mod live_tests;

use std::{collections::HashSet, io, sync::Arc};

use self::live_tests::LiveTests;
use super::{attempt::StoredEvidence, plan::TrialNames};
use crate::{
    judge::judge,
    model::{Digest, Outcome, chain},
    record::{AttemptKey, JudgementEntry, Mark, Row, RowCheck, RunReader, State, WrittenAttempt},
    scenario::{self, Expect, Protocol, Suite, Test},
};

/// The trials of a run, one after the other, as rows tell of them.
pub struct Rejudging<'a> {
    reader: &'a RunReader,
    state: &'a State,
    /// What the run was planned with.
    stored: TrialNames,
    /// What it is judged by now.
    live: LiveTests,
    scenario: Digest,
    /// The providers that are called as plain commands.
    plain: HashSet<String>,
    /// By ordinal, whether an attempt has ended badly since the trial was begun.
    is_shaky: Vec<bool>,
}

/// What came of judging a trial again.
pub enum Rejudged {
    /// The row does not settle its trial.
    NotSettled,
    /// It was judged by the same already.
    Unchanged,
    /// It cannot be.
    Kept(String),
    /// It was.
    Judged(Box<JudgementEntry>),
}

impl<'a> Rejudging<'a> {
    /// Makes ready to judge by `suite`, which was read from a scenario with this digest; `None` if what the run was planned
    /// with is not there any more.
    pub fn new(
        reader: &'a RunReader,
        state: &'a State,
        suite: &Suite,
        scenario: Digest,
    ) -> Option<Self> {
        let planned = usize::try_from(state.counts().planned);
        Some(Self {
            reader,
            state,
            stored: TrialNames::of(reader)?,
            live: LiveTests::new(suite),
            scenario,
            plain: plain_providers(reader)?,
            is_shaky: vec![false; planned.expect("a plan fits into memory")],
        })
    }

    /// Judges the next attempt again. `judged` is the same row as it is judged by now.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub fn next(&mut self, attempt: &WrittenAttempt, judged: &Row<'_>) -> io::Result<Rejudged> {
        let was_shaky = self.note(judged);
        if !self.state.is_current(judged) {
            return Ok(Rejudged::NotSettled);
        }
        let Some(then) = self.stored.test(judged.ordinal) else {
            return Ok(Rejudged::Kept("its test is not stored any more".to_owned()));
        };
        let Some(now) = self.live.find(&judged.test, then.index)? else {
            let because = "its test is not in the scenario";
            return Ok(Rejudged::Kept(because.to_owned()));
        };
        if judged
            .judgement_fingerprint
            .is_some_and(|by| by.begins(now.judgement))
        {
            return Ok(Rejudged::Unchanged);
        }
        if !now.expect.graders.is_empty() {
            // What is left of the expectations would let pass what a grader has refused.
            let because = "graders judge it, and they are not asked again";
            return Ok(Rejudged::Kept(because.to_owned()));
        }
        Ok(self.judge(attempt, judged, &then.expect, &now, was_shaky))
    }

    /// Notes what an attempt means for those after it, and says what those before it mean for this one.
    fn note(&mut self, row: &Row<'_>) -> bool {
        let place = usize::try_from(row.ordinal).ok();
        let Some(is_shaky) = place.and_then(|place| self.is_shaky.get_mut(place)) else {
            return false;
        };
        let was_shaky = *is_shaky;
        *is_shaky = !row.is_final && (was_shaky || row.outcome.is_bad());
        was_shaky
    }

    fn judge(
        &self,
        attempt: &WrittenAttempt,
        judged: &Row<'_>,
        then: &Expect,
        now: &Arc<Test>,
        was_shaky: bool,
    ) -> Rejudged {
        let row = &attempt.row;
        let expects_error = then.error.is_some() || now.expect.error.is_some();
        if let Some(because) = without_reply(row, expects_error) {
            return Rejudged::Kept(because);
        }
        let is_plain = self.plain.contains(&*row.provider);
        let stored = match &attempt.judgement {
            Some(before) => StoredEvidence::read_again(self.reader, row, before, is_plain),
            None => StoredEvidence::read(self.reader, row, then, is_plain),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return Rejudged::Kept(chain(&error)),
        };
        let judgement = judge(&now.expect, &stored.evidence());
        let own = row.checks.len() - stored.own_checks();
        let mut checks = judgement.checks;
        checks.extend(row.checks[own..].iter().map(RowCheck::to_check));
        let outcome = judgement.outcome;
        Rejudged::Judged(Box::new(JudgementEntry {
            mark: Mark {
                key: AttemptKey {
                    ordinal: row.ordinal,
                    number: row.attempt,
                },
                outcome,
                is_final: true,
                is_flaky: outcome == Outcome::Passed && was_shaky,
            },
            of: row.seq,
            before: Some((judged.outcome, judged.is_flaky)),
            score: row.score,
            checks,
            own_checks: u32::try_from(stored.own_checks()).unwrap_or(u32::MAX),
            exit_code: stored.exit_code(),
            grades: Vec::new(),
            error: stored.error().cloned(),
            fingerprint: now.judgement,
            scenario: self.scenario,
        }))
    }
}

/// Why an attempt keeps its outcome that has no reply to be judged: unless an error is expected, no other expectation has
/// anything to say of it.
fn without_reply(row: &Row<'_>, expects_error: bool) -> Option<String> {
    let error = row.error.as_ref()?;
    if row.output.is_some() {
        return Some(format!(
            "its output is not the whole of its result: {}",
            error.message
        ));
    }
    (!expects_error).then(|| format!("it has no output: {}", error.message))
}

/// The providers of a run that are called as plain commands; `None` if its scenario is not stored any more.
fn plain_providers(reader: &RunReader) -> Option<HashSet<String>> {
    let manifest = reader.manifest();
    let text = reader.scenario_text().ok()?;
    let scenario = scenario::parse_stored(manifest.scenario.path.as_ref(), &text).ok()?;
    let is_command = |name: &str| {
        let mut providers = manifest.providers.iter();
        providers.any(|provider| provider.name == name && provider.kind == "command")
    };
    let plain = scenario.providers().iter().filter(|provider| {
        provider.protocol != Some(Protocol::Json) && is_command(provider.id.as_str())
    });
    Some(plain.map(|provider| provider.id.to_string()).collect())
}
