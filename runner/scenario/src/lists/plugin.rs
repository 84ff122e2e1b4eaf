//! Plugins that print the records of test lists. The engine runs them; [`ListRecords`] is what they have printed.

use std::mem;
use std::path::{Path, PathBuf};

use runner_model::Micros;
use runner_model::provider::{Deterministic, Provider};

use crate::keys::DEFAULT_TIMEOUT;
use crate::lists::{AllTests, Origin};
use crate::problem::{Problem, Problems};
use crate::project::{Refusal, real_path};
use crate::reading::{Part, Places as _, Step};
use crate::{ListDigests, ListRecords, Scenario, Selection};

/// The plugin of a test list.
#[derive(Clone, Debug)]
pub struct ListPlugin {
    /// The list's index in the scenario.
    pub list: usize,
    pub provider: Provider,
    pub timeout: Micros,
}

impl Scenario {
    /// Returns the plugins of test lists that a selection may use.
    pub fn list_plugins(&self, selection: &Selection) -> Vec<ListPlugin> {
        let used = self.lists.iter().enumerate().filter_map(|(list, keys)| {
            let mut provider = keys.plugin.clone()?;
            // The plugin of a list has no network, so it needs no journal.
            let deterministic = self.run.deterministic;
            provider.deterministic =
                deterministic.map(|run| Deterministic { journal: None, ..run });
            let timeout = keys.settings.timeout.or(self.defaults.timeout);
            let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
            let is_used = selection.may_use(keys, &self.providers);
            is_used.then_some(ListPlugin { list, provider, timeout })
        });
        used.collect()
    }

    /// Returns the plugins of providers, graders and test lists, as the scenario names them.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        let lists = self.lists.iter().filter_map(|list| list.plugin.as_ref());
        self.providers.iter().chain(lists).map(|provider| &*provider.plugin)
    }

    /// Sets what the plugin of a list has printed. [`crate::resolve`] leaves out the lists of other plugins.
    pub fn set_records(&mut self, list: usize, records: ListRecords) {
        self.files.lists.insert(list.to_string(), records.digests);
        self.lists[list].records = Some(records);
        self.store_files();
    }

    /// Returns the hashes that a stored scenario has of a list's plugin.
    pub fn list_digests(&self, list: usize) -> Option<ListDigests> {
        self.files.lists.get(&list.to_string()).copied()
    }

    /// Sets the hashes of a stored scenario, so that the texts of both can be compared.
    pub fn set_list_digests_of(&mut self, stored: &Self) {
        self.files.lists.clone_from(&stored.files.lists);
        self.store_files();
    }

    /// Adds the files to its text again.
    fn store_files(&mut self) {
        let written = self.written.take().unwrap_or_else(|| mem::take(&mut self.text));
        self.text = self.files.added_to(&written).unwrap_or_else(|| written.clone());
        self.written = Some(written);
    }

    /// Returns a problem of the plugin of a list, with its place.
    pub fn list_problem(&self, list: usize, message: String, help: Option<String>) -> Problems {
        let label = "makes the records of this list";
        let document = self.document().ok();
        let places = document.map(|document| document.places(&path(list), Part::Value, label));
        let problem = Problem::new(message).at_all(places.unwrap_or_default());
        Problem { help, ..problem }.into()
    }
}

impl AllTests<'_> {
    /// Returns the message about a plugin without records. `None` for the list of a file.
    pub(crate) fn no_records(&self, list: usize) -> Option<String> {
        let list = &self.scenario.lists[list];
        let (plugin, records) = (list.plugin.as_ref()?, list.records.as_ref()?);
        Some(format!("plugin `{}` printed no records{}", plugin.plugin, records.stderr()))
    }

    /// Adds the plugin that printed a record to the record's problems.
    pub(crate) fn of_plugin(&self, list: usize, mut problems: Vec<Problem>) -> Vec<Problem> {
        let Some(records) = &self.scenario.lists[list].records else { return problems };
        for problem in &mut problems {
            let label = "printed by this plugin";
            let places = self.document.places(&path(list), Part::Value, label);
            problem.places.extend(places);
            if problem.message.starts_with("not valid JSON") {
                problem.help.get_or_insert_with(|| {
                    let stderr = records.stderr();
                    format!("let the plugin print one JSON object on each line{stderr}")
                });
            }
        }
        problems
    }
}

impl Origin<'_> {
    /// Checks that the plugin of a list may read an attachment that its record names: by another file, it would choose what
    /// providers see of the project.
    pub(crate) fn check_granted(&self, file: &Path) -> Result<(), Refusal> {
        let Self::Record(record) = self else { return Ok(()) };
        let (Some(plugin), Ok(real)) = (&record.list.plugin, file.canonicalize()) else {
            return Ok(());
        };
        let granted = granted(plugin, self.folder());
        if granted.iter().any(|folder| real.starts_with(real_path(folder))) {
            return Ok(());
        }
        Err(not_granted())
    }
}

/// Returns the folders that the plugin of a list may read.
pub(super) fn granted(plugin: &Provider, folder: &Path) -> Vec<PathBuf> {
    plugin.grants.fs.iter().map(|grant| folder.join(&grant.path)).collect()
}

pub(super) fn not_granted() -> Refusal {
    let reason = "is not in a folder that the plugin of its list may read".to_owned();
    let help = "grant the folder to the plugin, by `grants.fs` of the list".to_owned();
    Refusal { reason, help: Some(help) }
}

/// Returns the path of a list's plugin in the scenario.
fn path(list: usize) -> [Step; 3] {
    [Step::Key("test_lists".to_owned()), Step::Item(list), Step::Key("plugin".to_owned())]
}
