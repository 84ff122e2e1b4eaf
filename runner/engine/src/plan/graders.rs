//! The tasks of graders.

use std::io;

use runner_model::protocol::{Task, TaskKind, TimeoutRule};
use runner_model::provider::{Grading, Provider};
use runner_model::{Digest, Fingerprint, Places as _, TrialId, digest};

use super::plan::Plan;

impl Plan {
    /// Turns the task of a trial into the call of a grader with this number, from 1. `judgement` is the fingerprint by which the
    /// trial is judged. Returns the grader's settings.
    ///
    /// # Errors
    ///
    /// The provider is not a grader.
    pub(crate) fn ask_grader(
        &self,
        task: &mut Task,
        grader: u16,
        attempt: u32,
        judgement: Fingerprint,
    ) -> io::Result<&Grading> {
        let provider = &self.providers[usize::from(grader)].provider;
        let grading = provider.grading.as_ref();
        let grading = grading.ok_or_else(|| io::Error::other("it is not a grader"))?;
        task.kind = TaskKind::Grade;
        task.provider = grader;
        (task.attempt, task.tries) = (attempt, attempt);
        task.random = self.grader_random(provider, &task.trial, attempt, judgement);
        (task.timeout, task.timeout_rule) =
            TimeoutRule::Timeout.within(grading.timeout, &provider.limits);
        Ok(grading)
    }

    /// Returns the seed of a grader's random numbers. `None` if the grader is not deterministic, or has those of its provider.
    ///
    /// An agent knows seed, trial and attempt, so these alone would not be secret. It does not know the secret of `judge_seed`. It
    /// can know the judgement's fingerprint, which covers hidden files, only if it knows the scenario.
    fn grader_random(
        &self,
        grader: &Provider,
        trial: &TrialId,
        attempt: u32,
        judgement: Fingerprint,
    ) -> Option<Digest> {
        if self.random_recipe == 1 || grader.deterministic.is_none() {
            return None;
        }
        let seed = self.scenario.run.seed;
        // A replayed grader must draw the same numbers, even if expectations have changed.
        let replayed = self.replayed.as_ref();
        let replayed = replayed.and_then(|run| run.judgement(self.suite.index(trial)?));
        let judgement = replayed.unwrap_or(judgement);
        let secret = self.secrets.judge_seed.map(|digest| digest.to_string());
        let secret = secret.unwrap_or_default();
        let name = &grader.name;
        // No part has a line break, so different parts never make equal texts.
        let parts = format!(
            "runner-random-2\ngrader\n{name}\n{judgement}\n{secret}\n{seed}\n{attempt}\n{trial}"
        );
        Some(digest(parts.as_bytes()))
    }
}
