//! [`SingleCall`]: one call outside of a run, in a worker of its own.

use std::{io, path::Path, path::PathBuf, time::Duration};

use runner_model::protocol::{Task, TaskKind, TimeoutRule};
use runner_model::provider::{Description, Provider};
use runner_model::test::{Attachment, Test};
use runner_model::{Digest, ErrorClass, Limits, Row, TaskId, TestId, Time, TrialId};
use runner_prepare::mounts::Protected;
use runner_prepare::{ContentSource, Secrets, development, machine, plugins};
use runner_scenario::{ProviderProblem, unseen_values};
use serde::Serialize;
use serde_json::value::RawValue;

use super::probe::{CallError, CallEvent, CallReply, Probe};
use crate::workers::{PrestartedWorker, Supplies, prestart};
use crate::{EngineError, error::machine_error, signals};

/// One call outside of a run: of a plugin, of the plugin of a test list, or of a trial of a stored run. Writes to the plugin cache
/// only.
pub struct SingleCall {
    pub(super) prestarted: PrestartedWorker,
    pub(super) supplies: Supplies,
    pub(super) task: Task,
    /// The test's line, then the stored row of a task `Grade`.
    pub(super) body: Vec<u8>,
    /// Messages for the user.
    pub(super) notices: Vec<String>,
}

/// A plugin with the input of its call.
#[derive(Clone, Debug)]
pub struct PluginCall {
    /// The provider, or the grader. Paths are relative to the current folder.
    pub provider: Provider,
    /// The test's input, which is also that of a grader.
    pub input: Box<RawValue>,
    /// The test's attachments.
    pub attachments: Vec<Attachment<'static>>,
    /// Base of its workspace. `None` if it starts empty.
    pub base: Option<Digest>,
    /// Content of the attachments and the base.
    pub blobs: ContentSource,
    /// The seed of random numbers.
    pub seed: u32,
    /// Longest time of the call. `limits.time` may be shorter.
    pub timeout: Duration,
    /// Files with values of secrets.
    pub secret_files: Vec<PathBuf>,
    /// Folder that the caller writes artifacts to. Mounts that could replace it are refused.
    pub artifacts: Option<PathBuf>,
}

impl SingleCall {
    /// Creates the first attempt of a test on the first provider, or its call if it is a grader. `rule` sets the test's timeout.
    pub(crate) fn new(
        prestarted: PrestartedWorker,
        supplies: Supplies,
        test: &Test<'_>,
        rule: TimeoutRule,
        seed: u32,
    ) -> Result<Self, EngineError> {
        let Provider { name, limits, grading, .. } = &supplies.providers[0].provider;
        let trial = TrialId { test: test.id.clone(), provider: name.clone(), repeat: 1 };
        let (timeout, timeout_rule) = rule.within(test.timeout, limits);
        let mut body = to_json(test)?;
        let mut task =
            Task { seed, timeout_rule, ..Task::new(TaskId(1), trial, timeout, body.len()) };
        if grading.is_some() {
            // Each call of a grader needs a row. This one is empty, because the grader's input is that of the test.
            let (started_at, no_time) = (Time::default(), Duration::ZERO);
            let row = to_json(&Row::new(&task.trial, 1, started_at, no_time, no_time))?;
            (task.kind, task.row_bytes) = (TaskKind::Grade, row.len() as u32);
            body.extend(row);
        }
        Ok(Self { prestarted, supplies, task, body, notices: Vec::new() })
    }

    /// Prepares the call of a plugin.
    ///
    /// # Errors
    ///
    /// An unusable plugin, or secrets without a value.
    pub fn of_plugin(call: &PluginCall) -> Result<Self, EngineError> {
        let PluginCall { provider, blobs, secret_files, .. } = call;
        let prestarted = prestart()?;
        let (mut supplies, problems) = Supplies::of_provider(
            "plugin-run",
            provider,
            Path::new("."),
            blobs.clone(),
            |cache| {
                let files = blobs.files().chain(secret_files.iter().map(PathBuf::as_path));
                let files = files.map(|file| Protected::file("a file of this command", file));
                let artifacts = call.artifacts.iter();
                let artifacts =
                    artifacts.map(|path| Protected::folder("the folder of artifacts", path));
                let mut protected = Protected::for_process(cache);
                protected.push(Protected::file("a plugin", &provider.plugin));
                protected.extend(files.chain(artifacts));
                protected
            },
        )?;
        refuse(&problems)?;
        let secrets = Secrets::read(&supplies.providers, None, secret_files)?;
        refuse(&secrets.problems(&supplies.providers))?;
        supplies.secrets = secrets.values;
        supplies.quick = true;
        let id = TestId::parse("call").map_err(|error| machine_error(io::Error::other(error)))?;
        let test = Test {
            providers: vec![0],
            files: call.attachments.clone(),
            bases: call.base.map(|base| (0, base)).into_iter().collect(),
            ..Test::new(id, &call.input, call.timeout.into())
        };
        let mut notices = secrets.notices;
        // The input of a grader is that of the test.
        if provider.grading.is_none() {
            notices.extend(unseen_values(&supplies.providers[0], test.has_only_input()));
        }
        notices.extend(plugins::unused_keys(&supplies.providers, &supplies.plugins));
        notices.extend(development::notices(&supplies.providers, &supplies.cache));
        let single = Self::new(prestarted, supplies, &test, TimeoutRule::Flag, call.seed)?;
        Ok(Self { notices, ..single })
    }

    /// Returns the limits of the provider.
    pub fn limits(&self) -> &Limits {
        &self.supplies.providers[usize::from(self.task.provider)].provider.limits
    }

    /// Makes the call, and passes its events to `on_event`.
    ///
    /// # Errors
    ///
    /// The plugin cannot be compiled or used, or the worker ends early or sends an invalid report.
    pub fn make(self, on_event: &mut dyn FnMut(CallEvent<'_>)) -> Result<CallReply, CallError> {
        let Self { prestarted, mut supplies, task, body, notices } = self;
        notices.iter().for_each(|notice| on_event(CallEvent::Notice(notice)));
        if task.recorded.is_none() {
            // There is no run that could keep a journal.
            let settings = supplies.providers.iter_mut();
            let settings = settings.filter_map(|one| one.provider.deterministic.as_mut());
            settings.for_each(|settings| settings.journal = None);
        }
        let place = usize::from(task.provider);
        let provider = supplies.providers[place].provider.clone();
        let graded = provider.grading.as_ref().and_then(|grading| grading.workspace.as_ref());
        if provider.workspace.is_some() || graded.is_some() {
            machine::check_links().map_err(EngineError::Machine)?;
        }
        let mut probe = Probe::start(prestarted, supplies)?;
        signals::pass("describe");
        let ready = probe.describe(&mut |plugin| on_event(CallEvent::Compiling(plugin)))?;
        let problems = probe.check(&ready);
        let description = ready.providers.into_iter().nth(place).and_then(|one| one.description);
        let has_input = description.as_ref().is_some_and(|one| one.input_schema.is_some());
        on_event(CallEvent::Described(description));
        problems?;
        if has_input && task.kind == TaskKind::Run {
            probe.check_input(&task, &body)?;
        }
        signals::pass("call");
        probe.run(&task, &body, &provider, on_event)
    }
}

/// Describes a plugin, whose path is relative to the current folder. `None` if it has no description.
///
/// # Errors
///
/// The plugin cannot be compiled or used, or its worker ends early.
pub fn describe(
    provider: &Provider,
    compiling: &mut dyn FnMut(&str),
) -> Result<Option<Description>, EngineError> {
    let prestarted = prestart()?;
    let blobs = ContentSource::default();
    let (supplies, problems) =
        Supplies::of_provider("plugin-run", provider, Path::new("."), blobs, |_| Vec::new())?;
    refuse(&problems)?;
    let described = Probe::start(prestarted, Supplies { quick: true, ..supplies })
        .map_err(CallError::from)
        .and_then(|mut probe| {
            signals::pass("describe");
            let mut ready = probe.describe(compiling)?;
            for about in &mut ready.providers {
                // A description needs no configuration, so the plugin may refuse an empty one.
                about.problem.take_if(|problem| problem.class == ErrorClass::InvalidConfig);
            }
            probe.check(&ready)?;
            signals::pass("call");
            Ok(ready.providers.into_iter().next().and_then(|about| about.description))
        });
    described.map_err(|error| error.into_error("the plugin described itself"))
}

fn refuse(problems: &[ProviderProblem]) -> Result<(), EngineError> {
    let lines = problems.iter().map(|problem| match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    });
    if problems.is_empty() {
        Ok(())
    } else {
        Err(EngineError::Usage(lines.collect::<Vec<_>>().join("\n")))
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|error| machine_error(error.into()))
}
