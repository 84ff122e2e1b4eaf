//! Reads the values of granted secrets from files and the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::{env, fs, os::unix::fs::PermissionsExt as _};

use runner_model::prepare::{RefusedPart, SecretValues};
use runner_model::{Digest, digest, provider::PreparedProvider, visible::shown_path, without_mark};
use runner_scenario::{ProviderProblem, similar};

use crate::PrepareError;

/// Bytes of a file of secrets, which may be a device that never ends.
const MAX_FILE: u64 = 16 << 20;
/// Bytes of a secret.
const MAX_VALUE: usize = 64 << 10;
/// Bytes of the shortest value that is redacted. Shorter values occur in too many texts.
const MIN_REDACTED: usize = 4;
/// Read permissions of the group and of others.
const READABLE_BY_OTHERS: u32 = 0o044;

/// The secrets of a plan.
#[derive(Debug, Default)]
pub struct Secrets {
    pub values: SecretValues,
    /// Index of the provider and name of each secret without a value.
    pub missing: Vec<(u16, String)>,
    /// Digest of the value of `[run] judge_seed`. `None` without the key or the value.
    pub judge_seed: Option<Digest>,
    /// Names in files that no provider is granted.
    others: BTreeSet<String>,
    /// Messages for the user.
    pub notices: Vec<String>,
}

impl Secrets {
    /// Reads the values of all granted secrets, and that of `judge_seed`. Files take precedence over the environment, and later
    /// files over earlier ones.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or a value cannot be used.
    pub fn read(
        providers: &[PreparedProvider],
        judge_seed: Option<&str>,
        files: &[PathBuf],
    ) -> Result<Self, PrepareError> {
        let granted = (0..).zip(providers).flat_map(|(index, prepared)| {
            prepared.provider.grants.secret_names().into_iter().map(move |name| (index, name))
        });
        let granted: Vec<_> = granted.collect();
        let mut read = Self::default();
        if granted.is_empty() && judge_seed.is_none() {
            return Ok(read);
        }
        let mut names: BTreeSet<_> = granted.iter().map(|(_, name)| name.as_str()).collect();
        let is_granted = judge_seed.is_some_and(|name| !names.insert(name));
        let mut values = BTreeMap::new();
        for name in &names {
            if let Some(value) = env::var_os(name) {
                let value = value.into_string();
                let value = value.map_err(|_| unusable(name, "is not UTF-8"))?;
                values.insert((*name).to_owned(), value);
            }
        }
        for path in files {
            read.file(path, &names, &mut values)?;
        }
        values.retain(|_, value| !value.trim().is_empty());
        read.judge_seed = judge_seed.and_then(|name| Some(digest(values.get(name)?.as_bytes())));
        // Workers get the secrets of their providers alone.
        if let Some(name) = judge_seed.filter(|_| !is_granted) {
            values.remove(name);
        }
        for (name, value) in &values {
            if value.len() > MAX_VALUE {
                return Err(unusable(name, "is longer than 64 KiB"));
            }
            if value.len() < MIN_REDACTED {
                read.notices.push(format!(
                    "the value of secret `{name}` is too short to be redacted; use at least {MIN_REDACTED} bytes"
                ));
            }
        }
        read.missing = granted;
        read.missing.retain(|(_, name)| !values.contains_key(name));
        read.values = SecretValues(values);
        Ok(read)
    }

    /// Adds the values of `names` from a file.
    fn file(
        &mut self,
        path: &Path,
        names: &BTreeSet<&str>,
        values: &mut BTreeMap<String, String>,
    ) -> Result<(), PrepareError> {
        let shown = shown_path(path);
        let cannot = |why: &dyn std::fmt::Display| {
            PrepareError::Refused(format!("cannot read the secrets in `{shown}`: {why}"))
        };
        let about = fs::metadata(path).map_err(|error| cannot(&error))?;
        if about.is_file() && about.permissions().mode() & READABLE_BY_OTHERS != 0 {
            self.notices.push(format!(
                "other users can read the secrets in `{shown}`; to prevent that: chmod 600 {shown}"
            ));
        }
        let text = read_whole(path).map_err(|error| cannot(&error))?;
        let mut lines = BTreeMap::new();
        for (line, number) in without_mark(&text).lines().zip(1_u64..) {
            // The line itself may be a secret, so it is not in the message.
            let parsed = parse_line(line).map_err(|why| cannot(&format!("line {number} {why}")))?;
            let Some((name, value)) = parsed else { continue };
            if !names.contains(name) {
                self.others.insert(name.to_owned());
                continue;
            }
            if let Some(first) = lines.insert(name, number) {
                return Err(cannot(&format!(
                    "line {number} has `{name}` again, after line {first}"
                )));
            }
            values.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Returns a problem for each secret without a value.
    pub fn problems(&self, providers: &[PreparedProvider]) -> Vec<ProviderProblem> {
        let problems = self.missing.iter().map(|(provider, name)| {
            let grants = &providers[usize::from(*provider)].provider.grants;
            ProviderProblem {
                provider: *provider,
                key: if grants.secrets_in_env().contains(name) {
                    "grants.env"
                } else {
                    "grants.secrets"
                },
                message: format!("secret `{name}` has no value"),
                help: Some(self.help(name)),
                refused: RefusedPart::default(),
            }
        });
        problems.collect()
    }

    /// Returns the way to give a secret its value.
    pub fn help(&self, name: &str) -> String {
        if let Some(near) = similar(name, self.others.iter().map(String::as_str)) {
            return format!(
                "a `--secret-file` has `{near}`: use the same name in the file and in the scenario"
            );
        }
        let is_given = !self.others.is_empty();
        let file = if is_given { "the" } else { "a" };
        let flag = if is_given { "of" } else { "and add" };
        format!(
            "set it in the environment, `export {name}=…`, or write a line `{name}=…` into {file} file {flag} `--secret-file FILE`"
        )
    }
}

fn unusable(name: &str, why: &str) -> PrepareError {
    PrepareError::Refused(format!("the value of secret `{name}` {why}"))
}

/// Reads a whole file. It may be a pipe of unknown length.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Parses `NAME=VALUE`, where the value may be quoted. `None` for an empty line or a comment. Errors complete a sentence that
/// starts with the line.
fn parse_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("is not `NAME=VALUE`")?;
    let name = name.trim();
    let value = value.trim();
    let Some(quote) = value.chars().next().filter(|first| "\"'".contains(*first)) else {
        // Some tools read a comment here and others a part of the value, so one of them would use a wrong secret.
        if value.split_whitespace().any(|word| word.starts_with('#')) {
            return Err(
                "has a word that starts with `#`: put such a value into quotes, and a comment on its own line",
            );
        }
        return Ok(Some((name, value)));
    };
    match value[1..].split_once(quote) {
        _ if value[1..].ends_with(quote) => Ok(Some((name, &value[1..value.len() - 1]))),
        None => Err("has a value without its closing quote"),
        Some(_) => Err("has text after a closing quote: put a comment on its own line"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_line;

    #[test]
    fn lines_are_names_and_values() {
        for (line, expected) in [
            ("A=b", Some(("A", "b"))),
            (" export A = b=c#d ", Some(("A", "b=c#d"))),
            ("A='b # c'", Some(("A", "b # c"))),
            ("A=\"b \"", Some(("A", "b "))),
            ("A='\"b\"'", Some(("A", "\"b\""))),
            ("A=\"\"", Some(("A", ""))),
            ("A=b\"", Some(("A", "b\""))),
            ("A=", Some(("A", ""))),
            ("", None),
            ("  # A=b", None),
        ] {
            assert_eq!(parse_line(line), Ok(expected), "{line:?}");
        }
        for line in ["A b", "A=\"", "A=\"b", "A='b\"", "A=\"b\" # c", "A=b # c", "A=#b"] {
            assert!(parse_line(line).is_err(), "{line:?}");
        }
    }
}
