//! Lets a worker check tests on their providers, without any trial.

use std::collections::HashMap;

use runner_model::{
    ErrorClass, Micros, Places as _, TaskId, TrialId,
    prepare::{Problem, Ready},
    protocol::{FromWorker, Line, Task, TaskKind, TimeoutRule},
    provider::{Provider, Stdin},
    row::MAX_ROW,
    template::Template,
};
use runner_scenario::{Problems, TestProblem};

use crate::{
    EngineError,
    crew::News,
    once::{CallEnd, Once},
    plan::{Ids, Plan},
    session::machine,
};

/// Problems that are told of; all are counted.
const MAX_TOLD: usize = 20;
/// Tasks that are sent and not yet answered.
const WINDOW: usize = 64;

/// Lets the worker check all tests on those of their providers for which something can be wrong, and gives what it finds.
///
/// # Errors
///
/// The disk, or the end of the worker; within, that before all is checked.
pub(crate) fn check(
    plan: &Plan,
    ready: &Ready,
    once: &mut Once,
) -> Result<Result<Problems, CallEnd>, EngineError> {
    let is_asked = asked(plan, ready);
    let has_schemas = !plan.suite.blobs().is_empty();
    let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
    let (mut trials, mut last, mut line) = (0..plan.suite.trials(), None, Vec::new());
    let (mut in_flight, mut found, mut hidden) = (HashMap::new(), Vec::new(), 0);
    loop {
        while in_flight.len() < WINDOW
            && let Some(trial) = trials.next()
        {
            let planned = plan.suite.trial(trial);
            let is_asked = is_asked[usize::from(planned.provider)];
            let place = (planned.test, planned.provider);
            // One repeat is like the other.
            let is_repeat = last.replace(place) == Some(place);
            if is_repeat || !is_asked && !has_schemas {
                continue;
            }
            plan.suite.line(planned.test, &mut line).map_err(machine)?;
            // A text that has it checks one test too many.
            if is_asked || has_part(&line, b"\"schema\":") {
                let id = ids.trial(trial).map_err(machine)?;
                let task = task(plan, (trial, planned.provider), &id, line.len());
                in_flight.insert(task.id, (planned.test, id));
                once.assign(task, &line).map_err(machine)?;
            }
        }
        if in_flight.is_empty() {
            break;
        }
        match once.next()? {
            Ok(News::Said(_, FromWorker::Report { head, body })) => {
                let Some((test, trial)) = in_flight.remove(&head.task) else {
                    continue;
                };
                for problem in problems(&body[..head.row_bytes as usize]) {
                    if found.len() < MAX_TOLD {
                        found.push(of_test(test, &trial, &problem));
                    } else {
                        hidden += 1;
                    }
                }
            }
            Ok(_) => {}
            Err(end) => return Ok(Err(end)),
        }
    }
    let mut problems = plan.scenario.test_problems(&plan.suite, &found);
    problems.add_hidden(hidden);
    Ok(Ok(problems))
}

/// By provider: whether each of its tests is checked. Of the others those are that have a schema.
fn asked(plan: &Plan, ready: &Ready) -> Vec<bool> {
    let providers = plan.providers.iter();
    let takes_input = providers.map(|prepared| takes_input(&prepared.provider));
    let mut is_asked: Vec<_> = takes_input.collect();
    for about in &ready.providers {
        let description = about.description.as_ref();
        let has_schema = description.is_some_and(|about| about.input_schema.is_some());
        if let Some(is_asked) = is_asked.get_mut(usize::from(about.provider)) {
            *is_asked |= has_schema;
        }
    }
    is_asked
}

fn task(plan: &Plan, (index, provider): (u64, u16), trial: &TrialId, line: usize) -> Task {
    Task {
        id: TaskId(index + 1),
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
