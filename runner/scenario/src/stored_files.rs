//! [`StoredFiles`]: files that providers name, as a scenario was read with them, and hashes of what plugins of lists print. A run
//! stores them with the scenario's text, because the originals may change.

use std::path::PathBuf;
use std::{collections::BTreeMap, fs::File, os::fd::AsRawFd as _};

use runner_model::{Digest, Fingerprint, row::STDERR_FOLLOWS};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The table of a stored scenario that has the files.
const TABLE: &str = "stored";

/// Files of matrices, providers and plugins of test lists. Paths are relative to the scenario.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredFiles {
    /// The matches of each glob of a matrix.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) globs: BTreeMap<String, Vec<String>>,
    /// The texts that placeholders insert and schemas of tools, by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) texts: BTreeMap<String, String>,
    /// The digest and the length of each file that a provider attaches to its tests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attached: BTreeMap<String, (Digest, u64)>,
    /// What the plugins of test lists read and printed, by the list's index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lists: BTreeMap<String, ListDigests>,
}

/// The records that the plugin of a list has printed.
#[derive(Debug)]
pub struct ListRecords {
    /// JSON Lines, in a file without a name.
    pub file: File,
    /// The end of its standard error.
    pub stderr: Option<String>,
    pub digests: ListDigests,
}

/// Hashes of everything that decides the records of a plugin. A run stores them with its scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDigests {
    /// Of the plugin, its settings, and the files and folders that it reads.
    pub inputs: Fingerprint,
    /// Of what it printed.
    pub records: Digest,
}

impl ListRecords {
    /// Returns a path at which the file can be opened again, at its start.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Returns the end of a message: the standard error.
    pub(crate) fn stderr(&self) -> String {
        let stderr = self.stderr.as_ref().map(|text| format!("{STDERR_FOLLOWS}\n{text}"));
        stderr.unwrap_or_default()
    }
}

impl StoredFiles {
    /// Takes the files out of a stored scenario, whose keys then have their present names.
    pub(crate) fn take(root: &mut Value) -> Self {
        rename_old_keys(root);
        let table = root.as_object_mut().and_then(|root| root.remove(TABLE));
        table.and_then(|table| serde_json::from_value(table).ok()).unwrap_or_default()
    }

    /// Adds the files to the text of a scenario. `None` without files.
    pub(crate) fn added_to(&self, text: &str) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let table = toml::to_string(&json!({ TABLE: self })).ok()?;
        let note = "# The files that its providers and test lists name, when the run started.";
        Some(format!("{text}\n\n{note}\n{table}"))
    }
}

/// Renames keys of a stored scenario. In earlier versions, `hidden` of graders and `attachments` of test lists were `files`.
fn rename_old_keys(root: &mut Value) {
    let rename = |table: &mut Value, new: &str| {
        if let Some(keys) = table.as_object_mut()
            && let Some(value) = keys.remove("files")
        {
            keys.insert(new.to_owned(), value);
        }
    };
    let graders = root.get_mut("graders").and_then(Value::as_object_mut);
    graders.into_iter().flatten().for_each(|(_, grader)| rename(grader, "hidden"));
    let lists = root.get_mut("test_lists").and_then(Value::as_array_mut).into_iter().flatten();
    lists.filter(|list| list["files"].is_object()).for_each(|list| rename(list, "attachments"));
}

#[cfg(test)]
mod tests {
    use runner_model::digest;

    use super::StoredFiles;
    use crate::reading::Document;

    #[test]
    fn stored_texts_are_read_back_exactly() {
        let mut files = StoredFiles::default();
        files.globs.insert("p/*.{txt,\"md\"}".to_owned(), vec!["p/a b.txt".to_owned()]);
        for text in ["", "\n", "\r\na\n\n", "'''\"\"\"\\", "\u{feff}\0\u{7f}\u{1b}ä {{x}}\t"] {
            files.texts.insert(format!("p/{text}.txt"), text.to_owned());
        }
        files.attached.insert("s.py".to_owned(), (digest(b"s"), 1 << 40));
        let text = files.added_to("[run]\nseed = 1").unwrap();
        let document = Document::parse("s.toml", &text).unwrap_or_else(|_| panic!("{text}"));
        let mut root = document.value(&mut Vec::new());
        assert_eq!(StoredFiles::take(&mut root), files);
        assert_eq!(root, serde_json::json!({"run": {"seed": 1}}));
    }
}
