//! Grants as TOML of a scenario, for the screen and for logs of runs.

use runner_model::grants::{BoundSecret, FsGrant, FsMode, Grants};
use runner_model::{template::Template, visible::steers};

/// Splits a denied grant into its key and the element of its array. Rows have it as such a line, the text of a
/// [`Grant`](runner_model::grants::Grant). `None` for a line that was cut.
pub fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, array) = line.split_once(" = ")?;
    Some((key, array.strip_prefix('[')?.strip_suffix(']')?))
}

/// Elements of each key of `grants`, as TOML.
#[derive(Clone, Default)]
pub struct GrantsToml {
    pub net: Vec<String>,
    pub secrets: Vec<String>,
    pub fs: Vec<String>,
    /// Pairs `key = value`.
    pub env: Vec<String>,
    pub tools: Vec<String>,
}

impl GrantsToml {
    /// Returns one line for each key that has elements.
    pub fn lines(&self) -> Vec<String> {
        let [net, secrets, fs, tools] = [&self.net, &self.secrets, &self.fs, &self.tools];
        let arrays = [("net", net), ("secrets", secrets), ("fs", fs), ("tools", tools)];
        let arrays = arrays.into_iter().filter(|(_, items)| !items.is_empty());
        let arrays = arrays.map(|(key, items)| format!("{key} = [{}]", items.join(", ")));
        let env = (!self.env.is_empty()).then(|| format!("env = {{ {} }}", self.env.join(", ")));
        arrays.chain(env).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// Returns the lines of a provider's table, empty if nothing is granted.
    pub fn table(&self, table: &str, provider: &str) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!("[{table}.{}.grants]", toml_key(provider))];
        lines.extend(self.lines());
        lines
    }

    /// Returns the lines to write into a scenario for these grants. The providers of a matrix have one table.
    pub fn proposal(&self, table: &str, provider: &str) -> Vec<String> {
        self.table(table, written_name(provider))
    }

    /// Adds a grant of a row. Returns whether it is valid and new.
    pub fn add(&mut self, line: &str) -> bool {
        let (list, value) = match key_and_value(line) {
            Some(("net", value)) => (&mut self.net, value),
            Some(("secrets", value)) => (&mut self.secrets, value),
            Some(("tools", value)) => (&mut self.tools, value),
            Some(_) | None => return false,
        };
        let is_new = list.iter().all(|known| known != value);
        if is_new {
            list.push(value.to_owned());
        }
        is_new
    }
}

/// Returns the name in the scenario of a provider such as `shout[volume=1]`.
pub fn written_name(provider: &str) -> &str {
    let of_matrix = provider.strip_suffix(']').and_then(|name| name.split_once('['));
    of_matrix.map_or(provider, |(name, _)| name)
}

impl From<&Grants> for GrantsToml {
    fn from(grants: &Grants) -> Self {
        let net = grants.net.iter().map(|net| toml_string(&net.to_string()));
        let secrets = grants.secrets.iter().map(|name| toml_string(name));
        let bound = grants.bound_secrets.iter().map(BoundSecret::element);
        Self {
            net: net.collect(),
            secrets: secrets.chain(bound).collect(),
            fs: grants.fs.iter().map(folder).collect(),
            env: grants.env.iter().map(variable).collect(),
            tools: grants.tools.iter().map(|name| toml_string(name)).collect(),
        }
    }
}

fn folder(grant: &FsGrant) -> String {
    let path = toml_string(&grant.path);
    let mount = toml_string(&grant.mount);
    match grant.mode {
        FsMode::ReadOnly => format!("{{ path = {path}, mount = {mount} }}"),
        mode @ FsMode::ReadWrite => {
            format!("{{ path = {path}, mount = {mount}, mode = \"{mode}\" }}")
        }
    }
}

fn variable((name, value): &(String, Template)) -> String {
    format!("{} = {}", toml_key(name), toml_string(&value.to_string()))
}

/// Formats a TOML string. JSON strings are valid TOML, but characters that steer a terminal need other escapes.
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

/// Formats a TOML key, in quotes if necessary.
pub fn toml_key(name: &str) -> String {
    if !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    {
        return name.to_owned();
    }
    toml_string(name)
}

#[cfg(test)]
mod tests {
    use runner_model::grants::NetGrant;

    use super::key_and_value;

    #[test]
    fn grants_of_rows_are_read_back() {
        for grant in ["https://api.example.com", "http://[::1]:81"] {
            let line = format!("net = [\"{grant}\"]");
            let (key, value) = key_and_value(&line).unwrap();
            let read: NetGrant = serde_json::from_str(value).unwrap();
            assert_eq!((key, read.to_string().as_str()), ("net", grant));
        }
    }
}
