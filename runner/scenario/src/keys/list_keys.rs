//! The keys of test lists, and those of the plugins that print their records.

use std::collections::{BTreeMap, HashSet};

use runner_model::provider::{Arguments, OutputForm, Protocol, Provider, Stdin};
use runner_model::template::Template;
use runner_model::{Budgets, Limits, ProviderName};

use super::provider_keys::{PLUGIN, ProviderFiles};
use super::test_keys::{EXPECT, META, Meta, TestSettings, providers, settings};
use crate::keys::{LIST_GRANTS, ListFiles};
use crate::reading::{
    Any, AnyTable, Boolean, GLOB, Globs, Integer, LIST_ROOTS, List, SIZE, Table, TableForm,
    TemplateValue, Templated, Templates, Word,
};
use crate::stored_files::ListRecords;

/// A test list.
#[derive(Debug)]
pub(crate) struct TestList {
    /// The keys that it sets in the test of each record: `id`, `input`, `expect`, `reference` and `meta`, if
    /// present.
    pub(crate) fields: Vec<(&'static str, TemplateValue)>,
    /// Globs over providers. `None` selects all.
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) settings: TestSettings,
    /// Globs over test ids, one of which must match. `None` selects all.
    pub(crate) select: Option<Vec<String>>,
    pub(crate) exclude: Vec<String>,
    /// The files that its globs match, relative to the scenario. Empty in a stored scenario.
    pub(crate) files: Vec<String>,
    /// The plugin that prints the records, in place of files.
    pub(crate) plugin: Option<Provider>,
    /// `None` before the plugin runs.
    pub(crate) records: Option<ListRecords>,
    /// Whether it may have no tests.
    pub(crate) is_optional: bool,
    /// Whether each file is a record.
    pub(crate) is_of_files: bool,
}

impl TestList {
    /// Returns whether records are data for templates. If not, they are tests.
    pub(crate) fn has_templates(&self) -> bool {
        self.is_of_files
            || self.fields.iter().any(|(key, value)| *key == "id" || value.is_template())
    }
}

pub(crate) const LIST: TableForm<TestList> = TableForm("`[[test_lists]]`", list);
/// A format of a list whose files do not show it by their names.
const FORMAT: Word<()> = Word(|| vec!["file"], |word| (word == "file").then_some(()));
/// The limits of a plugin, and the greatest number of records.
const LIST_LIMITS: TableForm<(Limits, u64)> = TableForm("`limits` of a test list", |table| {
    let limits = Limits {
        memory: table.or("memory", &SIZE, r#""256MiB""#),
        reply: table.or("reply", &SIZE, r#""4GiB""#),
        ..Limits::default()
    };
    Some((limits, table.or("records", &Integer(1, 1 << 32), "10000000")))
});

fn list(table: &mut Table<'_, '_>) -> Option<TestList> {
    let is_optional = table.or("optional", &Boolean, "false");
    let is_of_files = table.optional("format", &FORMAT).is_some();
    let has_plugin = table.has("plugin");
    if is_of_files && has_plugin {
        table.refuse_key("format", "`format` is for files, but a `plugin` makes the records");
    }
    let globs = Globs(List(1, ListFiles { is_optional, has_any_name: is_of_files }));
    let files = if table.is_described() {
        table.optional("files", &globs)
    } else if has_plugin {
        // In earlier versions, `files` had the attachments, so the removed key is reported with advice.
        None
    } else {
        table.required("files", &globs)
    };
    let mut seen = HashSet::new();
    let files = files.into_iter().flatten().flatten();
    let files = files.filter(|name| seen.insert(name.clone())).collect();
    let plugin = list_plugin(table);
    let id = Templated(LIST_ROOTS);
    let id = if is_of_files { table.required("id", &id) } else { table.optional("id", &id) };
    let input = Templates(Any, LIST_ROOTS);
    let expect = Templates(EXPECT, LIST_ROOTS);
    let fields = [
        ("id", id.map(TemplateValue::Text)),
        ("input", table.optional("input", &input)),
        ("expect", table.optional("expect", &expect).map(TemplateValue::with_patterns)),
        ("reference", table.optional("reference", &Templates(Any, LIST_ROOTS))),
        ("meta", table.optional("meta", &Templates(META, LIST_ROOTS))),
    ];
    Some(TestList {
        fields: fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        providers: providers(table),
        settings: settings(table, Meta::new()),
        select: table.optional("select", &Globs(List(1, GLOB))),
        exclude: table.or("exclude", &Globs(List(0, GLOB)), "[]"),
        files,
        plugin,
        records: None,
        is_optional,
        is_of_files,
    })
}

/// Reads the keys of the plugin that prints the records of a test list. `None` without `plugin`.
fn list_plugin(table: &mut Table<'_, '_>) -> Option<Provider> {
    let plugin = table.optional("plugin", &PLUGIN);
    if !table.has("plugin") {
        for key in ["config", "attachments", "grants", "limits"] {
            if table.has(key) {
                let message =
                    format!("`{key}` is for the plugin of a list, and it has no `plugin`");
                table.refuse_key(key, &message);
            }
        }
    }
    let config = table.or("config", &AnyTable, "{}");
    let files = table.optional("attachments", &ProviderFiles).unwrap_or_default();
    let grants = table.or("grants", &LIST_GRANTS, "{}");
    let (limits, records) = table.or("limits", &LIST_LIMITS, "{}");
    Some(Provider {
        name: ProviderName::parse("list").ok()?,
        plugin: plugin?,
        config,
        stdin: Template::parse("{{config}}").ok().map(Stdin::Text),
        records: Some(records),
        deterministic: None,
        workspace: None,
        files,
        grants,
        limits,
        args: Arguments::default(),
        output: OutputForm::default(),
        protocol: Protocol::default(),
        sha256: None,
        reuse: None,
        concurrency: None,
        rate: None,
        budget: Budgets::default(),
        prices: BTreeMap::new(),
        grading: None,
        tool: None,
    })
}
