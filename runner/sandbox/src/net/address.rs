//! [`special`]: recognizes addresses that are not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's metadata service, which returns credentials. Those of other clouds have link-local
/// addresses.
const AZURE_METADATA: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Describes an address that is not on the public internet, for the end of a sentence. Follows
/// IANA's registries of special-purpose addresses (RFC 6890 and its updates).
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let what = match address.octets() {
        [0, ..] => "an unspecified address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "an address of a carrier's private network",
        [127, ..] => "a loopback address",
        [169, 254, 169, 254] => "the address of a cloud's metadata service",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=254, ..] => "a reserved address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [198, 18..=19, ..] => "an address for benchmarks",
        [224..=239, ..] => "a multicast address",
        [255, ..] => "a broadcast address",
        _ if address == AZURE_METADATA => "the address of a cloud's metadata service",
        _ => return None,
    };
    Some(what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded_v4(address) {
        // A translator or a tunnel would connect to the inner address.
        return special_v4(inner);
    }
    let what = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // Teredo contains two IPv4 addresses, and no public host has used it for years.
        [0x2001, 0, ..] => "the address of a tunnel",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "an address for documentation",
        [0x2001, 0x0002, 0, ..] => "an address for benchmarks",
        [0x2001, 0x0001..=0x01ff, ..] => "a reserved address",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    };
    Some(what)
}

/// Returns the IPv4 address in an IPv4-compatible (RFC 4291), NAT64 (RFC 6052) or 6to4 address (RFC
/// 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // `::` and `::1` contain none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::special;

    #[test]
    fn public_addresses_are_nothing_special() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn special_addresses_are_named() {
        for (word, addresses) in [
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"][..]),
            (
                "private",
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.0.1",
                    "100.64.0.1",
                    "100.127.255.255",
                    "fc00::1",
                    "fd00:ec2::254",
                    "::ffff:10.0.0.1",
                    "::10.0.0.1",
                    "64:ff9b::10.0.0.1",
                    "2002:a00:1::1",
                ],
            ),
            (
                "metadata",
                &[
                    "169.254.169.254",
                    "168.63.129.16",
                    "::ffff:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "2002:a9fe:a9fe::",
                ],
            ),
            ("link-local", &["169.254.0.1", "fe80::1", "febf::1"]),
            ("unspecified", &["0.0.0.0", "0.1.2.3", "::"]),
            ("multicast", &["224.0.0.1", "239.1.1.1", "ff02::1"]),
            ("broadcast", &["255.255.255.255"]),
            (
                "documentation",
                &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
            ),
            ("benchmarks", &["198.18.0.1", "198.19.255.255", "2001:2::1"]),
            (
                "reserved",
                &[
                    "192.0.0.192",
                    "240.0.0.1",
                    "100::1",
                    "fec0::1",
                    "64:ff9b:1::a00:1",
                    "2001:20::1",
                    "4000::1",
                ],
            ),
            ("tunnel", &["2001:0:a00:1::1", "2001::1"]),
        ] {
            for address in addresses {
                let what = special(address.parse().unwrap());
                assert!(what.is_some_and(|what| what.contains(word)), "{address}: {what:?}");
            }
        }
    }
}
