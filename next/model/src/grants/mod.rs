//! [`Grants`]: what of the world outside its sandbox a provider may touch.

mod net;
mod secret;
pub mod toml;

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

pub use self::{
    net::{NetGrant, is_host_name},
    secret::{BoundSecret, is_secret_name},
};
use crate::{enum_text::text_enum, template::Template};

/// What of the world outside its sandbox a provider may touch. The default is nothing.
///
/// As the scenario writes it: secrets are names here, and templates are not filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Where it may send HTTP requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetGrant>,
    /// The names of the secrets that it may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Secrets that the host puts into headers, and that it never has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bound_secrets: Vec<BoundSecret>,
    /// Folders that it finds in its file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fs: Vec<FsGrant>,
    /// Environment variables, sorted by name. Roots: `input`, `config`, `secret`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, Template)>,
}

/// A folder of the host, as a guest sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsGrant {
    /// Relative to the scenario.
    pub path: String,
    /// An absolute path in the guest's file system.
    pub mount: String,
    /// What the guest may do with it.
    pub mode: FsMode,
}

text_enum! {
    /// What a guest may do with a folder.
    pub enum FsMode {
        /// Read.
        ReadOnly = "ro",
        /// Read, write, make and remove.
        ReadWrite = "rw",
    }
}

impl Grants {
    /// Tells whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of all secrets that are granted: to be asked for, for headers, and in environment variables. A variable
    /// grants the secrets in it by naming them.
    pub fn secret_names(&self) -> BTreeSet<String> {
        let named = self.secrets.iter().cloned();
        let bound = self.bound_secrets.iter().map(|bound| bound.name.clone());
        named.chain(bound).chain(self.secrets_in_env()).collect()
    }

    /// The names of the secrets in environment variables.
    pub fn secrets_in_env(&self) -> BTreeSet<String> {
        let variables = self.env.iter().map(|(_, template)| template);
        let keys = variables.flat_map(|template| template.keys_of("secret"));
        keys.filter_map(|keys| keys.first().cloned()).collect()
    }
}

/// One thing that would have allowed what was denied. Its text is a line of `grants`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// A place in `net`.
    Net(NetGrant),
    /// A name in `secrets`.
    Secret(String),
    /// A secret for one header of requests to one place, in `secrets`.
    BoundSecret(BoundSecret),
}

impl Grant {
    /// Makes the grant of a secret; none of a name that no secret can have.
    pub fn secret(name: &str) -> Option<Self> {
        is_secret_name(name).then(|| Self::Secret(name.to_owned()))
    }

    /// The flag of `runner plugin run` that grants it, such as `secret=API_KEY`.
    pub fn flag(&self) -> String {
        match self {
            Self::Net(net) => format!("net={net}"),
            Self::Secret(name) => format!("secret={name}"),
            Self::BoundSecret(bound) => format!("secret={}", bound.flag()),
        }
    }

    /// What to do to grant it, whatever is granted already: a sentence that `of …` may complete.
    pub fn advice(&self) -> String {
        format!("add {} to `{}`", self.value(), self.key())
    }

    fn key(&self) -> &'static str {
        match self {
            Self::Net(_) => "net",
            Self::Secret(_) | Self::BoundSecret(_) => "secrets",
        }
    }

    /// The element of the key's array: a string of JSON is one of TOML.
    fn value(&self) -> String {
        let text = match self {
            Self::Net(net) => net.to_string(),
            Self::Secret(name) => name.clone(),
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
    fn what_would_have_allowed_a_request_is_a_grant_of_its_origin() {
        let grant = |url: &str| NetGrant::of(&Url::parse(url).unwrap()).map(Grant::Net);
        for (url, line, flag) in [
            (
                "https://api.example.com/a?b",
                r#"net = ["https://api.example.com"]"#,
                "net=https://api.example.com",
            ),
            ("http://[::1]:81/", r#"net = ["http://[::1]:81"]"#, "net=http://[::1]:81"),
        ] {
            let grant = grant(url).unwrap();
            assert_eq!((grant.to_string().as_str(), &*grant.flag()), (line, flag));
            let (_, value) = super::toml::key_and_value(line).unwrap();
            let read: NetGrant = serde_json::from_str(value).unwrap();
            assert!(read.matches(&Url::parse(url).unwrap()), "{url}");
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
        assert_eq!(grant.flag(), "secret=API_KEY");
        assert_eq!(grant.advice(), r#"add "API_KEY" to `secrets`"#);
        assert_eq!(Grant::secret("A-B"), None);
    }
}
