//! [`make_records`]: runs the plugins of test lists, each in a worker of its own, before the tests are planned.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use runner_model::row::{RowError, panic};
use runner_model::{
    Digest, Fingerprint, Outcome, RowRef, TestId, log::Said, protocol::TimeoutRule,
    provider::Provider, test::Test, units::show_duration, visible::quoted,
};
use runner_prepare::mounts::FolderReader;
use runner_prepare::{ContentSource, Fingerprints, machine, source::Source, source::SourceState};
use runner_scenario::{ListDigests, ListPlugin, ListRecords, Scenario, Selection};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::calls::{CallEvent, CallReply, SingleCall};
use crate::workers::{Supplies, prestart};
use crate::{EngineError, error::machine_error, signals};

/// A plugin of a list, with the folders that it reads.
struct PreparedList {
    supplies: Supplies,
    notices: Vec<String>,
}

/// Reason why a plugin made no records.
enum ListError {
    /// A message about the plugin, and perhaps a help.
    Refused(String, Option<String>),
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for ListError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the plugins of a scenario's test lists that a selection may use, and gives their records to the scenario. Returns
/// messages for the user.
///
/// # Errors
///
/// A plugin that cannot be used, that fails, or that prints more than its limits.
pub(crate) fn make_records(
    scenario: &mut Scenario,
    selection: &Selection,
) -> Result<Vec<String>, EngineError> {
    let mut notices = Vec::new();
    for plugin in scenario.list_plugins(selection) {
        let made = PreparedList::new(&plugin, scenario).and_then(|mut list| {
            notices.append(&mut list.notices);
            list.run(&plugin)
        });
        match made {
            Ok(records) => {
                signals::pass("records");
                scenario.set_records(plugin.list, records);
            }
            Err(ListError::Failed(error)) => return Err(error),
            Err(ListError::Refused(message, help)) => {
                let message =
                    format!("plugin `{}` of a test list {message}", plugin.provider.plugin);
                let problem = scenario.list_problem(plugin.list, message, help);
                return Err(EngineError::Scenario(problem));
            }
        }
    }
    Ok(notices)
}

/// Returns the advice to build a plugin that is out of date. `None` for others, which a build would leave as they are.
pub(crate) fn build_advice(scenario: &Scenario, provider: &Provider) -> Option<String> {
    let source = Source::open(&scenario.folder.join(&provider.plugin)).ok()?;
    let path = quoted(scenario.path());
    let advice = format!("to build all plugins of the scenario: runner exec {path} --build");
    (source.state() != Ok(SourceState::Fresh)).then_some(advice)
}

/// Returns a clause for each plugin of a list that changed, or whose files or settings did, since a run stored its scenario. Runs
/// no plugin. Those without a change count as if they had printed the same again.
pub(crate) fn changed_lists(live: &mut Scenario, stored: &Scenario) -> Vec<String> {
    let mut changed = Vec::new();
    for plugin in live.list_plugins(&Selection::default()) {
        let before = stored.list_digests(plugin.list).map(|digests| digests.inputs);
        let now = PreparedList::new(&plugin, live).ok().map(|list| list.inputs());
        if before.is_some() && now != before {
            let name = &plugin.provider.plugin;
            changed
                .push(format!("plugin `{name}` of a test list changed, or a file that it reads"));
        }
    }
    live.set_list_digests_of(stored);
    changed
}

impl PreparedList {
    fn new(plugin: &ListPlugin, scenario: &Scenario) -> Result<Self, ListError> {
        let ListPlugin { provider, .. } = plugin;
        let blobs = ContentSource::from_files(&provider.files, &scenario.folder);
        // Nothing is writable, so nothing needs protection.
        let found =
            Supplies::of_provider("test-list", provider, &scenario.folder, blobs, |_| Vec::new());
        let (mut supplies, problems) = found?;
        if let Some(problem) = problems.into_iter().next() {
            let help = problem.help.or_else(|| build_advice(scenario, provider));
            let own = format!("plugin `{}` ", provider.plugin);
            let message = problem.message.strip_prefix(&own).unwrap_or(&problem.message);
            return Err(ListError::Refused(message.to_owned(), help));
        }
        supplies.scenario.clone_from(&scenario.name);
        supplies.grace = scenario.run.grace;
        let reader = FolderReader::new(&supplies.cache);
        let notices = reader.read_all(&mut supplies.providers, None);
        Ok(Self { supplies, notices })
    }

    /// Returns the hash of everything that the plugin reads.
    fn inputs(&self) -> Fingerprint {
        Fingerprints::new(&self.supplies.providers, 0).provider(0)
    }

    /// Runs the plugin to its end. Its standard output goes to an unnamed file.
    fn run(self, plugin: &ListPlugin) -> Result<ListRecords, ListError> {
        let inputs = self.inputs();
        let id = TestId::parse("records").map_err(io::Error::other).map_err(machine_error)?;
        let test = Test { providers: vec![0], ..Test::new(id, RawValue::NULL, plugin.timeout) };
        let output = Output::new().map_err(|error| machine::no_temporary_file(&error));
        let mut output = output.map_err(EngineError::Machine)?;
        let call = SingleCall::new(prestart()?, self.supplies, &test, TimeoutRule::Timeout, 0)?;
        let reply = call.make(&mut |event| {
            if let CallEvent::Artifact { index: 0, bytes } = event {
                output.write(bytes);
            }
        });
        let reply =
            reply.map_err(|error| error.into_error("a plugin made the records of a test list"))?;
        output.finish(&reply, plugin, inputs)
    }
}

/// The standard output of a plugin.
struct Output {
    file: File,
    written: io::Result<()>,
    sha256: Sha256,
    bytes: u64,
}

impl Output {
    fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, written: Ok(()), sha256: Sha256::new(), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.written.is_ok() {
            self.written = self.file.write_all(bytes);
            self.sha256.update(bytes);
            self.bytes += bytes.len() as u64;
        }
    }

    /// Returns the records, or the reason why there are none.
    fn finish(
        mut self,
        reply: &CallReply,
        plugin: &ListPlugin,
        inputs: Fingerprint,
    ) -> Result<ListRecords, ListError> {
        let row: RowRef<'_> =
            serde_json::from_slice(&reply.row).map_err(|error| machine_error(error.into()))?;
        if row.outcome == Outcome::Timeout {
            let time = show_duration(plugin.timeout.into());
            let help = "to give it more time, set `timeout` of the list";
            let message = format!("did not end within {time}");
            return Err(ListError::Refused(message, Some(help.to_owned())));
        }
        if let Some(error) = &row.error {
            let is_own = ["records", "reply", "memory"].contains(&&*error.code);
            let help =
                is_own.then(|| format!("to allow more, set `limits.{}` of the list", error.code));
            let reason =
                panic(error).map(|(_, words)| RowError { message: words.into(), ..error.clone() });
            let reason = reason.as_ref().unwrap_or(error);
            return Err(ListError::Refused(format!("failed: {reason}"), help));
        }
        let whole = row.artifacts.first().map(|artifact| artifact.bytes);
        if row.outcome != Outcome::Passed || whole != Some(self.bytes) {
            return Err(ListError::Refused("gave no whole output".to_owned(), None));
        }
        let written = self.written.and_then(|()| self.file.rewind());
        written.map_err(|error| EngineError::Machine(machine::no_temporary_file(&error)))?;
        let said: Said<'_> = serde_json::from_slice(&reply.log).unwrap_or_default();
        let stderr = (!said.stderr.trim().is_empty()).then(|| said.stderr.trim_end().to_owned());
        let records = Digest(self.sha256.finalize().into());
        Ok(ListRecords { file: self.file, stderr, digests: ListDigests { inputs, records } })
    }
}
