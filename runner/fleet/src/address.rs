//! [`BrokerOptions`]: the address of a broker, parsed so that its password is in no message and no log.

use std::{fmt, net::IpAddr, path::PathBuf};

use async_nats::ServerAddr;
use nkeys::KeyPair;
use runner_prepare::source::read_regular;

use crate::{error::FleetError, wire::shown};

/// Bytes of a file with certificates or credentials.
pub(crate) const MAX_FILE: u64 = 1 << 20;
/// Name of the user of a broker without users, see [`BrokerOptions::user`].
pub(crate) const ANONYMOUS: &str = "anonymous";

/// The address of a broker, and the credentials for it.
#[derive(Clone, Default)]
pub struct BrokerOptions {
    /// `nats://[USER:PASSWORD@]HOST[:PORT]`. The servers of a cluster are separated by commas.
    pub address: String,
    /// File with certificates of issuers to trust. `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// File with credentials, as `nsc` writes it, or with the seed of an NKey.
    pub credentials: Option<PathBuf>,
    /// Whether a connection to another machine may be unencrypted.
    pub insecure: bool,
}

impl BrokerOptions {
    /// Returns the address without user and password.
    pub fn shown(&self) -> String {
        let parts = self.address.split(',').map(|part| {
            match (part.split_once("://"), part.rsplit_once('@')) {
                (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
                (None, Some((_, place))) => place.to_owned(),
                (_, None) => part.to_owned(),
            }
        });
        shown(&parts.collect::<Vec<_>>().join(","))
    }

    /// Returns the name of the broker's user as a token of a subject: the name in the address, or the public key of the
    /// credentials file.
    pub(crate) fn user(&self) -> Result<String, FleetError> {
        let user = match (&self.credentials, self.servers()?.user) {
            (Some(path), _) => {
                // An unreadable file is an error of the connection.
                let text = read_regular(path, MAX_FILE).unwrap_or_default();
                let seed = seed(&String::from_utf8_lossy(&text)).map(ToOwned::to_owned);
                seed.and_then(|seed| KeyPair::from_seed(&seed).ok()).map(|pair| pair.public_key())
            }
            (None, user) => user.map(|(name, _)| name),
        };
        let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| ANONYMOUS.to_owned());
        Ok(user.replace(
            |letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)),
            "-",
        ))
    }

    /// Parses the address.
    pub(crate) fn servers(&self) -> Result<Servers, FleetError> {
        let mut servers = Servers { is_here: true, ..Servers::default() };
        for part in self.address.split(',') {
            // The text is not shown, because an invalid one may have a password anywhere.
            servers.add(part, self.insecure).map_err(|problem| {
                FleetError::Usage(format!(
                    "invalid address of a broker: {problem}; use `nats://HOST:PORT`, `tls://HOST:PORT` or \
                     `nats://USER:PASSWORD@HOST:PORT`"
                ))
            })?;
        }
        Ok(servers)
    }
}

impl fmt::Debug for BrokerOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown())
    }
}

/// A parsed address.
#[derive(Default)]
pub(crate) struct Servers {
    /// Addresses without users, because the client logs addresses.
    pub(crate) addresses: Vec<ServerAddr>,
    /// User and password.
    pub(crate) user: Option<(String, String)>,
    pub(crate) needs_tls: bool,
    /// Whether all servers are on this machine.
    pub(crate) is_here: bool,
}

const INVALID: &str = "it is not the URL of a server";

impl Servers {
    fn add(&mut self, part: &str, insecure: bool) -> Result<(), &'static str> {
        let address = part.split_once("://").and_then(|_| part.parse::<ServerAddr>().ok());
        let address = address.ok_or(INVALID)?;
        let is_here = address.host().eq_ignore_ascii_case("localhost")
            || address.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        self.is_here &= is_here;
        self.needs_tls |= address.tls_required() || !(is_here || insecure);
        let user = address
            .username()
            .map(|user| (decoded(user), decoded(address.password().unwrap_or_default())));
        if self.user.is_some() && user.is_some() && user != self.user {
            return Err("its servers have different users");
        }
        self.user = self.user.take().or(user);
        let mut url = address.into_inner();
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        let has_more =
            url.query().is_some() || url.fragment().is_some() || !["", "/"].contains(&url.path());
        if !matches!(url.scheme(), "nats" | "tls") || has_more || !has_host {
            return Err(INVALID);
        }
        let is_bare = url.set_username("").is_ok() && url.set_password(None).is_ok();
        let bare = ServerAddr::from_url(url).ok().filter(|_| is_bare);
        self.addresses.push(bare.ok_or(INVALID)?);
        Ok(())
    }
}

/// Returns the seed of a user in a file with credentials.
pub(crate) fn seed(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with("SU"))
}

/// Decodes escapes such as `%40`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::BrokerOptions;

    fn options(address: &str) -> BrokerOptions {
        BrokerOptions { address: address.to_owned(), ..BrokerOptions::default() }
    }

    #[test]
    fn only_loopback_addresses_are_unencrypted() {
        for (address, place, needs_tls) in [
            ("nats://127.0.0.1:4333", "nats://127.0.0.1:4333", false),
            ("nats://localhost", "nats://localhost", false),
            ("nats://[::1]:1/", "nats://[::1]:1/", false),
            ("tls://localhost", "tls://localhost", true),
            ("nats://me:p%40ss@broker.example.com", "nats://broker.example.com", true),
            ("nats://localhost,nats://me@10.0.0.2", "nats://localhost,nats://10.0.0.2", true),
        ] {
            let mut options = options(address);
            let servers = options.servers().unwrap();
            assert_eq!((options.shown().as_str(), servers.needs_tls), (place, needs_tls));
            options.insecure = true;
            assert_eq!(options.servers().unwrap().needs_tls, address.starts_with("tls"));
        }
    }

    #[test]
    fn users_are_decoded_and_removed_from_addresses() {
        let user = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        for (address, expected) in [
            ("nats://me:p%40s%2Cs%C3%A9%@a", user("me", "p@s,sé%")),
            ("nats://a,nats://me:x@b:1", user("me", "x")),
            ("nats://me:x@a,nats://me:x@b", user("me", "x")),
            ("nats://me@a", user("me", "")),
            ("nats://a", None),
        ] {
            let servers = options(address).servers().unwrap();
            assert_eq!(servers.user, expected);
            for address in servers.addresses {
                assert!(address.username().is_none() && address.password().is_none());
            }
        }
    }

    #[test]
    fn messages_and_debug_texts_have_no_password() {
        for address in [
            "nats://me:secret@broker/x",
            "nats://me:secret@a,nats://you:secret@b",
            "nats://me:secret/broker",
            "http://me:secret@broker",
            "me:secret@broker",
            "nats://me:secret@",
        ] {
            let options = options(address);
            let error = options.servers().err().unwrap();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for address in ["nats://me:sec@ret@broker", "me:secret@broker"] {
            assert!(format!("{:?}", options(address)).ends_with("broker"));
            assert!(!format!("{:?}", options(address)).contains("sec"));
        }
        for address in ["", "broker", "nats://", "nats:broker", "nats://a,", "nats://a/b"] {
            options(address).servers().err().unwrap();
        }
    }
}
