//! [`Ceiling`]: the grants that a worker allows runs from other machines. Empty by default.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use runner_model::grants::{FsMode, is_secret_name};
use runner_model::provider::{MountedFolder, PreparedProvider, Provider};
use runner_model::units::{parse_size, show_size};
use runner_model::{Grants, Limits, NetGrant, visible::shown_path};

use crate::wire::shown;

const FORM: &str = "expected `net=https://*.example.com`, `secret=API_KEY`, `fs=/data`, `fs=/work:rw`, `memory=2GiB`, `scratch=10GiB` or `all`";

/// Upper bound of the grants, the memory and the files of providers in runs from other machines. A scenario cannot raise it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ceiling {
    /// Whether `--ceiling all` allows every grant of a scenario.
    all: bool,
    net: Vec<NetGrant>,
    secrets: Vec<String>,
    folders: Vec<AllowedFolder>,
    /// Maximum of a provider's `limits.memory`, in bytes. `None` if unlimited.
    memory: Option<u64>,
    /// Maximum of a provider's `limits.scratch`, in bytes. `None` for half of the free space.
    scratch: Option<u64>,
}

/// A folder that may be granted, including its subfolders.
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
    /// Names the first invalid value and the reason.
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
                return Err("use letters, digits and `_` in the name of a secret".into());
            }
            Some(("fs", path)) => self.folders.push(AllowedFolder::parse(path)?),
            Some(("memory", size)) => self.memory = Some(parse_size(size)?),
            Some(("scratch", size)) => self.scratch = Some(parse_size(size)?),
            _ => return Err(FORM.to_owned()),
        }
        Ok(())
    }

    /// Limits the files of an attempt to half of the free space at `folder`, unless the user has set a maximum.
    pub(crate) fn limit_scratch(&mut self, folder: &Path) -> io::Result<()> {
        if self.scratch.is_none() {
            let found = rustix::fs::statvfs(folder)?;
            self.scratch = Some(found.f_bavail.saturating_mul(found.f_frsize) / 2);
        }
        Ok(())
    }

    /// Returns limits of a provider, lowered to this ceiling.
    pub(crate) fn lowered(&self, limits: &Limits) -> Limits {
        let scratch = self.scratch.unwrap_or(u64::MAX);
        Limits {
            memory: limits.memory.min(self.memory.unwrap_or(u64::MAX)),
            scratch: limits.scratch.min(scratch),
            // Artifacts are files of the worker, too. Scenarios that set no limits pass a small ceiling.
            artifacts: limits.artifacts.min(scratch.max(Limits::default().artifacts)),
            ..limits.clone()
        }
    }

    /// Returns messages about allowed secrets that have no value and allowed folders that do not exist.
    pub(crate) fn notices(&self, has_secret: impl Fn(&str) -> bool) -> Vec<String> {
        let secrets = self.secrets.iter().filter(|name| !has_secret(name)).map(|name| {
            format!("`--ceiling secret={name}`: the secret has no value; set it in the environment, or add `--secret-file`")
        });
        let folders = self.folders.iter().filter(|folder| !folder.path.is_dir());
        let folders = folders.map(|folder| {
            format!(
                "`--ceiling fs={}`: the folder does not exist; create it",
                shown_path(&folder.path)
            )
        });
        secrets.chain(folders).collect()
    }

    /// Returns why the worker must decline these providers. `None` if it allows them.
    pub(crate) fn refusal(&self, providers: &[PreparedProvider]) -> Option<String> {
        providers.iter().find_map(|prepared| {
            let problem = self.problem(prepared)?;
            let Provider { name, .. } = &prepared.provider;
            Some(shown(&format!("{} `{name}` {problem}", prepared.provider.role())))
        })
    }

    /// Returns why the worker must decline a provider, as a predicate to follow the provider's name.
    fn problem(&self, prepared: &PreparedProvider) -> Option<String> {
        let PreparedProvider { provider, mounts, .. } = prepared;
        let grants = &provider.grants;
        let limits = &provider.limits;
        let most = self.lowered(limits);
        for (key, flag, limit, most) in [
            ("memory", "memory", limits.memory, most.memory),
            ("scratch", "scratch", limits.scratch, most.scratch),
            ("artifacts", "scratch", limits.artifacts, most.artifacts),
        ] {
            if limit > most {
                let limit = show_size(limit);
                let most = show_size(most);
                return Some(format!(
                    "needs {limit} of {key}, and the worker's ceiling is {most}; to raise it, start it with `--ceiling {flag}=SIZE`"
                ));
            }
        }
        // `lacking` checks the modes of `mounts`. A hostile coordinator could send other modes in the grants.
        if grants.fs.len() != mounts.len()
            || !grants.fs.iter().zip(mounts).all(|(grant, folder)| grant.mode == folder.mode)
        {
            return Some("mounts folders that differ from its grants".to_owned());
        }
        let lacking = if self.all { None } else { self.lacking(grants, mounts) }?;
        Some(format!(
            "needs `{lacking}`, which the worker does not allow; start it with `--ceiling {lacking}`"
        ))
    }

    /// Returns a value of `--ceiling` that the worker would need to allow these grants. `None` if it allows all of them.
    fn lacking(&self, grants: &Grants, folders: &[MountedFolder]) -> Option<String> {
        let mut net = grants.net.iter();
        if let Some(net) = net.find(|net| !self.net.iter().any(|own| own.covers(net))) {
            return Some(format!("net={net}"));
        }
        // `secret_names` includes the secrets in templates of environment variables.
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

    /// Returns whether `folder` is this folder or a subfolder, in an allowed mode. Symbolic links in the path of `folder` are
    /// refused later, when the folder is opened.
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
