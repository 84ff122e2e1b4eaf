//! The tasks of graders.

use std::io;

use runner_model::protocol::{Task, TaskKind, TimeoutRule};
use runner_model::provider::{Grading, Provider};
use runner_model::{Digest, Fingerprint, Places as _, ProviderName, RowRef, TrialId, digest};

use super::{plan::Plan, test_line::TestLine};

/// A grader of a test.
#[derive(Clone, Debug)]
pub(crate) struct TestGrader {
    /// Index of the provider.
    pub(crate) place: u16,
    pub(crate) name: ProviderName,
    /// Whether it reads the workspace of an attempt. Only such graders judge attempts that were cut off, which have no output.
    pub(crate) has_workspace: bool,
}

impl Plan {
    /// Returns the graders of a test, in the order in which they judge its outputs.
    pub(crate) fn graders_of(&self, test: &TestLine<'_>) -> io::Result<Vec<TestGrader>> {
        let mut graders = Vec::new();
        for wanted in test.graders()? {
            let providers = self.providers.iter().map(|prepared| &prepared.provider);
            let mut providers = (0..).zip(providers).filter(|(_, one)| one.grading.is_some());
            let grader = providers.find(|(_, one)| *one.name == wanted);
            let grader = grader.map(|(place, one)| TestGrader {
                place,
                name: one.name.clone(),
                has_workspace: one.grading.as_ref().is_some_and(|one| one.workspace.is_some()),
            });
            let missing = || io::Error::other(format!("there is no grader `{wanted}`"));
            graders.push(grader.ok_or_else(missing)?);
        }
        Ok(graders)
    }

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

/// Returns those of `graders` that judge a row and have no grade in it.
pub(crate) fn unanswered<'g>(
    graders: &'g [TestGrader],
    row: &RowRef<'_>,
) -> impl Iterator<Item = &'g TestGrader> {
    let is_cut = row.cut_by.is_some();
    let graders = graders.iter().filter(move |grader| grader.has_workspace || !is_cut);
    graders.filter(|grader| row.grades.iter().all(|grade| *grade.grader != *grader.name))
}
