//! [`Rejudging`]: which trials mean something else by other expectations, or by other graders.

mod live_tests;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use self::live_tests::LiveTests;
use super::{
    attempt::StoredEvidence,
    graders,
    grading::{GradedTrial, Graders, RejudgedParts, ToJudge, Ungraded, Unjudged},
    plan::{Fingerprints, Plan, TrialNames},
};
use crate::{
    judge::judge,
    model::{Check, Digest, ErrorClass, Outcome, chain},
    record::{AttemptKey, JudgementEntry, Mark, Row, RowCheck, RunReader, State, WrittenAttempt},
    scenario::{self, Expect, Protocol, Suite, Test},
};

/// The trials of a run, one after the other, as rows tell of them.
pub struct Rejudging {
    reader: RunReader,
    state: State,
    /// What the run was planned with.
    stored: TrialNames,
    /// What it is judged by now.
    live: LiveTests,
    scenario: Digest,
    /// Whom tests may name; `None` if nobody is to be asked.
    graders: Option<(Arc<Graders>, Fingerprints)>,
    /// The providers that are called as plain commands.
    plain: HashSet<String>,
    /// By ordinal, whether an attempt has ended badly since the trial was begun.
    is_shaky: Vec<bool>,
    /// What a test's trials are judged by, by the place of the test; asked for once for all of its trials.
    prints: HashMap<u64, Digest>,
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
    /// Graders have still to speak.
    ToGrade(Box<TrialToGrade>),
}

/// A trial that is judged again, of which graders have still to speak.
pub struct TrialToGrade {
    /// The graders that are to be asked: the others have answered the same before.
    pub graders: Vec<String>,
    trial: GradedTrial,
}

impl TrialToGrade {
    /// Hands it over to a session.
    pub fn into_unjudged(self) -> Unjudged {
        Unjudged(ToJudge::ToGrade(Box::new(self.trial)))
    }
}

/// Hands a judgement over to a session, with the row of its attempt as it was written.
pub fn judged(judgement: JudgementEntry, row: Row<'static>) -> Unjudged {
    Unjudged(ToJudge::Judged(Box::new(judgement), Box::new(row)))
}

impl Rejudging {
    /// Makes ready to judge by `suite`, which was read from a scenario with this digest, and to ask nobody; `None` if what the
    /// run was planned with is not there any more.
    pub fn new(reader: &RunReader, state: &State, suite: &Suite, scenario: Digest) -> Option<Self> {
        let planned = usize::try_from(state.counts().planned);
        Some(Self {
            reader: reader.clone(),
            state: state.clone(),
            stored: TrialNames::of(reader)?,
            live: LiveTests::new(suite),
            scenario,
            graders: None,
            plain: plain_providers(reader)?,
            is_shaky: vec![false; planned.expect("a plan fits into memory")],
            prints: HashMap::new(),
        })
    }

    /// Makes ready to judge by the tests of a plan, and to have its graders asked; `None` if what the run was planned with is
    /// not there any more.
    pub fn by_plan(reader: &RunReader, state: &State, plan: &Plan) -> Option<Self> {
        let scenario = Digest::of(plan.scenario().text().as_bytes());
        let fingerprints = Fingerprints::new(&plan.providers, &plan.graders, plan.options());
        Some(Self {
            graders: Some((graders::of_plan(plan), fingerprints)),
            ..Self::new(reader, state, plan.suite(), scenario)?
        })
    }

    /// Judges the next attempt again. `judged` is the same row as it is judged by now.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub fn next(
        &mut self,
        attempt: &WrittenAttempt,
        judged: &Row<'static>,
    ) -> io::Result<Rejudged> {
        let was_shaky = self.note(judged);
        let is_ungraded = self.is_ungraded(judged);
        if !self.state.is_current(judged) && !is_ungraded {
            return Ok(Rejudged::NotSettled);
        }
        let Some(then) = self.stored.test(judged.ordinal) else {
            return Ok(Rejudged::Kept("its test is not stored any more".to_owned()));
        };
        let Some(now) = self.live.find(&judged.test, then.index)? else {
            let because = "its test is not in the scenario";
            return Ok(Rejudged::Kept(because.to_owned()));
        };
        let is_graded = !now.expect.graders.is_empty();
        if is_graded && self.graders.is_none() {
            // What is left of the expectations would let pass what a grader has refused.
            let because = "graders judge it, and they are not asked";
            return Ok(Rejudged::Kept(because.to_owned()));
        }
        let print = self.print(&now);
        let is_same = judged
            .judgement_fingerprint
            .is_some_and(|by| by.begins(print));
        // A grader that gave no answer may have one now.
        let is_without_answer = is_graded
            && judged
                .error
                .as_ref()
                .is_some_and(|error| error.class == Some(ErrorClass::Grader));
        if is_same && !is_ungraded && !is_without_answer {
            return Ok(Rejudged::Unchanged);
        }
        Ok(self.judge(attempt, judged, &then.expect, (&now, print), was_shaky))
    }

    /// Tells whether a row is the latest attempt of its trial, of which graders have still to speak.
    fn is_ungraded(&self, row: &Row<'_>) -> bool {
        self.state.is_ungraded(row.ordinal)
            && self.state.attempts(row.ordinal) == row.attempt
            && row.outcome == Outcome::Ungraded
    }

    fn print(&mut self, test: &Test) -> Digest {
        match &self.graders {
            None => test.judgement,
            Some(_) if test.expect.graders.is_empty() => test.judgement,
            Some((_, prints)) => *self
                .prints
                .entry(test.index)
                .or_insert_with(|| prints.judgement(test)),
        }
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
        judged: &Row<'static>,
        then: &Expect,
        (now, fingerprint): (&Arc<Test>, Digest),
        was_shaky: bool,
    ) -> Rejudged {
        let row = &attempt.row;
        let expects_error = then.error.is_some() || now.expect.error.is_some();
        if let Some(because) = without_reply(row, expects_error) {
            return Rejudged::Kept(because);
        }
        let is_plain = self.plain.contains(&*row.provider);
        let stored = match &attempt.judgement {
            Some(before) => StoredEvidence::read_again(&self.reader, row, before, is_plain),
            None => StoredEvidence::read(&self.reader, row, then, is_plain),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return Rejudged::Kept(chain(&error)),
        };
        let judgement = judge(&now.expect, &stored.evidence());
        let own = row.checks.len() - stored.own_checks();
        let own: Vec<Check> = row.checks[own..].iter().map(RowCheck::to_check).collect();
        let outcome = judgement.outcome;
        let before = judged.is_final.then_some((judged.outcome, judged.is_flaky));
        if outcome == Outcome::Passed
            && !now.expect.graders.is_empty()
            && let Some((graders, _)) = &self.graders
        {
            let ungraded = Ungraded::again(RejudgedParts {
                row: row.clone(),
                test: Arc::clone(now),
                exit_code: stored.exit_code(),
                output: stored.into_output(),
                expected: judgement.checks,
                own,
                was_shaky,
                before,
                grades: judged.grades.clone(),
                fingerprint,
            });
            return graded(ungraded, graders);
        }
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
            before,
            score: row.score,
            own_checks: u32::try_from(own.len()).unwrap_or(u32::MAX),
            checks: [judgement.checks, own].concat(),
            exit_code: stored.exit_code(),
            grades: Vec::new(),
            error: stored.error().cloned(),
            fingerprint,
            scenario: self.scenario,
        }))
    }
}

/// What graders have answered before is taken first; only where more is to be asked a session has to do it.
fn graded(ungraded: Ungraded, graders: &Graders) -> Rejudged {
    let mut trial = GradedTrial::new(ungraded);
    let unasked = trial.unasked(graders);
    match unasked.is_empty() && trial.next(graders).is_none() {
        true => Rejudged::Judged(Box::new(trial.judgement(graders, false))),
        false => Rejudged::ToGrade(Box::new(TrialToGrade {
            graders: unasked,
            trial,
        })),
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
