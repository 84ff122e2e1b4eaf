//! Requests go only where a grant allows, for any URL, address and headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Method;
use runner_model::{
    NetGrant,
    grants::{BoundSecret, Grant},
};
use url::{Host, Url};

use super::{
    address::special,
    failure::MAX_HEAD,
    headers,
    policy::{NetPolicy, origin, read_url},
    request::read_uri,
};
use crate::{SecretUse, Secrets};

/// Longer secrets only take longer.
const MAX_SECRET_BYTES: usize = 32;

/// The input has an address and grants. Every reachable address is public or granted itself.
pub fn addresses(bytes: &[u8]) {
    let (address, granted) = if let Some((octets, rest)) = bytes.split_first_chunk::<16>() {
        (IpAddr::from(Ipv6Addr::from(*octets)), rest)
    } else if let Some((octets, rest)) = bytes.split_first_chunk::<4>() {
        (IpAddr::from(Ipv4Addr::from(*octets)), rest)
    } else {
        return;
    };
    assert!(!is_local(address) || special(address).is_some(), "{address}");
    let grants = granted.split(|byte| *byte == 0xff);
    let grants = grants.filter_map(|text| NetGrant::parse(str::from_utf8(text).ok()?).ok());
    let grants: Vec<_> = grants.collect();

    let found = [80, 443].map(|port| SocketAddr::new(address, port));
    let policy = NetPolicy::new(grants.clone());
    for (scheme, port) in [("http", 80), ("https", 443)] {
        let reachable = policy.reachable(scheme, "host", &found);
        for reached in reachable.into_iter().flatten() {
            assert_eq!(reached.ip(), address);
            let is_named = |grant: &NetGrant| {
                let granted = format!("{grant}/");
                let url = Url::parse(&granted).expect("a grant is a URL's beginning");
                let is_same = match url.host() {
                    Some(Host::Domain(name)) => {
                        name == "localhost" && address.to_canonical().is_loopback()
                    }
                    Some(Host::Ipv4(granted)) => address.to_canonical() == granted,
                    Some(Host::Ipv6(granted)) => address == granted,
                    None => false,
                };
                is_same
                    && url.scheme() == scheme
                    && url.port_or_known_default() == Some(reached.port())
            };
            let is_public = !is_local(address);
            assert!(is_public || grants.iter().any(is_named), "{address} at {port}");
        }
    }
}

/// The input has a grant and a URL. They match if they have the same origin, and the sent URL has
/// no other.
pub fn grants(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0xff);
    let mut part = || str::from_utf8(parts.next().unwrap_or_default());
    let (Ok(grant), Ok(text)) = (part(), part()) else {
        return;
    };
    let grant = NetGrant::parse(grant).ok();
    if let Some(grant) = &grant {
        assert_eq!(NetGrant::parse(&grant.to_string()).as_ref(), Ok(grant));
        let bound = BoundSecret::parse("KEY", &grant.to_string(), "x-key");
        let bound = bound.expect("a secret is bound to whatever can be granted");
        let flag = format!("KEY,host={grant},header=x-key");
        assert_eq!(BoundSecret::of_flag(&flag), Some(Ok(bound)));
    }
    let Ok(url) = read_url(text) else { return };
    assert_eq!(read_url(url.as_str()).as_ref(), Ok(&url), "{text}");
    sent(&url);

    let own = NetGrant::of(&url);
    if let Some(own) = &own {
        assert!(own.matches(&url), "{own} and {url}");
        assert_eq!(own.to_string(), origin(&url));
    }
    let Some(grant) = grant else { return };
    let policy = NetPolicy::new(vec![grant.clone()]);
    let admitted = policy.admit(&Method::GET, &url);
    assert_eq!(admitted.is_ok(), grant.matches(&url));
    match admitted {
        Ok(()) => assert!(is_of(&grant, &url), "{grant} admits {url}"),
        Err(refusal) => {
            let wanted = refusal.denied.and_then(|denied| denied.grant);
            let line = own.map(|own| Grant::Net(own).to_string().into());
            assert_eq!(wanted, line);
        }
    }
}

/// The input has name and value of a header, a secret and a URL. At most one header is sent, within
/// its bounds, without a secret that is bound to another place.
pub fn headers(bytes: &[u8]) {
    const BOUND: &str = "b0und s3cret";
    let mut parts = bytes.splitn(4, |byte| *byte == 0xff);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (name, value, secret, url) = (text(), text(), text(), text());
    if secret.len() > MAX_SECRET_BYTES || secret.contains(BOUND) {
        return;
    }
    let url =
        read_url(&url).unwrap_or_else(|_| Url::parse("https://a.example").expect("it is one"));
    let bound = BoundSecret::parse("B", "api.example.com", "Authorization");
    let bound = bound.expect("it is bound to one place");
    let secrets = Secrets::new(
        &[("A".to_owned(), secret), ("B".to_owned(), BOUND.to_owned())].into(),
        [("A".to_owned(), SecretUse::Known), ("B".to_owned(), SecretUse::Bound(vec![bound]))]
            .into(),
    );
    let Ok(mut map) = headers::read(&[(name, value.clone())]) else {
        return;
    };
    if headers::fill(&mut map, &secrets, &url).is_err() {
        return;
    }
    let is_told = |value: &[u8]| {
        let mut parts = value.windows(BOUND.len());
        parts.any(|part| part == BOUND.as_bytes())
    };
    let is_place = map.contains_key("authorization") && origin(&url) == "https://api.example.com";
    let mut values = map.values();
    assert!(is_place || is_told(value.as_bytes()) || !values.any(|it| is_told(it.as_bytes())));
    assert_eq!(map.len(), 1);
    assert!(headers::size(&map) <= MAX_HEAD);
    for (name, value) in &map {
        assert!(!headers::FORBIDDEN.contains(name) && name != "content-length");
        let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        assert!(!value.as_bytes().iter().any(is_control), "{value:?}");
    }
}

/// Asserts that the URL names one host, by a name or an address, and that the client reads it the
/// same way.
fn sent(url: &Url) {
    let host = url.host_str().expect("a URL of HTTP has a host");
    assert!(url.username().is_empty() && url.password().is_none());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(bare) => assert!(bare.parse::<Ipv6Addr>().is_ok(), "{host}"),
        None => assert!(host.bytes().all(is_plain), "{host}"),
    }
    let Ok(uri) = read_uri(url) else { return };
    assert_eq!(uri.host(), Some(host));
    assert_eq!(uri.scheme_str(), Some(url.scheme()));
    let default_port = if url.scheme() == "https" { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default_port);
    assert_eq!(url.port_or_known_default(), Some(port));
    let authority = uri.authority().expect("it has a host").as_str();
    assert!(authority == host || authority == format!("{host}:{port}"));
}

/// Decides by the text of a grant.
fn is_of(grant: &NetGrant, url: &Url) -> bool {
    let (granted, origin) = (grant.to_string(), origin(url));
    match granted.split_once("://*.") {
        None => granted == origin,
        Some((scheme, below)) => {
            let rest = origin.strip_prefix(&format!("{scheme}://"));
            let labels = rest.and_then(|rest| rest.strip_suffix(&format!(".{below}")));
            labels
                .is_some_and(|labels| !labels.is_empty() && !labels.contains(['/', '@', ':', '[']))
        }
    }
}

/// Decides like [`special`], by other means: whether the address surely is not public.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_v4(address),
        IpAddr::V6(address) => is_local_v6(address),
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    let is_in = |first: [u8; 4], bits: u32| {
        (address.to_bits() ^ Ipv4Addr::from(first).to_bits()) >> (32 - bits) == 0
    };
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address == Ipv4Addr::new(168, 63, 129, 16)
        || is_in([0, 0, 0, 0], 8)
        || is_in([100, 64, 0, 0], 10)
        || is_in([192, 0, 0, 0], 24)
        || is_in([192, 88, 99, 0], 24)
        || is_in([198, 18, 0, 0], 15)
        || is_in([240, 0, 0, 0], 4)
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let starts = |first: &str, length: u32| {
        let first: Ipv6Addr = first.parse().expect("it is one");
        (bits ^ first.to_bits()) >> (128 - length) == 0
    };
    let inner = |shift: u32| {
        let inner = u32::try_from(bits >> shift & u128::from(u32::MAX));
        is_local_v4(inner.expect("it has 32 bits").into())
    };
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || starts("2001:db8::", 32)
        || starts("2001::", 32)
        || !(starts("2000::", 3) || starts("::", 32) || starts("64:ff9b::", 96))
        || (starts("::", 96) && inner(0))
        || (starts("::ffff:0:0", 96) && inner(0))
        || (starts("64:ff9b::", 96) && inner(0))
        || (starts("2002::", 16) && inner(80))
}
