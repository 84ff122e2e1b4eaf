//! Golden files and schemas that records choose. A list may come from elsewhere, outputs and messages show the content of these
//! files, and `accept` writes them.

use std::path::{Path, PathBuf};

use super::{Origin, Record, plugin};
use crate::keys::files::display_path;
use crate::project::{Refusal, real_path};
use crate::reading::{TemplateValue, TextPart, parts};

impl Origin<'_> {
    /// Checks that a record may choose the file at a key of `expect`: without hidden names, and below the folder that its list
    /// states, or else that of its data file, or one that its plugin may read.
    pub(crate) fn check_chosen(&self, key: &str, file: &str) -> Result<(), Refusal> {
        let Some(stated) = self.stated_folder(key) else { return Ok(()) };
        let Self::Record(record) = self else { return Ok(()) };
        let scenario = record.tests.scenario;
        let path = scenario.folder.join(file);
        scenario.project.check(&path, false)?;
        let (folders, refusal) = match (stated, &record.list.plugin) {
            (None, Some(provider)) => {
                (plugin::granted(provider, &scenario.folder), plugin::not_granted())
            }
            (stated, _) => {
                let folder = stated.unwrap_or_else(|| record.file.folder.clone());
                let shown = display_path(&folder);
                let reason = format!("is not below `{shown}`, and its record chooses it");
                let help = format!(
                    "state the folder in the list, such as: expect = {{ {key} = \"expected/{{{{row.name}}}}\" }}"
                );
                (vec![folder], Refusal { reason, help: Some(help) })
            }
        };
        let real = real_path(&path);
        let mut below =
            folders.iter().filter_map(|folder| real.strip_prefix(real_path(folder)).ok());
        let Some(chosen) = below.next() else { return Err(refusal) };
        if chosen.iter().any(|name| name.as_encoded_bytes().starts_with(b".")) {
            return Err("has a hidden name, and its record chooses it".to_owned().into());
        }
        Ok(())
    }

    /// Checks that `accept` may write the golden file that a record chooses: in a folder that the record does not choose, and
    /// that is not the scenario's own with its sources and settings.
    pub(crate) fn check_accepted(&self, file: &str) -> Result<(), String> {
        let (Some(stated), Self::Record(record)) = (self.stated_folder("file"), self) else {
            return Ok(());
        };
        let of_data = || record.list.plugin.is_none().then(|| record.file.folder.clone());
        let scenario = real_path(&record.tests.scenario.folder);
        match stated.or_else(of_data) {
            Some(folder) if !scenario.starts_with(real_path(&folder)) => Ok(()),
            _ => Err(format!("a record chooses the folder of `{file}`: write one into the list")),
        }
    }

    /// Returns the folder in the list's template of a file, before the first placeholder of the record. The inner one is `None`
    /// without such a folder, and the outer one if the record does not choose the file.
    #[allow(clippy::option_option, reason = "the doc names both")]
    fn stated_folder(&self, key: &str) -> Option<Option<PathBuf>> {
        let Self::Record(record) = self else { return None };
        let Some((_, expect)) = record.list.fields.iter().find(|(key, _)| *key == "expect") else {
            return Some(None);
        };
        let expect = expect.clone().into_value();
        let Some(text) = expect[key].as_str() else { return Some(None) };
        let mut before = String::new();
        for part in parts(text) {
            match part {
                TextPart::Placeholder { path, .. }
                    if path.trim().split('.').next() == Some("row") =>
                {
                    return Some(record.folder_of(&before));
                }
                TextPart::Placeholder { source: text, .. } | TextPart::Text(text) => before += text,
                TextPart::Braces => before += "{{{{",
            }
        }
        None
    }
}

impl Record<'_> {
    /// Returns the folder of a path whose only placeholders are those of the data file. `None` without a folder.
    fn folder_of(&self, path: &str) -> Option<PathBuf> {
        let folder = &path[..=path.rfind('/')?];
        let roots = [("file", &self.file.names), ("row_number", &self.number)];
        let folder = TemplateValue::parse(&folder.into()).ok()?.render(&roots).ok()?;
        Some(self.tests.scenario.folder.join(Path::new(folder.as_str()?)))
    }
}
