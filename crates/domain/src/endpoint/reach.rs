//! Which addresses of a network are off limits to webhooks, and which names can never be found.
//!
//! A server that posts wherever it is told could be made to ask the metadata service of its cloud, which trusts
//! whoever reaches it, or a service that listens for its own machine only. Loopback and private networks are allowed: a
//! receiver beside the server is common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name and label of a host, in bytes (RFC 1035, section 2.3.4).
const NAME: usize = 253;
const LABEL: usize = 63;

/// Names under which clouds offer their metadata service.
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Metadata services outside the link-local ranges: of Alibaba Cloud and of Azure ("What is IP address
/// 168.63.129.16?").
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same of Google Cloud and of Oracle Cloud.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

const LINK_LOCAL: &str = "a link-local address";
const METADATA: &str = "the address of a cloud's metadata service";
const UNSPECIFIED: &str = "an unspecified address";

/// What `address` is, if a webhook may lead there only with `--allow-private`.
#[must_use]
pub fn off_limits(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => v4_off_limits(v4),
        IpAddr::V6(v6) if v6.is_loopback() => None,
        IpAddr::V6(v6) => {
            let aws = v6.segments()[..2] == [0xfd00, 0xec2];
            if v6.is_unicast_link_local() {
                Some(LINK_LOCAL)
            } else if aws || METADATA_V6.contains(&v6) {
                Some(METADATA)
            } else {
                v4_within(v6).and_then(v4_off_limits)
            }
        }
    }
}

fn v4_off_limits(v4: Ipv4Addr) -> Option<&'static str> {
    if v4.octets()[0] == 0 {
        Some(UNSPECIFIED)
    } else if v4.is_link_local() {
        Some(LINK_LOCAL)
    } else {
        METADATA_V4.contains(&v4).then_some(METADATA)
    }
}

/// The IPv4 address that this one leads to: mapped, compatible (RFC 4291) or behind NAT64 (RFC 6052).
fn v4_within(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, _, _, high, low] = v6.segments();
    if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    v6.to_ipv4()
}

/// Whether this is the name of a cloud's metadata service.
pub(super) fn is_metadata_name(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    METADATA_NAMES
        .contains(&name.as_str())
        .then_some("the name of a cloud's metadata service")
}

/// What is wrong with the name of a host that no name service can have.
pub(super) fn wrong_name(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > NAME {
        return Some("the name of its host is longer than 253 characters");
    }
    let fits = |label: &str| {
        (1..=LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let cause = "the name of its host has a part that is empty, longer than 63 characters, or not of a-z, 0-9, - and _";
    (!name.split('.').all(fits)).then_some(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_metadata_and_unspecified_addresses_are_off_limits_in_every_form() {
        for (address, what) in [
            ("169.254.0.0", LINK_LOCAL),
            ("169.254.169.254", LINK_LOCAL),
            ("169.254.255.255", LINK_LOCAL),
            ("::ffff:169.254.169.254", LINK_LOCAL),
            ("::169.254.169.254", LINK_LOCAL),
            ("64:ff9b::169.254.169.254", LINK_LOCAL),
            ("fe80::1", LINK_LOCAL),
            ("febf:ffff::", LINK_LOCAL),
            ("0.0.0.0", UNSPECIFIED),
            ("0.1.2.3", UNSPECIFIED),
            ("::", UNSPECIFIED),
            ("::ffff:0.0.0.0", UNSPECIFIED),
            ("100.100.100.200", METADATA),
            ("::ffff:100.100.100.200", METADATA),
            ("168.63.129.16", METADATA),
            ("fd00:ec2::254", METADATA),
            ("fd00:ec2::23", METADATA),
            ("fd20:ce::254", METADATA),
            ("fd00:c1::a9fe:a9fe", METADATA),
        ] {
            assert_eq!(
                off_limits(address.parse().unwrap()),
                Some(what),
                "{address}"
            );
        }
    }

    #[test]
    fn public_private_and_loopback_addresses_are_not() {
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.100.100.201",
            "169.253.255.255",
            "169.255.0.0",
            "168.63.129.17",
            "1.0.0.0",
            "203.0.113.7",
            "64:ff9b::203.0.113.7",
            "fc00::1",
            "fd00:ec3::254",
            "fd20:ce::253",
            "fe7f:ffff::",
            "fec0::",
            "2001:db8::1",
        ] {
            assert_eq!(off_limits(address.parse().unwrap()), None, "{address}");
        }
    }
}
