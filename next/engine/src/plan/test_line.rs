//! [`TestLine`]: what the coordinator reads of a test's line in the suite.

use std::io;

use runner_model::{Digest, Fingerprint, Limits, Micros, RunTime, TestId, protocol::TimeoutRule};
use runner_prepare::{Fingerprints, TestParts, judgement};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::schedule::{Assignment, Policy};

/// What of a test's line the coordinator looks at.
#[derive(Deserialize)]
pub(crate) struct TestLine<'a> {
    pub(crate) id: TestId,
    /// Indices of its providers.
    pub(crate) providers: Vec<u16>,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    files: Option<&'a RawValue>,
    timeout: Micros,
    #[serde(default)]
    trial_timeout: Option<Micros>,
    #[serde(borrow, default)]
    retries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    expect: Option<&'a RawValue>,
}

impl<'a> TestLine<'a> {
    pub(crate) fn read(line: &'a [u8]) -> io::Result<Self> {
        // As a whole its text is checked faster than string by string.
        let line = std::str::from_utf8(line).map_err(io::Error::other)?;
        Ok(serde_json::from_str(line)?)
    }

    /// The fingerprints of its trials on a provider: of what is executed, and of how that is judged.
    pub(crate) fn fingerprints(
        &self,
        fingerprints: &Fingerprints,
        provider: u16,
    ) -> (Fingerprint, Fingerprint) {
        let parts = TestParts {
            id: &self.id,
            input: self.input.get(),
            tags: self.tags.map_or("", RawValue::get),
            files: self.files.map_or("", RawValue::get),
            timeouts: [Some(self.timeout), self.trial_timeout],
        };
        let judged_by = judgement(self.expect.map_or("", RawValue::get));
        (fingerprints.execution(provider, &parts), judged_by)
    }
}

impl TestLine<'_> {
    /// Returns the schema that the test expects of its output.
    ///
    /// # Errors
    ///
    /// `expect` is not an object of a test.
    pub(crate) fn schema(&self) -> serde_json::Result<Option<Digest>> {
        #[derive(Deserialize)]
        struct Expect {
            schema: Option<Digest>,
        }
        let expect = self.expect.map(|raw| serde_json::from_str::<Expect>(raw.get()));
        Ok(expect.transpose()?.and_then(|expect| expect.schema))
    }

    pub(crate) fn policy(&self) -> serde_json::Result<Policy> {
        let retries = self.retries.map(|raw| serde_json::from_str(raw.get()));
        Ok(Policy {
            retries: retries.transpose()?.unwrap_or_default(),
            trial_timeout: self.trial_timeout,
        })
    }

    /// How long an attempt may take, and what says so.
    pub(crate) fn deadline(
        &self,
        now: RunTime,
        limits: &Limits,
        assignment: &Assignment,
    ) -> (Micros, TimeoutRule) {
        let mut deadline = (self.timeout, TimeoutRule::Timeout);
        let mut shorten = |time: Option<Micros>, rule| {
            if let Some(time) = time.filter(|time| *time < deadline.0) {
                deadline = (time, rule);
            }
        };
        shorten(limits.time, TimeoutRule::LimitTime);
        let left = self.trial_timeout.map(|most| {
            let used = assignment.trial_started.map_or(Micros(0), |started| now - started);
            Micros(most.0.saturating_sub(used.0))
        });
        shorten(left, TimeoutRule::TrialTimeout);
        deadline
    }
}
