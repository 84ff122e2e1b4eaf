//! [`GradedTrial`]: an attempt while graders speak of it, and the judgement that this comes to.

use std::{sync::Arc, time::Duration};

use super::ungraded::Ungraded;
use crate::{
    judge::{AnswerForm, Answered, decide, grade, judge_grades, not_asked},
    model::{Attempt, Digest, Grade, Outcome},
    record::{JudgementEntry, Mark},
    run::plan::of_question,
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
    /// Digest of everything of it that decides what it answers, but for what it is asked.
    pub(in crate::run) digest: Digest,
}

/// What a grader is asked.
pub(in crate::run) struct GraderQuestion {
    /// The grader's place in the scenario.
    pub(in crate::run) grader: usize,
    pub(in crate::run) test: Arc<Test>,
    /// Digest of all that decides the answer.
    digest: Digest,
}

/// An attempt while graders speak of it, one after the other.
pub(in crate::run) struct GradedTrial {
    pub(in crate::run) of: Ungraded,
    grades: Vec<Grade>,
    /// What the grader was asked whose turn it is.
    asked: Option<Digest>,
    /// How often it was.
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

    /// What a grader is to be asked of an attempt; the error is the grade of one that cannot be asked.
    fn question(&self, name: &str, of: &Ungraded) -> Result<GraderQuestion, Box<Grade>> {
        let (grader, role) = self.find(name).ok_or_else(|| {
            let problem = "the scenario has no such grader any more".to_owned();
            Box::new(not_asked(name, "gone", problem))
        })?;
        let input = of.input(&role.definition);
        let input = input.map_err(|problem| Box::new(not_asked(name, "input", problem)))?;
        let digest = of_question(role.digest, &input);
        let test = role.definition.test_of(&of.test, input.to_string().into());
        Ok(GraderQuestion {
            grader,
            test: Arc::new(test),
            digest,
        })
    }

    /// The least score that passes, of what a grader says of a test.
    fn least(&self, test: &Test, name: &str) -> Option<f64> {
        let own = || self.find(name)?.1.definition.min_score;
        test.expect.whole().min_score.or_else(own)
    }
}

impl GradedTrial {
    pub(in crate::run) fn new(of: Ungraded) -> Self {
        Self {
            of,
            grades: Vec::new(),
            asked: None,
            attempts: 0,
            spent: Duration::ZERO,
        }
    }

    /// What is to be asked next; `None` if there is nothing more to be asked. Who has no answer has the last word, and what
    /// was answered before to the same is not asked again.
    pub(in crate::run) fn next(&mut self, graders: &Graders) -> Option<GraderQuestion> {
        loop {
            let last = self.grades.last();
            if last.is_some_and(|grade| grade.error.is_some()) {
                return None;
            }
            let name = self.of.test.expect.graders().get(self.grades.len())?;
            let question = match graders.question(name, &self.of) {
                Ok(question) => question,
                Err(grade) => {
                    self.grades.push(*grade);
                    return None;
                }
            };
            let Some(said) = self.of.said(name, question.digest) else {
                self.asked = Some(question.digest);
                return Some(question);
            };
            let least = graders.least(&self.of.test, name);
            self.grades.push(decide(said, least));
        }
    }

    /// The names of the graders whose turn it is or will be, as far as they have not answered the same before.
    pub(in crate::run) fn unasked(&self, graders: &Graders) -> Vec<String> {
        let left = self.of.test.expect.graders().iter().skip(self.grades.len());
        let is_unasked = |name: &&String| {
            let question = graders.question(name, &self.of);
            question.map_or(true, |question| {
                self.of.said(name, question.digest).is_none()
            })
        };
        left.filter(is_unasked).cloned().collect()
    }

    /// Takes an attempt of the grader whose turn it is; it is made again.
    pub(in crate::run) fn tried(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        self.spent += attempt.duration;
    }

    /// Takes the last attempt of the grader whose turn it is.
    pub(in crate::run) fn answered(&mut self, graders: &Graders, attempt: &Attempt) {
        self.tried(attempt);
        let name = self.of.test.expect.graders().get(self.grades.len());
        let Some((name, asked)) = name.zip(self.asked.take()) else {
            return;
        };
        let of = Answered {
            grader: name,
            form: match graders.find(name) {
                Some((_, role)) => role.form,
                None => AnswerForm::Reply,
            },
            min_score: graders.least(&self.of.test, name),
            asked,
            attempts: self.attempts,
            duration: self.spent,
        };
        self.grades.push(grade(of, attempt));
        (self.attempts, self.spent) = (0, Duration::ZERO);
    }

    /// Takes that the process has died so many times while the grader was asked whose turn it is: it is not asked again.
    pub(in crate::run) fn killed(&mut self, deaths: u32) {
        let name = self.of.test.expect.graders().get(self.grades.len());
        if let Some(name) = name {
            let problem =
                format!("the runner's process died {deaths} times in a row while it was asked");
            self.grades.push(not_asked(name, "poison", problem));
        }
    }

    /// What graders have said so far, while others have still to be asked: it settles nothing.
    pub(in crate::run) fn part(&self, graders: &Graders) -> JudgementEntry {
        let Ungraded {
            row,
            expected,
            own,
            exit_code,
            before,
            fingerprint,
            ..
        } = &self.of;
        JudgementEntry {
            mark: Mark {
                key: self.of.key(),
                outcome: Outcome::Ungraded,
                is_final: false,
                is_flaky: false,
            },
            of: row.seq,
            before: *before,
            score: row.score,
            own_checks: u32::try_from(own.len()).unwrap_or(u32::MAX),
            checks: [expected.as_slice(), own].concat().into(),
            exit_code: *exit_code,
            error: None,
            fingerprint: *fingerprint,
            scenario: graders.scenario,
            grades: self.grades.clone(),
        }
    }

    /// What all this comes to. The attempt `is_shaky` if one of its trial before it ended badly.
    pub(in crate::run) fn judgement(self, graders: &Graders, is_shaky: bool) -> JudgementEntry {
        let graded = judge_grades(&self.grades);
        let key = self.of.key();
        let Ungraded {
            row,
            expected,
            own,
            exit_code,
            before,
            was_shaky,
            fingerprint,
            ..
        } = self.of;
        JudgementEntry {
            mark: Mark {
                key,
                outcome: graded.outcome,
                is_final: true,
                is_flaky: (is_shaky || was_shaky) && graded.outcome == Outcome::Passed,
            },
            of: row.seq,
            before,
            score: graded.score.or(row.score),
            own_checks: u32::try_from(own.len()).unwrap_or(u32::MAX),
            checks: [expected, graded.checks, own].concat().into(),
            exit_code,
            error: graded.error,
            fingerprint,
            scenario: graders.scenario,
            grades: self.grades,
        }
    }
}
