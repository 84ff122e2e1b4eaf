//! [`Grants`]: what of the world outside its sandbox a provider may touch.

use std::fmt;

use super::{BoundSecret, NetGrant, is_secret_name};

/// What of the world outside its sandbox a provider may touch. The default is nothing.
///
/// As the scenario writes it: secrets are names here, and templates are not filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Where it may send HTTP requests.
    pub net: Vec<NetGrant>,
    /// The names of the secrets that it may have.
    pub secrets: Vec<String>,
    /// Secrets that the host puts into headers, and that it never has.
    pub bound_secrets: Vec<BoundSecret>,
    /// Folders that it finds in its file system.
    pub fs: Vec<FsGrant>,
    /// Environment variables, sorted by name; their values are templates.
    pub env: Vec<(String, String)>,
}

/// A folder of the host, as a guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsGrant {
    /// Relative to the scenario.
    pub path: String,
    /// An absolute path in the guest's file system.
    pub mount: String,
    /// What the guest may do with it.
    pub mode: FsMode,
}

/// What a guest may do with a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsMode {
    /// Read.
    #[default]
    ReadOnly,
    /// Read, write, make and remove.
    ReadWrite,
}

/// Something that a guest tried and was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Denied {
    /// What it tried, such as `GET https://api.example.com`.
    pub what: String,
    /// What would allow it; none where nothing could.
    pub grant: Option<Grant>,
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

impl FsMode {
    /// The word for it in scenarios.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
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
            (
                "http://[::1]:81/",
                r#"net = ["http://[::1]:81"]"#,
                "net=http://[::1]:81",
            ),
        ] {
            let grant = grant(url).unwrap();
            assert_eq!((grant.to_string().as_str(), &*grant.flag()), (line, flag));
            let table: toml::Table = line.parse().unwrap();
            let read = NetGrant::parse(table["net"][0].as_str().unwrap()).unwrap();
            assert!(read.matches(&Url::parse(url).unwrap()), "{url}");
        }
        for strange in [
            "https://*.example.com/",
            "https://a.*.com/",
            "https://a\"b/",
            "data:text",
        ] {
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
