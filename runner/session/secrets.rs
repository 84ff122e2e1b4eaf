//! Where the values of secrets come from: files that are named, else the environment. Only those that are granted are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use miette::miette;

use super::{Host, Notice, Observe};
use crate::{error::Error, plugin::Secrets, run::Plan};

/// What a file of secrets may have at most: it may be a device that never ends.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The permissions of everybody but a file's owner to read it.
const READABLE_BY_OTHERS: u32 = 0o044;

/// Hands the providers of `plan` the secrets that they are granted.
///
/// # Errors
///
/// Fails if one has no value, or one that cannot be used.
pub(super) fn hand_over(
    plan: &mut Plan,
    files: &[PathBuf],
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<(), Error> {
    let granted: Vec<_> = plan
        .secrets()
        .flat_map(|(provider, names)| names.into_iter().map(move |name| (provider.clone(), name)))
        .collect();
    let names = granted.iter().map(|(_, name)| name.clone()).collect();
    let values = read(&names, files, host.variable, observe)?;

    let missing: Vec<_> = granted
        .iter()
        .filter(|(_, name)| !values.contains_key(name))
        .map(|(provider, name)| (name.as_str(), format!(" of provider `{provider}`")))
        .collect();
    if !missing.is_empty() {
        return Err(no_value(&missing));
    }
    plan.set_secrets(&values);
    Ok(())
}

/// Finds the secrets that the providers of `plan` are granted and that have no value.
///
/// # Errors
///
/// Fails if a file cannot be read, or a value cannot be used.
pub(super) fn missing(
    plan: &Plan,
    files: &[PathBuf],
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<BTreeSet<String>, Error> {
    let mut names: BTreeSet<_> = plan.secrets().flat_map(|(_, names)| names).collect();
    let values = read(&names, files, host.variable, observe)?;
    names.retain(|name| !values.contains_key(name));
    Ok(names)
}

/// Reads the values of `names`; those without a value are left out.
///
/// # Errors
///
/// Fails if a file cannot be read, or a value cannot be used.
pub(super) fn read(
    names: &BTreeSet<String>,
    files: &[PathBuf],
    variable: fn(&str) -> Option<OsString>,
    observe: &mut dyn Observe,
) -> Result<BTreeMap<String, String>, Error> {
    let mut values = BTreeMap::new();
    if names.is_empty() {
        return Ok(values);
    }
    for name in names {
        if let Some(value) = variable(name) {
            let value = value.into_string();
            let value = value.map_err(|_| unusable(name, "is not UTF-8"))?;
            values.insert(name.clone(), value);
        }
    }
    for path in files {
        read_file(path, names, &mut values, observe)?;
    }

    values.retain(|_, value| !value.trim().is_empty());
    for (name, value) in &values {
        if value.len() > Secrets::MAX_BYTES {
            return Err(unusable(name, "is longer than 64 KiB"));
        }
        if value.len() < Secrets::MIN_REDACTED {
            observe.notice(&Notice::ShortSecret { name });
        }
    }
    Ok(values)
}

/// Makes the error that tells of each secret, and of whose it is, how it gets a value.
pub(super) fn no_value(missing: &[(&str, String)]) -> Error {
    let named: Vec<_> = missing
        .iter()
        .map(|(secret, whose)| format!("secret `{secret}`{whose}"))
        .collect();
    let first = missing[0].0;
    let verb = if missing.len() == 1 { "has" } else { "have" };
    Error::usage(miette!(
        help = format!(
            "set it in the environment, `export {first}=…`, or write a line `{first}=…` into a file and add \
             `--secret-file FILE`"
        ),
        "{} {verb} no value",
        named.join(", ")
    ))
}

fn read_file(
    path: &Path,
    names: &BTreeSet<String>,
    values: &mut BTreeMap<String, String>,
    observe: &mut dyn Observe,
) -> Result<(), Error> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::usage(miette!(
            "cannot read the secrets in `{}`: {error}",
            path.display()
        ))
    };
    let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    let mode = metadata.permissions().mode();
    if metadata.is_file() && mode & READABLE_BY_OTHERS != 0 {
        observe.notice(&Notice::ReadableSecrets { path });
    }
    let text = read_whole(path).map_err(|error| cannot(&error))?;
    let mut lines = BTreeMap::new();
    for (line, number) in text.lines().zip(1_u64..) {
        // The line itself may be a secret, so it is not in the message.
        let parsed = parse_line(line).map_err(|why| cannot(&format!("line {number} {why}")))?;
        let Some((name, value)) = parsed.filter(|(name, _)| names.contains(*name)) else {
            continue;
        };
        if let Some(first) = lines.insert(name, number) {
            let twice = format!("line {number} has `{name}` again, after line {first}");
            return Err(cannot(&twice));
        }
        values.insert(name.to_owned(), value.to_owned());
    }
    Ok(())
}

/// Reads a file whole: it may be a pipe, of which nobody knows how much comes.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Reads `NAME=VALUE`, where the value may be in quotes; nothing of an empty line or a comment. The error completes the
/// sentence "the line …".
fn parse_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("is not `NAME=VALUE`")?;
    let (name, value) = (name.trim(), value.trim());
    let Some(quote) = value.chars().next().filter(|first| "\"'".contains(*first)) else {
        return Ok(Some((name, value)));
    };
    let inner = value[1..].strip_suffix(quote);
    let inner = inner.ok_or("has a value that begins with a quote and does not end with it")?;
    Ok(Some((name, inner)))
}

fn unusable(name: &str, why: &str) -> Error {
    Error::usage(miette!("the value of secret `{name}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::parse_line;

    #[test]
    fn a_line_is_a_name_and_a_value() {
        for (line, expected) in [
            ("A=b", Some(("A", "b"))),
            (" export A = b=c # d ", Some(("A", "b=c # d"))),
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
        for line in ["A b", "A=\"", "A=\"b", "A='b\"", "A=\"b\" # c"] {
            assert!(parse_line(line).is_err(), "{line:?}");
        }
    }
}
