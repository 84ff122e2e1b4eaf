//! [`Grants`]: access of a provider to the world outside its sandbox.

mod net;
mod secret;

use std::{collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::net::{NetGrant, is_host_name};
pub use self::secret::{BoundSecret, is_secret_name};
use crate::{enum_text::text_enum, template::Template};

/// Access of a provider to the world outside its sandbox. The default grants nothing.
///
/// In the scenario's form: secrets are names, and templates are not rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Grants {
    /// Destinations of HTTP requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetGrant>,
    /// Names of secrets that guests can read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Secrets that the host adds to headers. Guests never see them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_secrets: Vec<BoundSecret>,
    /// Folders in the guest's file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fs: Vec<FsGrant>,
    /// Environment variables, sorted by name. Roots: `input`, `config`, `secret`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, Template)>,
    /// Names of the tools that guests may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
}

/// A folder of the host in the guest's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FsGrant {
    /// A path on the host, relative to the scenario.
    pub path: String,
    /// An absolute path in the guest.
    pub mount: String,
    /// The guest's access to the folder.
    pub mode: FsMode,
}

text_enum! {
    /// A guest's access to a folder.
    pub enum FsMode {
        ReadOnly = "ro",
        ReadWrite = "rw",
    }
}

impl Grants {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the names of all granted secrets: listed, bound to headers, or used in environment variables. A variable's
    /// template grants the secrets that it names.
    pub fn secret_names(&self) -> BTreeSet<String> {
        let named = self.secrets.iter().cloned();
        let bound = self.bound_secrets.iter().map(|bound| bound.name.clone());
        named.chain(bound).chain(self.secrets_in_env()).collect()
    }

    /// Returns the names of the secrets in environment variables.
    pub fn secrets_in_env(&self) -> BTreeSet<String> {
        let paths = self.env.iter().flat_map(|(_, template)| template.keys_of("secret"));
        paths.filter_map(|keys| keys.first().cloned()).collect()
    }
}

/// A grant that would have allowed a denied action. The text is a line of `grants`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// An element of `net`.
    Net(NetGrant),
    /// A name in `secrets`.
    Secret(String),
    /// A table in `secrets`.
    BoundSecret(BoundSecret),
    /// A name in `tools`.
    Tool(String),
}

impl Grant {
    /// Creates the grant of a secret. `None` if no secret can have this name.
    pub fn secret(name: &str) -> Option<Self> {
        is_secret_name(name).then(|| Self::Secret(name.to_owned()))
    }

    /// Returns the instruction to add the grant to others. A caller may append `of …`.
    pub fn advice(&self) -> String {
        format!("add {} to `{}`", self.value(), self.key())
    }

    fn key(&self) -> &'static str {
        match self {
            Self::Net(_) => "net",
            Self::Secret(_) | Self::BoundSecret(_) => "secrets",
            Self::Tool(_) => "tools",
        }
    }

    /// Returns the element of the key's array. JSON strings are valid TOML.
    fn value(&self) -> String {
        let text = match self {
            Self::Net(net) => net.to_string(),
            Self::Secret(name) | Self::Tool(name) => name.clone(),
            Self::BoundSecret(bound) => return bound.element(),
        };
        serde_json::Value::from(text).to_string()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = [{}]", self.key(), self.value())
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Grant, NetGrant};

    #[test]
    fn denied_request_needs_a_grant_of_its_origin() {
        let grant = |url: &str| NetGrant::of(&Url::parse(url).unwrap()).map(Grant::Net);
        for (url, line) in [
            ("https://api.example.com/a?b", r#"net = ["https://api.example.com"]"#),
            ("http://[::1]:81/", r#"net = ["http://[::1]:81"]"#),
        ] {
            assert_eq!(grant(url).unwrap().to_string(), line);
        }
        for strange in ["https://*.example.com/", "https://a.*.com/", "https://a\"b/", "data:text"]
        {
            assert_eq!(grant(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_secret_is_granted_by_its_name() {
        let grant = Grant::secret("API_KEY").unwrap();
        assert_eq!(grant.to_string(), r#"secrets = ["API_KEY"]"#);
        assert_eq!(grant.advice(), r#"add "API_KEY" to `secrets`"#);
        assert_eq!(Grant::secret("A-B"), None);
    }
}
