//! [`Checks`]: checks of tests by a worker, before the first trial.

use std::collections::{HashMap, HashSet};
use std::io;

use runner_model::prepare::{Problem, Ready, RefusedPart};
use runner_model::protocol::{ReportHead, Task, TaskKind};
use runner_model::provider::{Provider, Stdin};
use runner_model::{
    Digest, ErrorClass, Micros, Places as _, TaskId, TrialId, row::MAX_ROW, template::Template,
    visible::visible_line,
};
use runner_scenario::{Problems, ProviderProblem, TestProblem};

use super::plan::Plan;
use super::test_line::{Ids, TestLine};

/// Problems that are shown. The others are counted.
const MAX_SHOWN: usize = 20;
/// Bytes of a worker's message about a provider or a test.
const MAX_MESSAGE: usize = 4096;
/// Tasks in flight.
const WINDOW: usize = 64;

/// The first task id of checks. Ids of attempts count from 1 and stay below it.
const FIRST: u64 = 1 << 63;

/// The checks of a plan's tests.
pub(crate) struct Checks {
    /// By provider, whether all of its tests are checked. Other providers' tests are checked once per schema.
    is_checked: Vec<bool>,
    has_schemas: bool,
    /// Schemas with a check.
    schemas: HashSet<Digest>,
    /// Index of the next trial.
    next: u64,
    /// Test and provider of the last check. Repeats of a trial are not checked again.
    last: Option<(u64, u16)>,
    in_flight: HashMap<TaskId, (u64, TrialId)>,
    found: Vec<TestProblem>,
    hidden: usize,
}

impl Checks {
    /// Returns the checks before a session's first trial: inputs of providers whose description has a schema for them,
    /// schemas of outputs, and exit codes.
    pub(crate) fn from_descriptions(ready: &Ready, plan: &Plan) -> Self {
        let mut is_checked = vec![plan.suite.has_exit_codes(); plan.providers.len()];
        for about in &ready.providers {
            let description = about.description.as_ref();
            let has_schema = description.is_some_and(|about| about.input_schema.is_some());
            if let Some(is_checked) = is_checked.get_mut(usize::from(about.provider)) {
                *is_checked |= has_schema;
            }
        }
        // Schemas are stored as blobs, like attachments.
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

    /// Returns the checks of `validate`: also of tests whose input or attachments templates use.
    pub(crate) fn for_all_tests(ready: &Ready, plan: &Plan) -> Self {
        let mut checks = Self::from_descriptions(ready, plan);
        for (is_checked, prepared) in checks.is_checked.iter_mut().zip(&plan.providers) {
            *is_checked |= takes_input(&prepared.provider);
        }
        checks.next = 0;
        checks
    }

    /// Assigns tasks with their tests' lines until [`WINDOW`] are in flight.
    ///
    /// # Errors
    ///
    /// The suite cannot be read, or `assign` fails.
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
            let schema =
                if self.has_schemas { TestLine::read(&line)?.expect()?.schema } else { None };
            if schema.is_some_and(|schema| self.schemas.insert(schema)) || is_checked {
                let id = ids.trial(trial)?;
                let task = task(plan, trial, planned.provider, &id, line.len());
                self.in_flight.insert(task.id, (planned.test, id));
                assign(task, &line)?;
            }
        }
        Ok(())
    }

    /// Collects the problems in a worker's report, if it answers a task of these checks.
    pub(crate) fn receive(&mut self, head: &ReportHead, body: &[u8]) {
        let Some((test, trial)) = self.in_flight.remove(&head.task) else { return };
        for problem in Self::read_answer(&body[..head.row_bytes as usize]) {
            if self.found.len() < MAX_SHOWN {
                self.found.push(test_problem(test, &trial, &problem));
            } else {
                self.hidden += 1;
            }
        }
    }

    /// Parses the answer to a task. An invalid one becomes a problem.
    pub(crate) fn read_answer(answer: &[u8]) -> Vec<Problem> {
        let problems = match answer.len() {
            0..=MAX_ROW => serde_json::from_slice(answer).ok(),
            _ => None,
        };
        problems.unwrap_or_else(|| {
            vec![Problem {
                class: ErrorClass::Protocol,
                code: "answer".to_owned(),
                message: "the worker that checked it sent an invalid answer".to_owned(),
                refused: RefusedPart::default(),
            }]
        })
    }

    /// Returns whether all checks are answered.
    pub(crate) fn is_done(&self, plan: &Plan) -> bool {
        self.next == plan.suite.trials() && self.in_flight.is_empty()
    }

    /// Returns the problems with their places in the scenario.
    pub(crate) fn problems(&self, plan: &Plan) -> Problems {
        let mut problems = plan.scenario.test_problems(&plan.suite, &self.found);
        problems.add_hidden(self.hidden);
        problems
    }

    /// Returns the problems as lines. `None` without problems.
    pub(crate) fn lines(&self) -> Option<String> {
        let found = self.found.iter();
        let mut lines: Vec<_> = found.map(|one| visible_line(&one.message).into_owned()).collect();
        if self.hidden > 0 {
            lines.push(format!("… and {} more", self.hidden));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Returns the problems of a plan's plugins with their places, for messages.
pub(crate) fn provider_problems(plan: &Plan, ready: &Ready) -> Vec<ProviderProblem> {
    let found = ready.providers.iter().filter_map(|about| {
        let problem = about.problem.as_ref()?;
        let provider = plan.providers.get(usize::from(about.provider))?;
        let is_of_memory = problem.class == ErrorClass::OutOfMemory;
        let Provider { plugin, name, .. } = &provider.provider;
        let is_of_tool = problem.code == "input-schema";
        let subject =
            if is_of_tool { format!("tool `{name}`") } else { format!("plugin `{plugin}`") };
        Some(ProviderProblem {
            provider: about.provider,
            key: match problem.class {
                _ if is_of_tool => "input_schema",
                ErrorClass::InvalidConfig => "config",
                ErrorClass::InvalidInput => "input",
                ErrorClass::OutOfMemory => "limits",
                _ => "plugin",
            },
            message: format!("{subject} {}", bounded(&problem.message)),
            help: is_of_memory
                .then(|| "a size without a unit is in bytes: `memory = \"64MiB\"`".to_owned()),
            refused: problem.refused.clone(),
        })
    });
    found.collect()
}

fn task(plan: &Plan, index: u64, provider: u16, trial: &TrialId, line: usize) -> Task {
    let timeout = Micros(u64::from(u32::MAX));
    Task {
        provider,
        seed: plan.scenario.run.seed,
        kind: TaskKind::Check,
        ..Task::new(TaskId(FIRST + index), trial.clone(), timeout, line)
    }
}

/// Returns whether the arguments, stdin or environment of a provider use inputs or attachments of tests.
fn takes_input(provider: &Provider) -> bool {
    let has_input = |template: &Template| template.keys_of("input").next().is_some();
    let stdin = match &provider.stdin {
        Some(Stdin::File { .. }) => return true,
        Some(Stdin::Text(template)) => Some(template),
        None => None,
    };
    let variables = provider.grants.env.iter().map(|(_, template)| template);
    let mut templates = provider.args.templates().iter().chain(stdin).chain(variables);
    templates.any(has_input)
}

/// Returns the start of a worker's message.
fn bounded(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

fn test_problem(test: u64, trial: &TrialId, problem: &Problem) -> TestProblem {
    let id = &trial.test;
    let provider = &trial.provider;
    let message = bounded(&problem.message);
    TestProblem {
        test,
        key: match (problem.class, problem.code.as_str()) {
            (ErrorClass::InvalidInput, "schema" | "exit-code") => "expect",
            _ => "input",
        },
        message: match problem.code.as_str() {
            // The message completes a sentence that starts with the provider.
            "input" => format!("test `{id}`: provider `{provider}` {message}"),
            _ => format!("test `{id}` on provider `{provider}`: {message}"),
        },
        help: None,
        refused: problem.refused.clone(),
    }
}
