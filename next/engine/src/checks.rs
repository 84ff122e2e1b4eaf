//! [`Checks`]: what a worker finds wrong with tests on their providers, without any trial.

use std::{collections::HashMap, io};

use runner_model::{
    ErrorClass, Micros, Places as _, TaskId, TrialId,
    prepare::{Problem, Ready},
    protocol::{Line, Task, TaskKind, TimeoutRule},
    provider::{Provider, Stdin},
    row::MAX_ROW,
    template::Template,
};
use runner_scenario::{Problems, TestProblem};

use crate::{flights::TestLine, plan::Plan};

/// Problems that are told of; all are counted.
const MAX_TOLD: usize = 20;
/// Tasks that are sent and not yet answered.
const WINDOW: usize = 64;

/// The checks of all tests on those of their providers for which something can be wrong.
pub(crate) struct Checks {
    /// By provider: whether each of its tests is checked. Of the others those are that have a schema, if `of_schemas`.
    is_asked: Vec<bool>,
    of_schemas: bool,
    /// The next trial of the plan.
    trial: u64,
    /// The test and provider that was checked last: one repeat is like the other.
    last: Option<(u64, u16)>,
    next_task: u64,
    /// The tests that are being checked.
    in_flight: HashMap<TaskId, (u64, TrialId)>,
    found: Vec<TestProblem>,
    hidden: usize,
    line: Vec<u8>,
}

impl Checks {
    pub(crate) fn new(ready: &Ready, plan: &Plan) -> Self {
        let providers = plan.providers.iter();
        let mut is_asked: Vec<_> = providers
            .map(|prepared| takes_input(&prepared.provider))
            .collect();
        for about in &ready.providers {
            let description = about.description.as_ref();
            let has_schema = description.is_some_and(|about| about.input_schema.is_some());
            if let Some(is_asked) = is_asked.get_mut(usize::from(about.provider)) {
                *is_asked |= has_schema;
            }
        }
        Self {
            is_asked,
            of_schemas: !plan.suite.blobs().is_empty(),
            trial: 0,
            last: None,
            next_task: 1,
            in_flight: HashMap::new(),
            found: Vec::new(),
            hidden: 0,
            line: Vec::new(),
        }
    }

    /// The next task, with its test's line; none if too many are not answered, or there are no more.
    ///
    /// # Errors
    ///
    /// A suite that cannot be read.
    pub(crate) fn next(&mut self, plan: &Plan) -> io::Result<Option<(Task, &[u8])>> {
        if self.in_flight.len() >= WINDOW {
            return Ok(None);
        }
        let planned = loop {
            let trial = self.trial;
            if trial == plan.suite.trials() {
                return Ok(None);
            }
            self.trial += 1;
            let planned = plan.suite.trial(trial);
            let place = (planned.test, planned.provider);
            let is_asked = self.is_asked[usize::from(planned.provider)];
            let may_be = is_asked || self.of_schemas;
            if may_be && self.last != Some(place) {
                self.last = Some(place);
                plan.suite.line(planned.test, &mut self.line)?;
                // A text that has it checks one test too many.
                if is_asked || has_part(&self.line, b"\"schema\":") {
                    break planned;
                }
            }
        };
        let test = TestLine::read(&self.line)?;
        let trial = TrialId {
            test: test.id,
            provider: plan.providers[usize::from(planned.provider)]
                .provider
                .name
                .clone(),
            repeat: 1,
        };
        let id = TaskId(self.next_task);
        self.next_task += 1;
        self.in_flight.insert(id, (planned.test, trial.clone()));
        let task = Task {
            id,
            trial,
            provider: planned.provider,
            attempt: 1,
            seed: plan.scenario.run.seed,
            timeout: Micros(u64::from(u32::MAX)),
            timeout_rule: TimeoutRule::Timeout,
            kind: TaskKind::Check,
            line: Line::Bytes(self.line.len() as u32),
            row_bytes: 0,
        };
        Ok(Some((task, &self.line)))
    }

    /// Takes the answer to a task: a list of problems.
    pub(crate) fn take(&mut self, task: TaskId, answer: &[u8]) {
        let Some((test, trial)) = self.in_flight.remove(&task) else {
            return;
        };
        let problems: Option<Vec<Problem>> = match answer.len() {
            0..=MAX_ROW => serde_json::from_slice(answer).ok(),
            _ => None,
        };
        let unreadable = || {
            vec![Problem {
                class: ErrorClass::Protocol,
                code: "answer".to_owned(),
                message: "the worker that checked it gave no answer that can be read".to_owned(),
            }]
        };
        for problem in problems.unwrap_or_else(unreadable) {
            if self.found.len() < MAX_TOLD {
                self.found.push(of_test(test, &trial, &problem));
            } else {
                self.hidden += 1;
            }
        }
    }

    /// Tells whether all tests were checked.
    pub(crate) fn is_over(&self, plan: &Plan) -> bool {
        self.trial == plan.suite.trials() && self.in_flight.is_empty()
    }

    /// What was found, each with its place.
    pub(crate) fn problems(&self, plan: &Plan) -> Problems {
        if self.found.is_empty() {
            return Problems::default();
        }
        let mut problems = plan.scenario.test_problems(&plan.suite, &self.found);
        problems.add_hidden(self.hidden);
        problems
    }
}

/// Tells whether the call of a provider is made of its tests' inputs or attachments.
fn takes_input(provider: &Provider) -> bool {
    let has_input = |template: &Template| template.keys_of("input").next().is_some();
    let stdin = match &provider.stdin {
        Some(Stdin::File { .. }) => return true,
        Some(Stdin::Text(template)) => Some(template),
        None => None,
    };
    let variables = provider.grants.env.iter().map(|(_, template)| template);
    let mut templates = provider.args.iter().chain(stdin).chain(variables);
    templates.any(has_input)
}

/// Tells whether a text has another in it.
fn has_part(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn of_test(test: u64, trial: &TrialId, problem: &Problem) -> TestProblem {
    let (id, provider, message) = (&trial.test, &trial.provider, &problem.message);
    TestProblem {
        test,
        key: match (problem.class, problem.code.as_str()) {
            (ErrorClass::InvalidInput, "schema") => "expect",
            _ => "input",
        },
        message: match problem.code.as_str() {
            // It goes on behind the name of a plugin.
            "input" => format!("test `{id}`: provider `{provider}` {message}"),
            _ => format!("test `{id}` on provider `{provider}`: {message}"),
        },
        help: None,
    }
}
