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
    plan::{Fingerprints, Plan, open_stored_suite},
};
use crate::{
    judge::judge,
    model::{Check, Digest, ErrorClass, Outcome, chain},
    record::{
        AttemptKey, JudgementEntry, Mark, PlainAttempt, Row, RowCheck, RunReader, State,
        WrittenAttempt,
    },
    scenario::{self, Expect, ExpectationReader, Protocol, Suite, judgement_of_equals},
};

/// What a run was planned with, as far as its trials are judged by it.
#[derive(Clone)]
pub struct PlannedWith {
    tests: ExpectationReader,
    /// The providers that are called as plain commands.
    plain: Arc<HashSet<String>>,
}

impl PlannedWith {
    /// Reads what is stored with a run; `None` if it is not there any more.
    pub fn of(reader: &RunReader) -> Option<Self> {
        Some(Self {
            tests: ExpectationReader::new(&open_stored_suite(reader)?),
            plain: Arc::new(plain_providers(reader)?),
        })
    }
}

/// Judges the trials of a run again, as rows tell of them. A clone of it is for another thread.
#[derive(Clone)]
pub struct Rejudging {
    reader: RunReader,
    state: Arc<State>,
    /// What the tests expected that the run was planned with.
    stored: ExpectationReader,
    /// What it is judged by now.
    live: LiveTests,
    scenario: Digest,
    /// Whom tests may name; `None` if nobody is to be asked.
    graders: Option<(Arc<Graders>, Arc<Fingerprints>)>,
    /// The providers that are called as plain commands.
    plain: Arc<HashSet<String>>,
    /// What the trials of a test that graders judge are judged by, by the place of the test; asked for once for all of them.
    prints: HashMap<u64, Digest>,
    held: HeldChecks,
}

/// The checks of the last attempt of which all have held: those of the next one are mostly the same.
#[derive(Clone, Default)]
struct HeldChecks {
    names: Vec<&'static str>,
    checks: Arc<[Check]>,
}

impl HeldChecks {
    /// The checks with these names.
    fn of(&mut self, names: Vec<&'static str>) -> Arc<[Check]> {
        if self.names != names {
            self.checks = names.iter().copied().map(Check::held).collect();
            self.names = names;
        }
        Arc::clone(&self.checks)
    }
}

/// What came of judging a trial again.
#[expect(
    clippy::large_enum_variant,
    reason = "most are judgements, and one thread would free what another has allocated"
)]
pub enum Rejudged {
    /// The row does not settle its trial.
    NotSettled,
    /// It was judged by the same already.
    Unchanged,
    /// It cannot be.
    Kept(String),
    /// It was.
    Judged(JudgementEntry),
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
    /// Takes that an attempt of the trial before this one has ended badly.
    pub fn follow_a_bad_attempt(&mut self) {
        self.trial.of.was_shaky = true;
    }

    /// Hands it over to a session.
    pub fn into_unjudged(self) -> Unjudged {
        Unjudged(ToJudge::ToGrade(Box::new(self.trial)))
    }
}

/// Hands a judgement over to a session, with the row of its attempt as it was written.
pub fn judged(judgement: JudgementEntry, row: Row<'static>) -> Unjudged {
    Unjudged(ToJudge::Judged(Box::new(judgement), Box::new(row)))
}

/// Of every trial, whether an attempt has ended badly since it was begun.
pub struct ShakyTrials(Vec<bool>);

impl ShakyTrials {
    /// For a run with so many trials, before its first row.
    pub fn new(planned: u64) -> Self {
        let planned = usize::try_from(planned);
        Self(vec![false; planned.expect("a plan fits into memory")])
    }

    /// Notes what an attempt means for those after it, and says what those before it mean for this one.
    pub fn note(&mut self, mark: Mark) -> bool {
        let place = usize::try_from(mark.key.ordinal).ok();
        let Some(is_shaky) = place.and_then(|place| self.0.get_mut(place)) else {
            return false;
        };
        let was_shaky = *is_shaky;
        *is_shaky = !mark.is_final && (was_shaky || mark.outcome.is_bad());
        was_shaky
    }
}

impl Rejudging {
    /// Makes ready to judge by `suite`, which was read from a scenario with this digest, and to ask nobody.
    pub fn new(
        (reader, stored): (&RunReader, PlannedWith),
        state: &State,
        suite: &Suite,
        scenario: Digest,
    ) -> Self {
        Self {
            reader: reader.clone(),
            state: Arc::new(state.clone()),
            stored: stored.tests,
            live: LiveTests::new(suite),
            scenario,
            graders: None,
            plain: stored.plain,
            prints: HashMap::new(),
            held: HeldChecks::default(),
        }
    }

    /// Makes ready to judge by the tests of a plan, and to have its graders asked.
    pub fn by_plan(run: (&RunReader, PlannedWith), state: &State, plan: &Plan) -> Self {
        let scenario = Digest::of(plan.scenario().text().as_bytes());
        let fingerprints = Fingerprints::new(&plan.providers, &plan.graders, plan.options());
        Self {
            graders: Some((graders::of_plan(plan), Arc::new(fingerprints))),
            ..Self::new(run, state, plan.suite(), scenario)
        }
    }

    /// Judges an attempt again of which there is no more to tell than of most: what is expected is what has come, letter by
    /// letter. `None` says only that all of the attempt has to be looked at.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub fn judge_plain(&mut self, attempt: &PlainAttempt<'_>) -> io::Result<Option<Rejudged>> {
        let key = attempt.mark.key;
        if !self.state.is_settled_by(key.ordinal, key.number) {
            return Ok(None);
        }
        let (test, provider, _) = attempt.parts();
        let Ok(then) = self.stored.place_of(key.ordinal) else {
            return Ok(None);
        };
        let Some((held, print)) = self.live.held_by(test, then, attempt.output)? else {
            return Ok(None);
        };
        if attempt.judged_by.begins(print) {
            return Ok(Some(Rejudged::Unchanged));
        }
        let expected = match attempt.expected_checks {
            Some(expected) => Some(expected),
            // Known without a look at the stored test, which takes three times as long.
            None if attempt
                .judged_by
                .begins(judgement_of_equals(attempt.output)) =>
            {
                Some(1)
            }
            None => self.stored.checks_at(then)?,
        };
        // Others are the provider's own.
        if expected != Some(attempt.checks) || self.plain.contains(provider) {
            return Ok(None);
        }
        Ok(Some(Rejudged::Judged(JudgementEntry {
            mark: Mark {
                is_flaky: false,
                ..attempt.mark
            },
            of: attempt.seq,
            before: Some((attempt.mark.outcome, attempt.mark.is_flaky)),
            score: None,
            checks: self.held.of(held),
            own_checks: 0,
            exit_code: None,
            grades: Vec::new(),
            error: None,
            fingerprint: print,
            scenario: self.scenario,
        })))
    }

    /// Judges an attempt again. `judged` is the same row as it is judged by now.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read.
    pub fn judge(
        &mut self,
        attempt: &WrittenAttempt,
        judged: &Row<'static>,
    ) -> io::Result<Rejudged> {
        let is_ungraded = self.is_ungraded(judged);
        if !self.state.is_current(judged) && !is_ungraded {
            return Ok(Rejudged::NotSettled);
        }
        let Ok(then) = self.stored.place_of(judged.ordinal) else {
            return Ok(Rejudged::Kept("its test is not stored any more".to_owned()));
        };
        let Some((place, now)) = self.live.find(&judged.test, then)? else {
            let because = "its test is not in the scenario";
            return Ok(Rejudged::Kept(because.to_owned()));
        };
        let is_graded = !now.expect.graders.is_empty();
        if is_graded && self.graders.is_none() {
            // What is left of the expectations would let pass what a grader has refused.
            let because = "graders judge it, and they are not asked";
            return Ok(Rejudged::Kept(because.to_owned()));
        }
        let print = match is_graded {
            true => self.print(place)?,
            false => now.judgement,
        };
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
        let by = NewJudge {
            expect: &now.expect,
            place,
            print,
        };
        self.judge_by(&by, attempt, judged, then)
    }

    /// Tells whether a row is the latest attempt of its trial, of which graders have still to speak.
    fn is_ungraded(&self, row: &Row<'_>) -> bool {
        self.state.is_ungraded(row.ordinal)
            && self.state.attempts(row.ordinal) == row.attempt
            && row.outcome == Outcome::Ungraded
    }

    /// What the trials of a test are judged by that graders judge.
    fn print(&mut self, place: u64) -> io::Result<Digest> {
        if let Some(print) = self.prints.get(&place) {
            return Ok(*print);
        }
        let test = self.live.whole(place)?;
        let print = match &self.graders {
            Some((_, prints)) => prints.judgement(&test),
            None => test.judgement,
        };
        self.prints.insert(place, print);
        Ok(print)
    }

    fn judge_by(
        &mut self,
        by: &NewJudge<'_>,
        attempt: &WrittenAttempt,
        judged: &Row<'static>,
        then: u64,
    ) -> io::Result<Rejudged> {
        let row = &attempt.row;
        let is_plain = self.plain.contains(&*row.provider);
        // Of most rows it is enough to know how much was expected.
        let checks = match is_plain || row.output.is_none() || attempt.judgement.is_some() {
            true => None,
            false => self.stored.checks_at(then)?,
        };
        let then = match row.error.is_none() && (checks.is_some() || attempt.judgement.is_some()) {
            true => Arc::default(),
            false => self.stored.at(then)?.expect,
        };
        let expects_error = then.error.is_some() || by.expect.error.is_some();
        if let Some(because) = without_reply(row, expects_error) {
            return Ok(Rejudged::Kept(because));
        }
        let stored = match (&attempt.judgement, checks) {
            (Some(before), _) => StoredEvidence::read_again(&self.reader, row, before, is_plain),
            (None, Some(checks)) => StoredEvidence::read_of_checks(&self.reader, row, checks),
            (None, None) => StoredEvidence::read(&self.reader, row, &then, is_plain),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return Ok(Rejudged::Kept(chain(&error))),
        };
        let judgement = judge(by.expect, &stored.evidence());
        let own = row.checks.len() - stored.own_checks();
        let own: Vec<Check> = row.checks[own..].iter().map(RowCheck::to_check).collect();
        let outcome = judgement.outcome;
        let before = judged.is_final.then_some((judged.outcome, judged.is_flaky));
        if outcome == Outcome::Passed
            && !by.expect.graders.is_empty()
            && let Some((graders, _)) = &self.graders
        {
            let ungraded = Ungraded::again(RejudgedParts {
                row: row.clone(),
                test: self.live.whole(by.place)?,
                exit_code: stored.exit_code(),
                output: stored.into_output(),
                expected: judgement.checks,
                own,
                before,
                grades: judged.grades.clone(),
                answers: attempt.answers.clone(),
                fingerprint: by.print,
            });
            return Ok(graded(ungraded, graders));
        }
        let own_checks = u32::try_from(own.len()).unwrap_or(u32::MAX);
        let mut checks = judgement.checks;
        checks.extend(own);
        Ok(Rejudged::Judged(JudgementEntry {
            mark: Mark {
                key: AttemptKey {
                    ordinal: row.ordinal,
                    number: row.attempt,
                },
                outcome,
                is_final: true,
                is_flaky: false,
            },
            of: row.seq,
            before,
            score: row.score,
            own_checks,
            checks: checks.into(),
            exit_code: stored.exit_code(),
            grades: Vec::new(),
            error: stored.error().cloned(),
            fingerprint: by.print,
            scenario: self.scenario,
        }))
    }
}

/// What a trial is judged by now.
struct NewJudge<'a> {
    expect: &'a Expect,
    /// Where the test is.
    place: u64,
    print: Digest,
}

/// What graders have answered before is taken first; only where more is to be asked a session has to do it.
fn graded(ungraded: Ungraded, graders: &Graders) -> Rejudged {
    let mut trial = GradedTrial::new(ungraded);
    let unasked = trial.unasked(graders);
    match unasked.is_empty() && trial.next(graders).is_none() {
        true => Rejudged::Judged(trial.judgement(graders, false)),
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
