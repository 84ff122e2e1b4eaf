//! [`NetGrant`]: a destination of HTTP requests.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use crate::enum_text::as_text;

/// A destination of HTTP requests: scheme, host and port.
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
    /// All names below this one, but not the name itself.
    Below(String),
    Address(IpAddr),
}

const NO_SCHEME: &str = "the scheme is missing, `https://` or `http://`";
const WILDCARD: &str =
    "`*` is only allowed in place of the first part of a name, as in `https://*.example.com`";

impl NetGrant {
    /// Parses `https://api.example.com`, `http://127.0.0.1:8080` or `https://*.example.com`.
    ///
    /// # Errors
    ///
    /// The reason. Completes the sentence "it is not understood: …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Err(WILDCARD);
        }
        let (scheme, rest) = text.split_once("://").ok_or(NO_SCHEME)?;
        let is_secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(NO_SCHEME),
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
            return Err("it has more than a scheme, a host and an optional port");
        }

        let host = match (url.host(), is_below) {
            (Some(Host::Domain(name)), _) if !is_host_name(name) => {
                return Err("it has no valid host");
            }
            // `*.com` would grant a whole top-level domain.
            (Some(Host::Domain(name)), true) if without_root(name).contains('.') => {
                GrantedHost::Below(without_root(name))
            }
            (_, true) => return Err("`*.` needs a domain after it, such as `example.com`"),
            (Some(Host::Domain(name)), false) => GrantedHost::Name(without_root(name)),
            (Some(Host::Ipv4(address)), false) => GrantedHost::Address(address.into()),
            // `::ffff:10.0.0.1` is the host `10.0.0.1`.
            (Some(Host::Ipv6(address)), false) => {
                GrantedHost::Address(IpAddr::from(address).to_canonical())
            }
            (None, false) => return Err("it has no valid host"),
        };
        let port = url.port_or_known_default().ok_or("it has no valid port")?;
        Ok(Self { is_secure, host, port })
    }

    /// Returns the grant of exactly the scheme, host and port of `url`. `None` if there is no such grant.
    pub fn of(url: &Url) -> Option<Self> {
        // `https://*.example.com` is a valid URL. Its grant would cover all hosts below the domain.
        if url.host_str()?.contains('*') {
            return None;
        }
        Self::parse(&url.origin().ascii_serialization()).ok()
    }

    /// Parses the scheme, host and port of an address that may have a path and a query, such as a webhook's.
    ///
    /// # Errors
    ///
    /// The reason. Completes the sentence "it is not understood: …".
    pub fn of_address(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "it is not a valid URL")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or a password");
        }
        match url.scheme() {
            "http" | "https" => Self::of(&url).ok_or("it has no valid host"),
            _ => Err("its scheme is not `https` or `http`"),
        }
    }

    /// Returns whether requests to the scheme, host and port of `url` are granted. The resolved address needs a check of its
    /// own, for which see [`Self::names_address`].
    pub fn matches(&self, url: &Url) -> bool {
        Self::of(url).is_some_and(|request| self.covers(&request))
    }

    /// Returns whether this grant includes `other`.
    pub fn covers(&self, other: &Self) -> bool {
        let has_host = match (&self.host, &other.host) {
            (own, other) if own == other => true,
            (GrantedHost::Below(own), GrantedHost::Name(name) | GrantedHost::Below(name)) => {
                // `badexample.com` is not below `example.com`.
                let labels = name.strip_suffix(own.as_str());
                labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            _ => false,
        };
        (self.is_secure, self.port) == (other.is_secure, other.port) && has_host
    }

    /// Returns whether the grant names this address itself for requests of `scheme`, which also allows private addresses.
    ///
    /// `localhost` names the loopback addresses (RFC 6761).
    pub fn names_address(&self, scheme: &str, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        scheme == self.scheme()
            && self.port == port
            && match &self.host {
                GrantedHost::Address(granted) => *granted == address,
                GrantedHost::Name(name) => name == "localhost" && address.is_loopback(),
                GrantedHost::Below(_) => false,
            }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

impl fmt::Display for NetGrant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://", self.scheme())?;
        match &self.host {
            GrantedHost::Name(name) => formatter.write_str(name)?,
            GrantedHost::Below(name) => write!(formatter, "*.{name}")?,
            GrantedHost::Address(IpAddr::V4(address)) => write!(formatter, "{address}")?,
            GrantedHost::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]")?,
        }
        if self.port != if self.is_secure { 443 } else { 80 } {
            write!(formatter, ":{}", self.port)?;
        }
        Ok(())
    }
}

as_text!(NetGrant, NetGrant::parse);

/// Returns whether a text in lower case and punycode is a name of DNS. `Url` also accepts `a..b` and `a"b`, whose quote would
/// break the TOML of a grant.
pub fn is_host_name(name: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    labels.all(|label| !label.is_empty() && label.bytes().all(is_plain))
}

/// Removes the dot of the root: `example.com.` is `example.com`.
fn without_root(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::NetGrant;

    fn grants(grant: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        NetGrant::parse(grant).unwrap().matches(&url)
    }

    #[test]
    fn grant_covers_equal_and_narrower_grants() {
        let grant = |text| super::NetGrant::parse(text).unwrap();
        for (own, other, covers) in [
            ("https://a.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://*.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://*.example.com", true),
            ("https://*.example.com", "https://badexample.com", false),
            ("https://a.example.com", "https://*.example.com", false),
            ("https://a.example.com", "http://a.example.com", false),
            ("https://a.example.com", "https://a.example.com:8443", false),
            ("http://127.0.0.1", "http://127.0.0.1", true),
            ("http://*.example.com", "http://127.0.0.1", false),
        ] {
            assert_eq!(grant(own).covers(&grant(other)), covers, "{own} {other}");
        }
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
    fn too_broad_or_invalid_grants_are_refused() {
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
    fn address_keeps_scheme_host_and_port() {
        let origin = |text| NetGrant::of_address(text).map(|grant| grant.to_string());
        assert_eq!(origin("https://h.example:8443/a?b=c#d"), Ok("https://h.example:8443".into()));
        for text in ["h.example", "ftp://h.example", "https://*.example.com", "http://u:p@h", ""] {
            assert!(origin(text).is_err(), "{text:?}");
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
    fn wildcard_covers_names_below_a_domain() {
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
}
