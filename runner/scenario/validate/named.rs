//! What a scenario names outside of itself: plugins and files.

use std::path::{Path, PathBuf};

use super::{NamedFiles, Validator};
use crate::{
    model::{BUNDLED_PLUGINS, bundled_name},
    scenario::check::{At, Part},
};

impl Validator<'_> {
    /// Where a provider's plugin is.
    pub(super) fn plugin(&mut self, plugin: &str, at: &At<'_>) -> PathBuf {
        if let Some(name) = bundled_name(Path::new(plugin)) {
            if !BUNDLED_PLUGINS.contains(&name) {
                let message = format!("the runner carries no plugin `{plugin}`");
                let help = format!("it has `{}`", BUNDLED_PLUGINS.join("`, `"));
                self.report(at, Part::Value, message, "not found", Some(help));
            }
            return plugin.into();
        }
        let path = self.directory.join(plugin);
        if self.named_files == NamedFiles::Needed && !path.exists() {
            self.not_found("plugin", plugin, at);
        }
        path
    }

    pub(super) fn existing_file(&mut self, noun: &str, file: &str, at: &At<'_>) {
        let path = self.directory.join(file);
        if file.is_empty() || self.named_files == NamedFiles::Stored || path.is_file() {
            return;
        }
        if path.exists() {
            let message = format!("{noun} `{file}` is not a file");
            self.report(at, Part::Value, message, "not a file", None);
        } else {
            self.not_found(noun, file, at);
        }
    }

    fn not_found(&mut self, noun: &str, file: &str, at: &At<'_>) {
        let message = format!("{noun} `{file}` does not exist");
        let path = self.directory.join(file);
        let help = format!(
            "paths are relative to the scenario: this is {}",
            path.display()
        );
        self.report(at, Part::Value, message, "not found", Some(help));
    }
}
