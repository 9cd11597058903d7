//! Whose request it is, behind proxies that are trusted.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The address of the client: the last one in `X-Forwarded-For` that is not a trusted proxy itself. What stands before
/// it, the client may have written.
pub(crate) fn address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| {
        let line = line.to_str().unwrap_or_default();
        line.rsplit(',').map(hop)
    });
    let mut client = peer;
    for hop in hops {
        if !is_trusted(client, trusted) {
            break;
        }
        // What is not an address hides who is behind it.
        let Some(hop) = hop else {
            break;
        };
        client = hop;
    }
    client
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it: some add the port, and brackets around IPv6.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse().ok();
    let with_port = || {
        text.parse()
            .ok()
            .map(|socket: std::net::SocketAddr| socket.ip())
    };
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: IpAddr = address.or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .map(|network| network.parse().unwrap())
            .into();
        let cases: [(&str, &[&str], &str); 12] = [
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["203.0.113.9", "198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("fd00::1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ];
        for (peer, lines, expected) in cases {
            let name = http::header::HeaderName::from_static("x-forwarded-for");
            let lines = lines
                .iter()
                .map(|line| (name.clone(), line.parse().unwrap()));
            let client = address(peer.parse().unwrap(), &trusted, &lines.collect());
            assert_eq!(client.to_string(), expected, "{peer}");
        }
    }
}
