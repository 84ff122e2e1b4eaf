//! [`Checks`]: a worker checks tests on their providers, without any trial.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use runner_model::{
    Digest, ErrorClass, Micros, Places as _, TaskId, TrialId,
    prepare::{Problem, Ready},
    protocol::{Line, Task, TaskKind, TimeoutRule},
    provider::{Provider, Stdin},
    row::MAX_ROW,
    template::Template,
    visible::visible_line,
};
use runner_scenario::{Problems, TestProblem};

use super::{ids::Ids, plan::Plan, test_line::TestLine};

/// Problems that are told of; all are counted.
const MAX_SHOWN: usize = 20;
/// Bytes that are told of what a worker says about a test.
const MAX_MESSAGE: usize = 4096;
/// Tasks that are sent and not yet answered.
const WINDOW: usize = 64;

/// The first number of a task that checks; those of attempts begin at 1.
const FIRST: u64 = 1 << 63;

/// The checks of a plan's tests on those of their providers for which something can be wrong.
pub(crate) struct Checks {
    /// By provider: whether each of its tests is checked. Of the others those are whose schema was not checked yet.
    is_checked: Vec<bool>,
    /// Whether tests may have schemas, and those that were checked.
    has_schemas: bool,
    schemas: HashSet<Digest>,
    /// The next trial of the plan.
    next: u64,
    /// The test and provider that was checked last: one repeat is like the other.
    last: Option<(u64, u16)>,
    in_flight: HashMap<TaskId, (u64, TrialId)>,
    found: Vec<TestProblem>,
    hidden: usize,
}

impl Checks {
    /// Checks of what no run would tell before its first trial: inputs of providers that describe them, and schemas of outputs.
    pub(crate) fn from_descriptions(ready: &Ready, plan: &Plan) -> Self {
        let mut is_checked = vec![false; plan.providers.len()];
        for about in &ready.providers {
            let description = about.description.as_ref();
            let has_schema = description.is_some_and(|about| about.input_schema.is_some());
            if let Some(is_checked) = is_checked.get_mut(usize::from(about.provider)) {
                *is_checked = has_schema;
            }
        }
        // A schema is a file of its test, as attachments are.
        let has_schemas = plan.blobs.list().is_some();
        let is_needed = has_schemas || is_checked.contains(&true);
        Self {
            is_checked,
            has_schemas,
            schemas: HashSet::new(),
            next: if is_needed { 0 } else { plan.suite.trials() },
            last: None,
            in_flight: HashMap::new(),
            found: Vec::new(),
            hidden: 0,
        }
    }

    /// Checks of all in which something can be wrong.
    pub(crate) fn for_all_tests(ready: &Ready, plan: &Plan) -> Self {
        let mut checks = Self::from_descriptions(ready, plan);
        for (is_checked, prepared) in checks.is_checked.iter_mut().zip(&plan.providers) {
            *is_checked |= takes_input(&prepared.provider);
        }
        checks.next = 0;
        checks
    }

    /// Hands out tasks with their tests' lines until enough are not answered.
    ///
    /// # Errors
    ///
    /// A suite that cannot be read, or that of `assign`.
    pub(crate) fn fill(
        &mut self,
        plan: &Plan,
        is_pending: impl Fn(u64) -> bool,
        mut assign: impl FnMut(Task, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
        let mut line = Vec::new();
        while self.in_flight.len() < WINDOW && self.next < plan.suite.trials() {
            let trial = self.next;
            self.next += 1;
            let planned = plan.suite.trial(trial);
            let is_checked = self.is_checked[usize::from(planned.provider)];
            let place = Some((planned.test, planned.provider));
            if self.last == place || !is_checked && !self.has_schemas || !is_pending(trial) {
                continue;
            }
            self.last = place;
            plan.suite.line(planned.test, &mut line)?;
            let schema = if self.has_schemas { TestLine::read(&line)?.schema()? } else { None };
            if schema.is_some_and(|schema| self.schemas.insert(schema)) || is_checked {
                let id = ids.trial(trial)?;
                let task = task(plan, (trial, planned.provider), &id, line.len());
                self.in_flight.insert(task.id, (planned.test, id));
                assign(task, &line)?;
            }
        }
        Ok(())
    }

    /// Takes the answer to a task.
    pub(crate) fn receive(&mut self, task: TaskId, answer: &[u8]) {
        let Some((test, trial)) = self.in_flight.remove(&task) else {
            return;
        };
        for problem in problems(answer) {
            if self.found.len() < MAX_SHOWN {
                self.found.push(test_problem(test, &trial, &problem));
            } else {
                self.hidden += 1;
            }
        }
    }

    /// Tells whether all tests were checked.
    pub(crate) fn is_done(&self, plan: &Plan) -> bool {
        self.next == plan.suite.trials() && self.in_flight.is_empty()
    }

    /// What was found, each with its place.
    pub(crate) fn problems(&self, plan: &Plan) -> Problems {
        let mut problems = plan.scenario.test_problems(&plan.suite, &self.found);
        problems.add_hidden(self.hidden);
        problems
    }

    /// What was found, a line each; none if nothing was.
    pub(crate) fn lines(&self) -> Option<String> {
        let found = self.found.iter();
        let mut lines: Vec<_> = found.map(|one| visible_line(&one.message).into_owned()).collect();
        if self.hidden > 0 {
            lines.push(format!("… and {} more", self.hidden));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

fn task(plan: &Plan, (index, provider): (u64, u16), trial: &TrialId, line: usize) -> Task {
    Task {
        id: TaskId(FIRST + index),
        trial: trial.clone(),
        provider,
        attempt: 1,
        seed: plan.scenario.run.seed,
        timeout: Micros(u64::from(u32::MAX)),
        timeout_rule: TimeoutRule::Timeout,
        kind: TaskKind::Check,
        line: Line::Bytes(line as u32),
        row_bytes: 0,
    }
}

/// What the worker has found in a test: a list of problems.
fn problems(answer: &[u8]) -> Vec<Problem> {
    let problems = match answer.len() {
        0..=MAX_ROW => serde_json::from_slice(answer).ok(),
        _ => None,
    };
    problems.unwrap_or_else(|| {
        vec![Problem {
            class: ErrorClass::Protocol,
            code: "answer".to_owned(),
            message: "the worker that checked it gave no answer that can be read".to_owned(),
        }]
    })
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

fn test_problem(test: u64, trial: &TrialId, problem: &Problem) -> TestProblem {
    let (id, provider) = (&trial.test, &trial.provider);
    let message = &problem.message[..problem.message.floor_char_boundary(MAX_MESSAGE)];
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
