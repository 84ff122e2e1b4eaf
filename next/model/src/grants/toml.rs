//! Grants as a scenario has them: lines of TOML, for people and for the logs of runs.

use super::{BoundSecret, FsGrant, FsMode, Grants};
use crate::{template::Template, visible::steers};

/// The key of a grant in a row, and the one element of its array. A line that was cut short has none.
pub fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, array) = line.split_once(" = ")?;
    Some((key, array.strip_prefix('[')?.strip_suffix(']')?))
}

/// Grants as a scenario has them: the elements of each key, as TOML.
#[derive(Clone, Default)]
pub struct GrantsToml {
    /// Elements of the array `net`.
    pub net: Vec<String>,
    /// Elements of the array `secrets`.
    pub secrets: Vec<String>,
    /// Elements of the array `fs`.
    pub fs: Vec<String>,
    /// Keys and values of the table `env`.
    pub env: Vec<String>,
}

impl GrantsToml {
    /// The lines of the keys that are granted something.
    pub fn lines(&self) -> Vec<String> {
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

    /// Tells whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// The whole table of a provider; no line if nothing is granted.
    pub fn table(&self, provider: &str) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!("[providers.{}.grants]", toml_key(provider))];
        lines.extend(self.lines());
        lines
    }

    /// Adds a grant of a row; tells whether it is one, and was not there.
    pub fn add(&mut self, line: &str) -> bool {
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

impl From<&Grants> for GrantsToml {
    fn from(grants: &Grants) -> Self {
        let folder = |grant: &FsGrant| {
            let (path, mount) = (toml_string(&grant.path), toml_string(&grant.mount));
            match grant.mode {
                FsMode::ReadOnly => format!("{{ path = {path}, mount = {mount} }}"),
                mode @ FsMode::ReadWrite => {
                    format!("{{ path = {path}, mount = {mount}, mode = \"{mode}\" }}")
                }
            }
        };
        let variable = |(name, value): &(String, Template)| {
            format!("{} = {}", toml_key(name), toml_string(&value.to_string()))
        };
        let net = grants.net.iter().map(|net| toml_string(&net.to_string()));
        let secrets = grants.secrets.iter().map(|name| toml_string(name));
        let bound = grants.bound_secrets.iter().map(BoundSecret::element);
        Self {
            net: net.collect(),
            secrets: secrets.chain(bound).collect(),
            fs: grants.fs.iter().map(folder).collect(),
            env: grants.env.iter().map(variable).collect(),
        }
    }
}

/// A string of JSON is one of TOML, which has other escapes for what would steer a terminal.
pub fn toml_string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut toml = String::with_capacity(json.len());
    for character in json.chars() {
        if steers(character) {
            let number = u32::from(character);
            toml.push_str(&format!("\\U{number:08X}"));
        } else {
            toml.push(character);
        }
    }
    toml
}

/// A key of TOML, in quotes if it needs them.
pub fn toml_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        return name.to_owned();
    }
    toml_string(name)
}
