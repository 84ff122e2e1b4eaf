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
    /// How far each is from the glob's text; the nearest first.
    nearest: Vec<(usize, String)>,
}

impl TrialGlob {
    /// Makes a glob ready to be asked.
    pub(super) fn new(text: &str) -> Result<Self, globset::Error> {
        Ok(Self {
            text: text.to_owned(),
            glob: filter::glob(text)?.compile_matcher(),
            has_matched: false,
            nearest: Vec::new(),
        })
    }

    /// Tells whether a trial is meant, by its own id or by its test's.
    pub(super) fn means(&mut self, trial: &str) -> bool {
        let is_meant = record::is_meant(&self.glob, trial);
        if is_meant {
            self.has_matched = true;
        } else if !self.has_matched {
            self.remember(trial);
        }
        is_meant
    }

    /// Fails if no trial was meant; `of` says where they were looked for.
    pub(super) fn check(&self, of: &str) -> Result<(), Error> {
        if self.has_matched {
            return Ok(());
        }
        let names: Vec<_> = self
            .nearest
            .iter()
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        let help = match names[..] {
            [] => "there is none at all".to_owned(),
            _ => format!("the nearest are {}", names.join(", ")),
        };
        Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(help = help, "no trial {of} matches `{}`", self.text),
        })
    }

    fn remember(&mut self, trial: &str) {
        let test = trial.rsplit_once('@').map_or(trial, |(test, _)| test);
        let plain = self.text.replace('*', "");
        let name = if plain.contains('@') { trial } else { test };
        let distance = strsim::damerau_levenshtein(&plain, name);
        let is_near = self.nearest.len() < MAX_OFFERED
            || self
                .nearest
                .last()
                .is_some_and(|(furthest, _)| distance < *furthest);
        if is_near && self.nearest.iter().all(|(_, known)| known != name) {
            self.nearest.push((distance, name.to_owned()));
            self.nearest.sort();
            self.nearest.truncate(MAX_OFFERED);
        }
    }
}
