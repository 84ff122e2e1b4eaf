//! [`TestLine`]: a test's line in the suite, as far as the coordinator reads it. [`Ids`]: the ids of a suite's trials.

use std::collections::{BTreeMap, HashSet};
use std::io;

use runner_model::{
    Digest, Fingerprint, Limits, Micros, Places as _, RunTime, TestId, TrialId, digest,
    protocol::TimeoutRule, provider::PreparedProvider, provider::Provider,
    test::ExpectedTranscript,
};
use runner_prepare::{Fingerprints, TestParts};
use runner_scenario::Suite;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::schedule::Policy;

/// A test's line. Most keys stay raw JSON: fingerprints hash their text, and only the worker parses them.
// A run that uses a key that is missing here is refused, and [`TestLine::fingerprints`] does not compile until it names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestLine<'a> {
    pub(crate) id: TestId,
    /// Indices of providers.
    pub(crate) providers: Vec<u16>,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    files: Option<&'a RawValue>,
    /// By index of the provider.
    #[serde(default)]
    pub(super) bases: BTreeMap<u16, Digest>,
    /// By name of the grader.
    #[serde(borrow, default)]
    pub(super) grader_files: Option<&'a RawValue>,
    timeout: Micros,
    #[serde(default)]
    trial_timeout: Option<Micros>,
    #[serde(borrow, default)]
    retries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reference: Option<&'a RawValue>,
    #[serde(borrow, default)]
    expect: Option<&'a RawValue>,
    // Keys of the line that are not read here.
    #[serde(default, rename = "repeat")]
    _repeat: Option<IgnoredAny>,
    #[serde(default, rename = "until")]
    _until: Option<IgnoredAny>,
    #[serde(default, rename = "meta")]
    _meta: Option<IgnoredAny>,
    #[serde(default, rename = "weight")]
    _weight: Option<IgnoredAny>,
}

/// The keys of `expect` that the coordinator reads.
#[derive(Default, Deserialize)]
pub(crate) struct Expect {
    /// The schema that the output must match.
    pub(crate) schema: Option<Digest>,
    #[serde(default)]
    graders: Vec<String>,
    /// Present if an attempt can pass by its error.
    pub(crate) error: Option<IgnoredAny>,
    /// Present if the verdict needs the standard error, which rows do not have.
    pub(crate) stderr: Option<IgnoredAny>,
    /// Present if the verdict needs metrics, of which a row that is cut has only some.
    pub(crate) metrics: Option<IgnoredAny>,
    /// Present if the verdict needs what the attempt has left in its workspace.
    pub(crate) workspace: Option<ExpectedWorkspace>,
    pub(crate) transcript: Option<ExpectedTranscript>,
    /// Whether the workspace of an attempt that was cut off decides about it.
    #[serde(default)]
    judge_partial: bool,
}

/// The key of `expect.workspace` that the coordinator reads.
#[derive(Default, Deserialize)]
pub(crate) struct ExpectedWorkspace {
    files: Option<IgnoredAny>,
}

impl<'a> TestLine<'a> {
    pub(crate) fn read(line: &'a [u8]) -> io::Result<Self> {
        // Checking the UTF-8 of the whole line is faster than of each string.
        let line = std::str::from_utf8(line).map_err(io::Error::other)?;
        Ok(serde_json::from_str(line)?)
    }

    /// Returns the execution and the judgement fingerprint of the test's trials on a provider.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(crate) fn fingerprints(
        &self,
        fingerprints: &Fingerprints,
        provider: u16,
    ) -> serde_json::Result<(Fingerprint, Fingerprint)> {
        self.fingerprints_with(fingerprints, provider, self.bases.get(&provider).copied())
    }

    /// Returns both fingerprints of the test regardless of providers, and so without its bases.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(super) fn without_provider(&self) -> serde_json::Result<(Fingerprint, Fingerprint)> {
        self.fingerprints_with(&Fingerprints::without_provider(), 0, None)
    }

    fn fingerprints_with(
        &self,
        fingerprints: &Fingerprints,
        provider: u16,
        base: Option<Digest>,
    ) -> serde_json::Result<(Fingerprint, Fingerprint)> {
        // The unused keys decide which trials and attempts there are and how reports group them, not how one ends.
        let Self {
            id,
            input,
            tags,
            files,
            timeout,
            trial_timeout,
            reference,
            expect,
            providers: _,
            bases: _,
            grader_files,
            _repeat: _,
            _until: _,
            _weight: _,
            retries: _,
            _meta: _,
        } = self;
        let parts = TestParts {
            id,
            input: input.get(),
            tags: tags.map_or("", RawValue::get),
            files: files.map_or("", RawValue::get),
            base,
            timeouts: [Some(*timeout), *trial_timeout],
        };
        let [expect, reference] = [expect, reference].map(|raw| raw.map_or("", RawValue::get));
        let files = grader_files.map_or("", RawValue::get);
        let judged_by = fingerprints.judgement(expect, &self.graders()?, reference, files);
        Ok((fingerprints.execution(provider, &parts), judged_by))
    }
}

impl TestLine<'_> {
    /// Returns the base of the workspace of the test's attempts on a provider. `None` if it starts empty.
    pub(crate) fn base(&self, provider: u16) -> Option<Digest> {
        self.bases.get(&provider).copied()
    }

    /// Returns the fingerprint of the test and its expectations, whatever its providers are.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(crate) fn judged(&self) -> serde_json::Result<Fingerprint> {
        let (execution, judgement) = self.without_provider()?;
        Ok(digest(&[execution.0, judgement.0].concat()).fingerprint())
    }

    /// Parses the expectations.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(crate) fn expect(&self) -> serde_json::Result<Expect> {
        self.expect.map_or_else(|| Ok(Expect::default()), |raw| serde_json::from_str(raw.get()))
    }

    /// Returns the names of the graders that judge the output.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(crate) fn graders(&self) -> serde_json::Result<Vec<String>> {
        // Few tests have graders, and this is called for each trial.
        let has_graders = self.expect.is_some_and(|raw| raw.get().contains("\"graders\":"));
        if has_graders { Ok(self.expect()?.graders) } else { Ok(Vec::new()) }
    }

    /// Returns whether the workspace of an attempt that was cut off decides about it: files of it are expected, or one of the test's
    /// graders `reads_workspace`. An attempt that does nothing passes all other checks of a workspace.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(crate) fn judges_partial(&self, reads_workspace: bool) -> serde_json::Result<bool> {
        // Few tests do, and this is called for each trial.
        if !self.expect.is_some_and(|raw| raw.get().contains("\"judge_partial\":true")) {
            return Ok(false);
        }
        let Expect { judge_partial, workspace, .. } = self.expect()?;
        let has_files = workspace.is_some_and(|expected| expected.files.is_some());
        Ok(judge_partial && (has_files || reads_workspace))
    }

    /// Returns whether a grader reads what the test's attempts have left in their workspaces.
    ///
    /// # Errors
    ///
    /// `expect` is malformed.
    pub(super) fn has_workspace_grader(
        &self,
        providers: &[PreparedProvider],
    ) -> serde_json::Result<bool> {
        let graders = self.graders()?;
        Ok(providers.iter().any(|PreparedProvider { provider, .. }| {
            let grading = provider.grading.as_ref();
            grading.is_some_and(|grading| grading.workspace.is_some())
                && graders.iter().any(|name| **name == *provider.name)
        }))
    }

    /// Returns the retry policy of the test's trials on a provider.
    ///
    /// # Errors
    ///
    /// `retries` is malformed.
    pub(crate) fn policy(&self, provider: &Provider) -> serde_json::Result<Policy> {
        let retries = self.retries.map(|raw| serde_json::from_str(raw.get())).transpose()?;
        Ok(Policy {
            retries: retries.unwrap_or_else(|| provider.default_retries()),
            trial_timeout: self.trial_timeout,
            next_grader: None,
            unexpected: None,
        })
    }

    /// Returns the timeout of an attempt, and the rule that sets it: the shortest of the timeout, `limits.time` and the rest of
    /// the trial's timeout. `used` is the time of its earlier guests.
    pub(crate) fn deadline(
        &self,
        now: RunTime,
        limits: &Limits,
        trial_started: Option<RunTime>,
        used: Micros,
    ) -> (Micros, TimeoutRule) {
        let rest = |most: Micros, used: Micros| Micros(most.0.saturating_sub(used.0));
        let mut deadline = (rest(self.timeout, used), TimeoutRule::Timeout);
        let mut shorten = |time: Option<Micros>, rule| {
            if let Some(time) = time.filter(|time| *time < deadline.0) {
                deadline = (time, rule);
            }
        };
        shorten(limits.time.map(|most| rest(most, used)), TimeoutRule::LimitTime);
        let left = self
            .trial_timeout
            .map(|most| rest(most, trial_started.map_or(used, |started| now - started)));
        shorten(left, TimeoutRule::TrialTimeout);
        deadline
    }
}

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
pub(super) fn tests_at_providers(
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runner_scenario::{Selection, load, resolve};

    use super::TestLine;

    #[test]
    fn unknown_keys_of_tests_are_refused() {
        let line = r#"{"id":"a","input":1,"providers":[0],"repeat":2,"tags":["t"],"meta":{"m":1},"timeout":1,"expect":{}"#;
        assert!(TestLine::read(format!("{line}}}").as_bytes()).is_ok());
        assert!(TestLine::read(format!("{line},\"new\":1}}").as_bytes()).is_err());
    }

    /// `tour_uses_every_key` keeps the scenario complete.
    #[test]
    fn each_key_of_tests_is_a_field_of_the_line() {
        let path = Path::new("../scenario/src/tests/valid/tour.toml");
        let scenario = load(path, &Default::default());
        let scenario =
            scenario.unwrap_or_else(|problems| panic!("{}", problems.render(false, 100)));
        let mut file = tempfile::tempfile().unwrap();
        let suite = resolve(&scenario, &Selection::default(), &mut file);
        let suite = suite.unwrap_or_else(|problems| panic!("{}", problems.render(false, 100)));
        let mut line = Vec::new();
        for test in 0..suite.tests() {
            suite.line(test, &mut line).unwrap();
            let read = TestLine::read(&line).err().map(|error| error.to_string());
            assert_eq!(
                read, None,
                "add the key to `TestLine` in runner/engine/src/plan/test_line.rs"
            );
        }
    }
}
