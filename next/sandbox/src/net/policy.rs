//! [`NetPolicy`]: which requests leave, and to which addresses they go.
//!
//! A name is granted by name, and its addresses by themselves: an address that is not public counts only if a grant is that
//! address. Otherwise somebody else's name, which may get any address at any time, would lead into a private network.
//! `localhost` alone stands for its addresses, since it can have no others.

use std::net::{IpAddr, SocketAddr};

use http::Method;
use runner_model::{
    NetGrant,
    grants::{Grant, is_host_name},
    row::Denied,
};
use thiserror::Error;
use url::{Host, Url};

use super::address::special;

/// The longest name that DNS knows.
const MAX_HOST_BYTES: usize = 253;

/// Decides by a provider's grants which requests leave, and to which addresses they go.
#[derive(Debug)]
pub(super) struct NetPolicy(Vec<NetGrant>);

/// Something that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub(super) struct Refusal {
    /// For the guest: what is refused, and how to allow it.
    pub(super) message: String,
    /// For whoever may allow it; none where nothing would.
    pub(super) denied: Option<Box<Denied<'static>>>,
}

impl Refusal {
    /// Makes the refusal of `what`, and says how to allow it where something would.
    pub(super) fn new(what: String, message: &str, grant: Option<Grant>) -> Self {
        let advice = grant.as_ref().map(|grant| {
            let advice = grant.advice();
            format!("; {advice} of the provider's `grants`")
        });
        Self {
            message: format!("{message}{}", advice.unwrap_or_default()),
            denied: Some(Box::new(Denied {
                what: what.into(),
                grant: grant.map(|grant| grant.to_string().into()),
            })),
        }
    }
}

impl NetPolicy {
    pub(super) fn new(grants: Vec<NetGrant>) -> Self {
        Self(grants)
    }

    /// Refuses what is not granted by scheme, host and port.
    pub(super) fn admit(&self, method: &Method, url: &Url) -> Result<(), Refusal> {
        if self.grant_of(url).is_some() {
            return Ok(());
        }
        let what = format!("{method} {}", origin(url));
        let message = format!("`{what}` is not granted");
        let grant = NetGrant::of(url).map(Grant::Net);
        Err(Refusal::new(what, &message, grant))
    }

    /// The grant that lets a request leave.
    pub(super) fn grant_of(&self, url: &Url) -> Option<&NetGrant> {
        self.0.iter().find(|grant| grant.matches(url))
    }

    /// Keeps of the addresses that a host stands for those that may be connected to: public ones, and those that a
    /// grant names themselves. There is at least one, or the first one is refused.
    pub(super) fn reachable(
        &self,
        scheme: &str,
        host: &str,
        found: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut refused = None;
        let mut reachable = Vec::new();
        for address in found {
            let (ip, port) = (address.ip().to_canonical(), address.port());
            match special(ip) {
                Some(what) if !self.names_address(scheme, ip, port) => {
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
        let mut grants = self.0.iter();
        grants.any(|grant| grant.names_address(scheme, ip, port))
    }
}

/// Reads a URL as browsers do, so that whatever is compared later has one form: `http://0x7f.1:80/#a` is
/// `http://127.0.0.1/`, and neither a root's dot nor an IPv4 address in an IPv6 one makes a difference.
pub(super) fn read_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("the URL is not valid: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(format!(
            "the URL begins with `{scheme}:`; only `https:` and `http:` can be sent to"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the URL has a user's name or password in it; they belong into an `authorization` header"
                .to_owned(),
        );
    }
    if let Some(Host::Domain(name)) = url.host()
        && !is_host_name(name)
    {
        return Err("the URL's host has what no name in DNS has".to_owned());
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

/// Scheme, host and port, as a grant names them.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn refuse_address(scheme: &str, host: &str, address: SocketAddr, what: &str) -> Refusal {
    let grant = NetGrant::parse(&format!("{scheme}://{address}")).ok();
    let ip = address.ip();
    Refusal::new(
        format!("{scheme}://{host} at {ip}, {what}"),
        &format!("`{host}` is at {ip}, {what}, which must be granted itself"),
        grant.map(Grant::Net),
    )
}
