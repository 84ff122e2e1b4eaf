//! [`NetPolicy`]: decides which requests may be sent, and to which addresses.
//!
//! A name is granted by its name, but an address that is not public must be granted itself.
//! Otherwise a name under foreign control, which can get any address at any time, could lead into a
//! private network. Only `localhost` includes its addresses, because it can have no others.

use std::net::{IpAddr, SocketAddr};

use http::Method;
use runner_model::grants::{Grant, is_host_name};
use runner_model::{NetGrant, row::Denied};
use thiserror::Error;
use url::{Host, Url};

use super::address::special;

/// The longest name in DNS.
const MAX_HOST_BYTES: usize = 253;

/// The network grants of a provider, or the rule for the address of a webhook.
#[derive(Debug)]
pub(super) struct NetPolicy {
    grants: Vec<NetGrant>,
    /// Whether addresses need not be public.
    is_private: bool,
}

/// A request or secret that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub(super) struct Refusal {
    /// For the guest, with the grant that would allow it.
    pub(super) message: String,
    /// For the user, with the grant that would allow it. `None` if no grant would.
    pub(super) denied: Option<Box<Denied<'static>>>,
}

impl Refusal {
    /// Refuses `what`. The message ends with the grant that would allow it, if there is one.
    pub(super) fn new(what: String, message: &str, grant: Option<Grant>) -> Self {
        let advice = grant.as_ref().map_or_else(String::new, |grant| {
            format!("; {} of the provider's `grants`", grant.advice())
        });
        Self {
            message: format!("{message}{advice}"),
            denied: Some(Box::new(Denied {
                what: what.into(),
                grant: grant.map(|grant| grant.to_string().into()),
            })),
        }
    }
}

impl NetPolicy {
    pub(super) fn new(grants: Vec<NetGrant>) -> Self {
        Self { grants, is_private: false }
    }

    /// Allows addresses of every host that are public, or all of them.
    pub(super) fn of_webhook(is_private: bool) -> Self {
        Self { grants: Vec::new(), is_private }
    }

    /// Refuses a request whose scheme, host and port are not granted.
    pub(super) fn admit(&self, method: &Method, url: &Url) -> Result<(), Refusal> {
        if self.grant_of(url).is_some() {
            return Ok(());
        }
        let what = format!("{method} {}", origin(url));
        let message = format!("`{what}` is not granted");
        let grant = NetGrant::of(url).map(Grant::Net);
        Err(Refusal::new(what, &message, grant))
    }

    /// Returns the grant that allows a request to `url`.
    pub(super) fn grant_of(&self, url: &Url) -> Option<&NetGrant> {
        self.grants.iter().find(|grant| grant.matches(url))
    }

    /// Returns the addresses of a host that may be connected to: public ones, and those that a
    /// grant names. Refuses the first address if no address is allowed.
    pub(super) fn reachable(
        &self,
        scheme: &str,
        host: &str,
        found: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut refused = None;
        let mut reachable = Vec::new();
        for address in found {
            let ip = address.ip().to_canonical();
            let port = address.port();
            match special(ip) {
                Some(what) if !self.is_private && !self.names_address(scheme, ip, port) => {
                    refused.get_or_insert((SocketAddr::new(ip, port), what));
                }
                Some(_) | None => reachable.push(*address),
            }
        }
        match refused {
            Some((address, what)) if reachable.is_empty() => {
                Err(refuse_address(scheme, host, address, what))
            }
            Some(_) | None => Ok(reachable),
        }
    }

    fn names_address(&self, scheme: &str, ip: IpAddr, port: u16) -> bool {
        self.grants.iter().any(|grant| grant.names_address(scheme, ip, port))
    }
}

/// Parses a URL as browsers do, so that each has one form for all comparisons:
/// `http://0x7f.1:80/#a` becomes `http://127.0.0.1/`. A trailing dot and an IPv4 address in an IPv6
/// one disappear, too.
pub(super) fn read_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("invalid URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(format!("the URL starts with `{scheme}:`; use `https:` or `http:`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the URL contains a user name or password; send them in an `authorization` header"
                .to_owned(),
        );
    }
    if let Some(Host::Domain(name)) = url.host()
        && !is_host_name(name)
    {
        return Err("the URL's host is not a valid DNS name".to_owned());
    }
    let plain = match url.host() {
        Some(Host::Domain(name)) => name.strip_suffix('.').map(str::to_owned),
        Some(Host::Ipv6(address)) => address.to_ipv4_mapped().map(|address| address.to_string()),
        Some(Host::Ipv4(_)) | None => None,
    };
    if let Some(host) = plain {
        url.set_host(Some(&host))
            .map_err(|error| format!("the URL's host is not valid: {error}"))?;
    }
    if url.host_str().is_none_or(|host| host.len() > MAX_HOST_BYTES) {
        return Err(format!("the URL's host has more than {MAX_HOST_BYTES} characters"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Returns scheme, host and port in the form of a grant.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn refuse_address(scheme: &str, host: &str, address: SocketAddr, what: &str) -> Refusal {
    let grant = NetGrant::parse(&format!("{scheme}://{address}")).ok();
    let ip = address.ip();
    Refusal::new(
        format!("{scheme}://{host} at {ip}, {what}"),
        &format!("`{host}` is at {ip}, {what}, which needs a grant of its own"),
        grant.map(Grant::Net),
    )
}
