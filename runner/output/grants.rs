//! What providers are granted, ask for and were denied, as people paste it into a scenario.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use bytesize::ByteSize;
use owo_colors::OwoColorize as _;

use super::format;
use crate::{
    model::{BoundSecret, FsMode, Grants, Limits, ProviderId},
    record::{ManifestBoundSecret, ManifestGrants},
};

/// What a provider may touch, and how much it may write. The secrets in `missing` have no value.
pub fn granted_text(
    provider: &ProviderId,
    limits: &Limits,
    grants: &Grants,
    missing: &BTreeSet<String>,
) -> String {
    let scratch = match limits.scratch {
        0 => String::new(),
        bytes => format!(", and may write {}", ByteSize(bytes)),
    };
    let mut lines = Toml::from(grants).lines();
    if lines.is_empty() {
        return format!("provider `{provider}` is granted nothing{scratch}");
    }
    let without = missing.iter().map(|name| format!("# {name} (no value)"));
    lines.extend(without);
    let mut text = format!("provider `{provider}` is granted{scratch}:");
    add_indented(&mut text, 4, &lines);
    text
}

/// The tables of a run's providers that are granted something.
pub(super) fn tables<'a>(
    providers: impl Iterator<Item = (&'a str, &'a ManifestGrants)>,
) -> Vec<String> {
    let granted = providers.filter(|(_, grants)| !grants.is_empty());
    granted
        .flat_map(|(provider, grants)| table(provider, &Toml::from(grants)))
        .collect()
}

/// Says what a plugin asks for, and what of a scenario grants it.
pub(super) fn requests_text(provider: &ProviderId, requests: &[&str], toml: &[String]) -> String {
    let mut text = format!(
        "{} provider `{provider}` asks for more than it is granted: {}",
        "note:".cyan().bold(),
        listed(requests)
    );
    if !toml.is_empty() {
        text.push_str("\n  the scenario grants it with");
        add_indented(&mut text, 4, toml);
    }
    text
}

/// The tables of a scenario that grant what is asked for, and what is granted already.
pub(super) fn requests_toml(
    provider: &ProviderId,
    grants: Option<&Grants>,
    lacks_scratch: bool,
) -> Vec<String> {
    let Some(grants) = grants else {
        return Vec::new();
    };
    let mut lines = table(provider.as_str(), &Toml::from(grants));
    if lacks_scratch {
        lines.push(format!("[providers.{}.limits]", key(provider.as_str())));
        lines.push("scratch = \"16MiB\"".to_owned());
    }
    lines
}

/// Requests in the words of a plugin, on one line.
pub(super) fn listed(requests: &[&str]) -> String {
    let requests = requests.iter();
    let requests: Vec<_> = requests
        .map(|request| format::visible_line(request))
        .collect();
    requests.join(", ")
}

/// What a run's providers are granted, by provider.
#[derive(Default)]
pub(super) struct Granted(BTreeMap<String, Toml>);

impl Granted {
    /// The table of a scenario that grants a provider all of `denied`, the lines of a row, and what it is granted
    /// already; nothing if that is all of it.
    pub(super) fn with<'a>(
        &self,
        provider: &str,
        denied: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let mut grants = self.0.get(provider).cloned().unwrap_or_default();
        let added = denied.filter(|line| grants.add(line)).count();
        if added == 0 {
            return Vec::new();
        }
        table(provider, &grants)
    }
}

impl<'a, T> FromIterator<(&'a str, &'a T)> for Granted
where
    Toml: From<&'a T>,
{
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a T)>>(providers: I) -> Self {
        let providers = providers.into_iter();
        let toml = providers.map(|(provider, grants)| (provider.to_owned(), Toml::from(grants)));
        Self(toml.collect())
    }
}

/// Says what would have allowed something that was denied, whatever is granted already.
pub(super) fn denied_line(provider: &str, what: &str, grant: Option<&str>) -> String {
    let what = format::visible_line(what);
    match grant.and_then(key_and_value) {
        Some((name, value)) => format!(
            "denied: {what} – to allow it, add {} to `{name}` of [providers.{}.grants]",
            format::visible_line(value),
            key(provider)
        ),
        None => format!("denied: {what}"),
    }
}

/// The key of a grant in a row, and the one element of its array. A line that was cut short has none.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, array) = line.split_once(" = ")?;
    Some((key, array.strip_prefix('[')?.strip_suffix(']')?))
}

/// Grants as the values of their keys.
#[derive(Clone, Default)]
struct Toml {
    net: Vec<String>,
    secrets: Vec<String>,
    fs: Vec<String>,
    env: Vec<String>,
}

impl Toml {
    fn lines(&self) -> Vec<String> {
        let array = |items: &[String]| format!("[{}]", items.join(", "));
        let lines = [
            ("net", &self.net, array(&self.net)),
            ("secrets", &self.secrets, array(&self.secrets)),
            ("fs", &self.fs, array(&self.fs)),
            ("env", &self.env, format!("{{ {} }}", self.env.join(", "))),
        ];
        lines
            .into_iter()
            .filter(|(_, items, _)| !items.is_empty())
            .map(|(key, _, value)| format!("{key} = {value}"))
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// Adds a grant of a row; tells whether it is one, and was not there.
    fn add(&mut self, line: &str) -> bool {
        let (list, value) = match key_and_value(line) {
            Some(("net", value)) => (&mut self.net, value),
            Some(("secrets", value)) => (&mut self.secrets, value),
            Some(_) | None => return false,
        };
        let is_new = list.iter().all(|known| known != value);
        if is_new {
            list.push(value.to_owned());
        }
        is_new
    }
}

impl From<&Grants> for Toml {
    fn from(grants: &Grants) -> Self {
        let fs = grants.fs.iter();
        let env = grants.env.iter();
        Self {
            net: grants
                .net
                .iter()
                .map(|net| string(&net.to_string()))
                .collect(),
            secrets: grants
                .secrets
                .iter()
                .map(|name| string(name))
                .chain(grants.bound_secrets.iter().map(BoundSecret::element))
                .collect(),
            fs: fs
                .map(|grant| folder(&grant.path, &grant.mount, grant.mode.as_str()))
                .collect(),
            env: env.map(|(name, value)| variable(name, value)).collect(),
        }
    }
}

impl From<&ManifestGrants> for Toml {
    fn from(grants: &ManifestGrants) -> Self {
        let fs = grants.fs.iter();
        let env = grants.env.iter();
        Self {
            net: grants.net.iter().map(|net| string(net)).collect(),
            secrets: grants
                .secrets
                .iter()
                .map(|name| string(name))
                .chain(grants.bound_secrets.iter().map(bound))
                .collect(),
            fs: fs
                .map(|grant| folder(&grant.path, &grant.mount, &grant.mode))
                .collect(),
            env: env.map(|(name, value)| variable(name, value)).collect(),
        }
    }
}

fn table(provider: &str, grants: &Toml) -> Vec<String> {
    if grants.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("[providers.{}.grants]", key(provider))];
    lines.extend(grants.lines());
    lines
}

fn bound(secret: &ManifestBoundSecret) -> String {
    format!(
        "{{ name = {}, host = {}, header = {} }}",
        string(&secret.name),
        string(&secret.host),
        string(&secret.header)
    )
}

fn folder(path: &str, mount: &str, mode: &str) -> String {
    let (path, mount) = (string(path), string(mount));
    if mode == FsMode::default().as_str() {
        return format!("{{ path = {path}, mount = {mount} }}");
    }
    format!("{{ path = {path}, mount = {mount}, mode = \"{mode}\" }}")
}

fn variable(name: &str, value: &str) -> String {
    format!("{} = {}", key(name), string(value))
}

/// A string of JSON is one of TOML, which has other escapes for what would steer a terminal.
fn string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut toml = String::with_capacity(json.len());
    for character in json.chars() {
        if format::steers(character) {
            let number = u32::from(character);
            write!(toml, "\\U{number:08X}").expect("a string can be written to");
        } else {
            toml.push(character);
        }
    }
    toml
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        return name.to_owned();
    }
    string(name)
}

fn add_indented(text: &mut String, indent: usize, lines: &[String]) {
    for line in lines {
        write!(text, "\n{:indent$}{line}", "").expect("a string can be written to");
    }
}
