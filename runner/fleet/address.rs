//! [`EngineAddress`]: where the engine is, and who one is there.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr};

use url::Url;

use super::FleetError;

/// The port at which NATS listens, if nobody says another.
const PORT: u16 = 4222;

/// Where the engine is, and who one is there.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineAddress {
    url: Url,
    host: url::Host,
    /// A file with credentials, as `nsc` makes them.
    pub credentials: Option<PathBuf>,
    /// A file with the certificates that the engine's own is checked by, instead of the system's.
    pub authority: Option<PathBuf>,
    /// Whether it may be spoken with in the clear though it is on another machine.
    pub is_insecure: bool,
}

impl EngineAddress {
    /// Where it is, without who one is there: all of it that may be shown or stored.
    pub fn place(&self) -> String {
        format!("{}://{}:{}", self.url.scheme(), self.host, self.port())
    }

    /// The user and the password that the address names.
    pub(super) fn user(&self) -> Option<(String, String)> {
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let user = self.url.username();
        let password = self.url.password().unwrap_or_default();
        (!user.is_empty()).then(|| (decoded(user), decoded(password)))
    }

    /// Tells whether what is said to it must be encrypted: everything but what stays on this machine.
    pub(super) fn needs_tls(&self) -> bool {
        let is_here = match &self.host {
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
            url::Host::Domain(name) => name == "localhost",
        };
        self.url.scheme() == "tls" || !(is_here || self.is_insecure)
    }

    fn port(&self) -> u16 {
        self.url.port().unwrap_or(PORT)
    }
}

impl FromStr for EngineAddress {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let error = |reason: String| FleetError::Address {
            // It may have a password in it.
            text: without_user(text).into_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|reason| error(reason.to_string()))?;
        if !matches!(url.scheme(), "nats" | "tls") {
            return Err(error(format!("`{}` is not spoken here", url.scheme())));
        }
        // Of schemes that it does not know, `url` takes a host as it is.
        let host = url.host_str().unwrap_or_default();
        let host = url::Host::parse(host).map_err(|_| error("it names no host".into()))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(error("it has more than a host and a port".into()));
        }
        Ok(Self {
            url,
            host,
            credentials: None,
            authority: None,
            is_insecure: false,
        })
    }
}

impl fmt::Debug for EngineAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.place())
    }
}

/// A text in which there may be an address, without who one is there.
pub fn without_user(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{EngineAddress, without_user};

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, place, needs_tls) in [
            ("nats://127.0.0.1:4333", "nats://127.0.0.1:4333", false),
            ("nats://localhost", "nats://localhost:4222", false),
            ("nats://[::1]:1", "nats://[::1]:1", false),
            ("tls://localhost", "tls://localhost:4222", true),
            (
                "nats://me:p%40ss@engine.example.com",
                "nats://engine.example.com:4222",
                true,
            ),
        ] {
            let address: EngineAddress = text.parse().unwrap();
            assert_eq!(address.place(), place);
            assert_eq!(address.needs_tls(), needs_tls, "{text}");
        }
        let address: EngineAddress = "nats://me:p%40ss@engine".parse().unwrap();
        assert_eq!(address.user(), Some(("me".into(), "p@ss".into())));
        for text in [
            "",
            "engine",
            "http://engine",
            "nats://",
            "nats://engine/x",
            "nats:engine",
        ] {
            text.parse::<EngineAddress>().unwrap_err();
        }
    }

    #[test]
    fn a_text_with_an_address_shows_no_password() {
        for (text, shown) in [
            ("--engine=nats://me:p@ss@host:1", "--engine=nats://…@host:1"),
            ("tls://me@host/x@y", "tls://…@host/x@y"),
            ("https://host/x@y", "https://host/x@y"),
            ("me@host", "me@host"),
            ("nats://host", "nats://host"),
        ] {
            assert_eq!(without_user(text), shown);
        }
    }

    #[test]
    fn an_error_shows_no_password() {
        let error = "nats://me:secret@engine/x"
            .parse::<EngineAddress>()
            .unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
