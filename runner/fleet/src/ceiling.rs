//! [`Ceiling`]: the grants that a worker gives the runs of others. Empty by default.

use std::fs;
use std::path::{Component, Path, PathBuf};

use runner_model::grants::{FsGrant, FsMode, is_secret_name};
use runner_model::provider::{MountedFolder, PreparedProvider};
use runner_model::units::{parse_size, show_size};
use runner_model::{Grants, NetGrant, visible::shown_path};

use crate::wire::shown;

const FORM: &str = "expected `net=https://*.example.com`, `secret=API_KEY`, `fs=/data`, `fs=/work:rw`, `memory=2GiB` or `all`";

/// The most that a worker grants to providers of other machines' runs, whatever a scenario grants them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ceiling {
    /// Whether all grants of scenarios are given.
    all: bool,
    net: Vec<NetGrant>,
    secrets: Vec<String>,
    folders: Vec<AllowedFolder>,
    /// Most bytes of a provider's `limits.memory`. `None` without a bound.
    memory: Option<u64>,
}

/// A folder that may be granted, with all folders in it.
#[derive(Clone, Debug, PartialEq)]
struct AllowedFolder {
    path: PathBuf,
    is_writable: bool,
}

impl Ceiling {
    /// Parses the values of `--ceiling`.
    ///
    /// # Errors
    ///
    /// The value that is not valid, with the reason.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut ceiling = Self::default();
        for word in words {
            let added = ceiling.add(word);
            added.map_err(|reason| format!("invalid ceiling `{}`: {reason}", shown(word)))?;
        }
        Ok(ceiling)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            None if word == "all" => self.all = true,
            Some(("net", pattern)) => self.net.push(NetGrant::parse(pattern)?),
            Some(("secret", name)) if is_secret_name(name) => self.secrets.push(name.to_owned()),
            Some(("secret", _)) => {
                return Err("names of secrets have letters, digits and `_`".into());
            }
            Some(("fs", path)) => self.folders.push(AllowedFolder::parse(path)?),
            Some(("memory", size)) => self.memory = Some(parse_size(size)?),
            _ => return Err(FORM.to_owned()),
        }
        Ok(())
    }

    /// Returns the most bytes of an attempt's memory. `None` without a bound.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Returns messages about secrets without a value and missing folders.
    pub(crate) fn notices(&self, has_secret: impl Fn(&str) -> bool) -> Vec<String> {
        let secrets = self.secrets.iter().filter(|name| !has_secret(name)).map(|name| {
            format!("`--ceiling secret={name}`: the secret has no value; set it in the environment, or add `--secret-file`")
        });
        let folders = self.folders.iter().filter(|folder| !folder.path.is_dir());
        let folders = folders.map(|folder| {
            format!(
                "`--ceiling fs={}`: there is no such folder; create it",
                shown_path(&folder.path)
            )
        });
        secrets.chain(folders).collect()
    }

    /// Returns why these providers cannot run here. `None` if they can. Graders do not count, because they run on the
    /// coordinator's machine.
    pub(crate) fn refusal(&self, providers: &[PreparedProvider]) -> Option<String> {
        let mut providers = providers.iter().filter(|one| one.provider.grading.is_none());
        providers.find_map(|prepared| {
            let problem = self.problem(prepared)?;
            Some(shown(&format!("provider `{}` {problem}", prepared.provider.name)))
        })
    }

    /// Returns why a provider cannot run here, as the rest of a sentence.
    fn problem(&self, prepared: &PreparedProvider) -> Option<String> {
        let PreparedProvider { provider, mounts, .. } = prepared;
        let (grants, limit) = (&provider.grants, provider.limits.memory);
        if let Some(most) = self.memory.filter(|most| limit > *most) {
            let (limit, most) = (show_size(limit), show_size(most));
            return Some(format!("needs {limit} of memory, and the worker's ceiling is {most}"));
        }
        // The mode that was checked must be the one that the guest gets.
        let is_same = |(grant, folder): (&FsGrant, &MountedFolder)| grant.mode == folder.mode;
        if grants.fs.len() != mounts.len() || !grants.fs.iter().zip(mounts).all(is_same) {
            return Some("has other folders than it is granted".to_owned());
        }
        let lacking = if self.all { None } else { self.lacking(grants, mounts) }?;
        Some(format!(
            "needs `{lacking}`, which the worker does not allow; start it with `--ceiling {lacking}`"
        ))
    }

    /// Returns the value of `--ceiling` that these grants lack.
    fn lacking(&self, grants: &Grants, folders: &[MountedFolder]) -> Option<String> {
        let mut net = grants.net.iter();
        if let Some(net) = net.find(|net| !self.net.iter().any(|own| own.covers(net))) {
            return Some(format!("net={net}"));
        }
        // Templates of environment variables name secrets, too.
        let mut names = grants.secret_names().into_iter();
        if let Some(name) = names.find(|name| !self.secrets.contains(name)) {
            return Some(format!("secret={name}"));
        }
        let mut folders = folders.iter();
        let folder = folders.find(|folder| !self.folders.iter().any(|own| own.allows(folder)))?;
        let mode = if folder.mode == FsMode::ReadWrite { ":rw" } else { "" };
        Some(format!("fs={}{mode}", folder.host))
    }
}

impl AllowedFolder {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, is_writable) = match text.strip_suffix(":rw") {
            Some(path) => (path, true),
            None => (text.strip_suffix(":ro").unwrap_or(text), false),
        };
        if !is_plain(Path::new(path)) {
            return Err("use an absolute path without `..`".to_owned());
        }
        Ok(Self { path: path.into(), is_writable })
    }

    /// Returns whether a folder is this one or in it. Links in its path are refused later, when it is looked up.
    fn allows(&self, folder: &MountedFolder) -> bool {
        let host = Path::new(&folder.host);
        let real = fs::canonicalize(&self.path);
        is_plain(host)
            && (self.is_writable || folder.mode == FsMode::ReadOnly)
            && (host.starts_with(&self.path) || real.is_ok_and(|real| host.starts_with(real)))
    }
}

/// Returns whether a path is absolute and has no `..`, which `Path::starts_with` does not resolve.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
#[path = "tests/ceiling.rs"]
mod tests;
