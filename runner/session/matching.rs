//! Globs over trials, and what to say of one that means none.

use globset::GlobMatcher;
use miette::miette;

use crate::{
    error::{Error, ExitStatus},
    filter, record,
};

/// How many names a message offers.
const MAX_OFFERED: usize = 3;

/// A glob over trials that remembers whether it has meant any, and which were the nearest.
pub(super) struct TrialGlob {
    text: String,
    glob: GlobMatcher,
    has_matched: bool,
    nearest: Nearest,
}

/// The names that are nearest to a text, for whoever has mistyped one.
pub(super) struct Nearest {
    text: String,
    /// How far each is from the text; the nearest first.
    names: Vec<(usize, String)>,
}

impl TrialGlob {
    /// Makes a glob ready to be asked.
    pub(super) fn new(text: &str) -> Result<Self, globset::Error> {
        Ok(Self {
            text: text.to_owned(),
            glob: filter::glob(text)?.compile_matcher(),
            has_matched: false,
            nearest: Nearest::new(text),
        })
    }

    /// Tells whether a trial is meant, by its own id or by its test's.
    pub(super) fn means(&mut self, trial: &str) -> bool {
        let is_meant = record::is_meant(&self.glob, trial);
        if is_meant {
            self.has_matched = true;
        } else if !self.has_matched {
            self.nearest.remember(trial);
        }
        is_meant
    }

    /// Fails if no trial was meant; `of` says where they were looked for.
    pub(super) fn check(&self, of: &str) -> Result<(), Error> {
        if self.has_matched {
            return Ok(());
        }
        Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = self.nearest.help(),
                "no trial {of} matches `{}`",
                self.text
            ),
        })
    }
}

impl Nearest {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            names: Vec::new(),
        }
    }

    /// Looks at a trial's id; a text without a provider is compared with that of its test.
    pub(super) fn remember(&mut self, trial: &str) {
        let test = trial.rsplit_once('@').map_or(trial, |(test, _)| test);
        let plain = self.text.replace('*', "");
        let name = if plain.contains('@') { trial } else { test };
        let distance = strsim::damerau_levenshtein(&plain, name);
        let is_near = self.names.len() < MAX_OFFERED
            || self
                .names
                .last()
                .is_some_and(|(furthest, _)| distance < *furthest);
        if is_near && self.names.iter().all(|(_, known)| known != name) {
            self.names.push((distance, name.to_owned()));
            self.names.sort();
            self.names.truncate(MAX_OFFERED);
        }
    }

    /// What to try instead.
    pub(super) fn help(&self) -> String {
        let names: Vec<_> = self
            .names
            .iter()
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        match names[..] {
            [] => "there is none at all".to_owned(),
            _ => format!("the nearest are {}", names.join(", ")),
        }
    }
}
