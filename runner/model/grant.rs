//! [`Grants`]: what of the world outside its sandbox a provider may touch.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use super::BoundSecret;

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

/// A place to which HTTP requests may go: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetGrant {
    is_secure: bool,
    host: GrantedHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum GrantedHost {
    /// In lower case and punycode.
    Name(String),
    /// Everything below this name, but not the name itself.
    Below(String),
    Address(IpAddr),
}

/// Where a `*` may stand.
const WILDCARD: &str =
    "`*` stands only for everything below a domain, as in `https://*.example.com`";

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

impl NetGrant {
    /// Reads `https://api.example.com`, `http://127.0.0.1:8080` or `https://*.example.com`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Err(WILDCARD);
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("it does not begin with `https://` or `http://`")?;
        let is_secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("it does not begin with `https://` or `http://`"),
        };
        let (is_below, name) = match rest.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, rest),
        };
        if name.contains('*') {
            return Err(WILDCARD);
        }
        let url = Url::parse(&format!("{scheme}://{name}")).map_err(|_| "it has no valid host")?;
        let is_origin = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_origin {
            return Err("it has more than a scheme, a host and perhaps a port");
        }

        let host = match (url.host(), is_below) {
            (Some(Host::Domain(name)), _) if !is_host_name(name) => {
                return Err("it has no valid host");
            }
            (Some(Host::Domain(name)), true) if without_root(name).contains('.') => {
                GrantedHost::Below(without_root(name))
            }
            (_, true) => return Err("`*.` does not stand before a domain such as `example.com`"),
            (Some(Host::Domain(name)), false) => GrantedHost::Name(without_root(name)),
            (Some(Host::Ipv4(address)), false) => GrantedHost::Address(address.into()),
            (Some(Host::Ipv6(address)), false) => {
                GrantedHost::Address(IpAddr::from(address).to_canonical())
            }
            (None, false) => return Err("it has no valid host"),
        };
        let port = url.port_or_known_default().ok_or("it has no valid port")?;
        Ok(Self {
            is_secure,
            host,
            port,
        })
    }

    /// Makes the grant of the scheme, host and port of `url`; none where it would grant more than that, or nothing.
    ///
    /// A host may be called `*.example.com`: whoever asks for it must not be granted all that is below.
    pub fn of(url: &Url) -> Option<Self> {
        if url.host_str()?.contains('*') {
            return None;
        }
        Self::parse(&url.origin().ascii_serialization()).ok()
    }

    /// Tells whether a request to the scheme, host and port of `url` is granted by name.
    ///
    /// What a name resolves to is another question: [`Self::names_address`].
    pub fn matches(&self, url: &Url) -> bool {
        self.has_scheme(url.scheme())
            && url.port_or_known_default() == Some(self.port)
            && match (&self.host, url.host()) {
                (GrantedHost::Name(name), Some(Host::Domain(host))) => *name == without_root(host),
                (GrantedHost::Below(name), Some(Host::Domain(host))) => {
                    let host = without_root(host);
                    let labels = host.strip_suffix(name.as_str());
                    labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
                }
                (GrantedHost::Address(address), Some(Host::Ipv4(host))) => *address == host,
                (GrantedHost::Address(address), Some(Host::Ipv6(host))) => {
                    *address == IpAddr::from(host).to_canonical()
                }
                (GrantedHost::Name(_) | GrantedHost::Below(_), _)
                | (GrantedHost::Address(_), Some(Host::Domain(_)) | None) => false,
            }
    }

    /// Tells whether this names an address itself for requests of `scheme`, so that it counts even where it is a private
    /// one.
    ///
    /// `localhost` names the loopback addresses: it is theirs by RFC 6761.
    pub fn names_address(&self, scheme: &str, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.has_scheme(scheme)
            && self.port == port
            && match &self.host {
                GrantedHost::Address(granted) => *granted == address,
                GrantedHost::Name(name) => name == "localhost" && address.is_loopback(),
                GrantedHost::Below(_) => false,
            }
    }

    fn has_scheme(&self, scheme: &str) -> bool {
        let own = if self.is_secure { "https" } else { "http" };
        scheme == own
    }
}

impl fmt::Display for NetGrant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default_port) = if self.is_secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(formatter, "{scheme}://")?;
        match &self.host {
            GrantedHost::Name(name) => formatter.write_str(name)?,
            GrantedHost::Below(name) => write!(formatter, "*.{name}")?,
            GrantedHost::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            GrantedHost::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
        }
        if self.port != default_port {
            write!(formatter, ":{}", self.port)?;
        }
        Ok(())
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

/// Tells whether `text` can name a secret: letters, digits and `_`, as environment variables have them.
pub fn is_secret_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_letter)
        && text
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// Tells whether DNS could have a name, in lower case and punycode: `a..b` has an empty part, and `a"b` a character that
/// would be read as something else where a grant is written down.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    labels.all(|label| !label.is_empty() && label.bytes().all(is_plain))
}

/// A name without the dot of the root at its end: `example.com.` is `example.com`.
fn without_root(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Grant, NetGrant, is_secret_name};

    fn grants(grant: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        NetGrant::parse(grant).unwrap().matches(&url)
    }

    #[test]
    fn a_grant_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("https://API.example.com", "https://api.example.com"),
            ("https://api.example.com:443/", "https://api.example.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://0x7f.1", "http://127.0.0.1"),
            ("http://[::ffff:10.0.0.1]", "http://10.0.0.1"),
            ("http://[::1]:81", "http://[::1]:81"),
            ("https://*.example.com", "https://*.example.com"),
        ] {
            assert_eq!(NetGrant::parse(text).unwrap().to_string(), shown);
        }
    }

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

    #[test]
    fn what_would_grant_too_much_or_nothing_is_refused() {
        for text in [
            "",
            "*",
            "https://*",
            "https://*.com",
            "https://*.com.",
            "https://a.*.com",
            "https://*.127.0.0.1",
            "example.com",
            "ftp://example.com",
            "https://example.com/path",
            "https://example.com?query",
            "https://user@example.com",
            "https://",
            "https://example.com:99999",
            "https://example.com..",
            "https://a..example.com",
            "https://*..example.com",
            "http://1.2.3.4..",
            "https://a\"b",
            "https://a,header=b",
        ] {
            assert!(NetGrant::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn scheme_host_and_port_must_all_match() {
        assert!(grants("https://example.com", "https://EXAMPLE.com/a?b"));
        assert!(grants("https://example.com", "https://example.com.:443/"));
        assert!(!grants("https://example.com", "http://example.com:443/"));
        assert!(!grants("https://example.com", "https://example.com:444/"));
        assert!(!grants("https://example.com", "https://a.example.com/"));
        assert!(!grants("http://127.0.0.1", "http://127.0.0.2/"));
        assert!(grants("http://127.0.0.1", "http://2130706433/"));
        assert!(grants("http://127.0.0.1", "http://[::ffff:127.0.0.1]/"));
    }

    #[test]
    fn a_wildcard_stands_for_what_is_below_a_domain() {
        assert!(grants("https://*.example.com", "https://a.example.com/"));
        assert!(grants("https://*.example.com", "https://a.b.example.com/"));
        assert!(!grants("https://*.example.com", "https://example.com/"));
        assert!(!grants("https://*.example.com", "https://badexample.com/"));
        assert!(!grants("https://*.example.com", "https://.example.com/"));
    }

    #[test]
    fn only_an_address_and_localhost_name_addresses() {
        let names = |grant: &str, address: &str, port| {
            let grant = NetGrant::parse(grant).unwrap();
            grant.names_address("http", address.parse().unwrap(), port)
        };
        assert!(names("http://10.0.0.1:81", "10.0.0.1", 81));
        assert!(names("http://10.0.0.1:81", "::ffff:10.0.0.1", 81));
        assert!(!names("http://10.0.0.1:81", "10.0.0.1", 82));
        assert!(names("http://localhost:81", "::1", 81));
        assert!(!names("http://localhost:81", "10.0.0.1", 81));
        assert!(!names("https://10.0.0.1:81", "10.0.0.1", 81));
        assert!(!names("https://localhost:81", "127.0.0.1", 81));
        assert!(!names("http://nas.example.com", "10.0.0.1", 80));
    }

    #[test]
    fn a_secret_is_named_like_a_variable_of_a_shell() {
        for good in ["API_KEY", "_", "a1"] {
            assert!(is_secret_name(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "Ä", "A B", "A="] {
            assert!(!is_secret_name(bad), "{bad:?}");
        }
    }
}
