//! [`GradedTrial`]: an attempt while graders speak of it, and the judgement that this comes to.

use std::{sync::Arc, time::Duration};

use super::ungraded::Ungraded;
use crate::{
    judge::{AnswerForm, Answered, grade, judge_grades, not_asked},
    model::{Attempt, Check, Digest, Grade, Outcome},
    record::{JudgementEntry, Mark, RowCheck},
    scenario::{Grader, Test},
};

/// The graders of a session.
pub(in crate::run) struct Graders {
    /// By their places in the scenario; `None` for one that no test names.
    pub(in crate::run) roles: Vec<Option<GraderRole>>,
    /// Of each provider, by its place in the scenario, whether it is called as a plain command.
    pub(in crate::run) plain: Vec<bool>,
    /// Digest of the scenario.
    pub(in crate::run) scenario: Digest,
}

/// A grader as the scenario has it, and how it answers.
pub(in crate::run) struct GraderRole {
    pub(in crate::run) definition: Grader,
    pub(in crate::run) form: AnswerForm,
}

/// What a grader is asked.
pub(in crate::run) struct GraderQuestion {
    /// The grader's place in the scenario.
    pub(in crate::run) grader: usize,
    pub(in crate::run) test: Arc<Test>,
}

/// An attempt while graders speak of it, one after the other.
pub(in crate::run) struct GradedTrial {
    pub(in crate::run) of: Ungraded,
    grades: Vec<Grade>,
    /// How often the grader was asked whose turn it is.
    attempts: u32,
    /// For how long, in all.
    spent: Duration,
}

impl Graders {
    /// Tells whether a provider is called as a plain command.
    pub(in crate::run) fn is_plain(&self, provider: usize) -> bool {
        self.plain.get(provider).copied().unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<(usize, &GraderRole)> {
        let mut roles = self.roles.iter().enumerate();
        roles.find_map(|(place, role)| {
            let role = role.as_ref()?;
            (role.definition.name() == name).then_some((place, role))
        })
    }
}

impl GradedTrial {
    pub(in crate::run) fn new(of: Ungraded) -> Self {
        Self {
            of,
            grades: Vec::new(),
            attempts: 0,
            spent: Duration::ZERO,
        }
    }

    /// What is to be asked next; `None` if there is nothing more to be asked. Who has no answer has the last word.
    pub(in crate::run) fn next(&mut self, graders: &Graders) -> Option<GraderQuestion> {
        if self
            .grades
            .last()
            .is_some_and(|grade| grade.error.is_some())
        {
            return None;
        }
        let name = self.of.test.expect.graders.get(self.grades.len())?;
        let asked = graders.find(name).ok_or_else(|| {
            let problem = "the scenario has no such grader any more".to_owned();
            ("gone", problem)
        });
        let asked = asked.and_then(|(grader, role)| {
            let input = self.of.input(&role.definition);
            let input = input.map_err(|problem| ("input", problem))?;
            let test = role.definition.test_of(&self.of.test, input);
            Ok(GraderQuestion {
                grader,
                test: Arc::new(test),
            })
        });
        match asked {
            Ok(question) => Some(question),
            Err((code, problem)) => {
                let grade = not_asked(name, code, problem);
                self.grades.push(grade);
                None
            }
        }
    }

    /// Takes an attempt of the grader whose turn it is; it is made again.
    pub(in crate::run) fn tried(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        self.spent += attempt.duration;
    }

    /// Takes the last attempt of the grader whose turn it is.
    pub(in crate::run) fn answered(&mut self, graders: &Graders, attempt: &Attempt) {
        self.tried(attempt);
        let Some(name) = self.of.test.expect.graders.get(self.grades.len()) else {
            return;
        };
        let of = Answered {
            grader: name,
            form: match graders.find(name) {
                Some((_, role)) => role.form,
                None => AnswerForm::Reply,
            },
            min_score: self.least(graders, name),
            attempts: self.attempts,
            duration: self.spent,
        };
        self.grades.push(grade(of, attempt));
        (self.attempts, self.spent) = (0, Duration::ZERO);
    }

    /// What all this comes to. The attempt `is_shaky` if one of its trial before it ended badly.
    pub(in crate::run) fn judgement(self, graders: &Graders, is_shaky: bool) -> JudgementEntry {
        let grades = self.grades.iter();
        let graded = judge_grades(grades.map(|grade| (grade, self.least(graders, &grade.grader))));
        let row = &self.of.row;
        let (expected, own) = row.checks.split_at(self.of.expected);
        let checks = |checks: &[RowCheck<'_>]| -> Vec<Check> {
            checks.iter().map(RowCheck::to_check).collect()
        };
        JudgementEntry {
            mark: Mark {
                key: self.of.key(),
                outcome: graded.outcome,
                is_final: true,
                is_flaky: is_shaky && graded.outcome == Outcome::Passed,
            },
            of: row.seq,
            before: None,
            score: graded.score.or(row.score),
            checks: [checks(expected), graded.checks, checks(own)].concat(),
            own_checks: u32::try_from(own.len()).unwrap_or(u32::MAX),
            exit_code: self.of.exit_code,
            error: graded.error,
            fingerprint: self.of.fingerprint,
            scenario: graders.scenario,
            grades: self.grades,
        }
    }

    /// The least score that passes, of what a grader says.
    fn least(&self, graders: &Graders, name: &str) -> Option<f64> {
        let own = || graders.find(name)?.1.definition.min_score;
        self.of.test.expect.min_score.or_else(own)
    }
}
