//! [`NetGrant`]: a place to which HTTP requests may go.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use crate::enum_text::as_text;

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

impl NetGrant {
    /// Reads `https://api.example.com`, `http://127.0.0.1:8080` or `https://*.example.com`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text; completes the sentence "it is not understood: …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Err(WILDCARD);
        }
        let (scheme, rest) =
            text.split_once("://").ok_or("it does not begin with `https://` or `http://`")?;
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
        Ok(Self { is_secure, host, port })
    }

    /// Makes the grant of the scheme, host and port of `url`; none where it would grant more than that, or nothing.
    ///
    /// A host may be called `*.example.com`: a request to it must not be granted all that is below.
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
        Self::of(url).is_some_and(|request| self.covers(&request))
    }

    /// Tells whether this allows everything that `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        let has_host = match (&self.host, &other.host) {
            (own, other) if own == other => true,
            (GrantedHost::Below(own), GrantedHost::Name(name) | GrantedHost::Below(name)) => {
                let labels = name.strip_suffix(own.as_str());
                labels.is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            _ => false,
        };
        (self.is_secure, self.port) == (other.is_secure, other.port) && has_host
    }

    /// Tells whether this names an address itself for requests of `scheme`, so that it counts even where it is a private
    /// one.
    ///
    /// `localhost` names the loopback addresses: it is theirs by RFC 6761.
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

    /// The port that requests go to.
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

/// Tells whether DNS could have a name, in lower case and punycode: `a..b` has an empty part, and `a"b` a character that
/// would be read as something else where a grant is written down.
pub fn is_host_name(name: &str) -> bool {
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

    use super::NetGrant;

    fn grants(grant: &str, url: &str) -> bool {
        let url = Url::parse(url).unwrap();
        NetGrant::parse(grant).unwrap().matches(&url)
    }

    #[test]
    fn a_grant_covers_what_it_allows() {
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
}
