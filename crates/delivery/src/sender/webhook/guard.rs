//! Where the name of a receiver leads is known only when it is looked up, and may have changed since it was subscribed:
//! each address is checked before anything connects to it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use hb_domain::off_limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks up a name; the ports mean nothing.
pub(super) type LookUp = fn(String) -> Found;

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The look-up of the system.
pub(super) fn system(name: String) -> Found {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Looks up names without the addresses that are [off limits](off_limits).
pub(super) struct Guard(pub(super) LookUp);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let allowed = allowed(name.as_str(), found.await?)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn allowed(name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in found {
        match off_limits(address.ip()) {
            Some(what) => refused = Some((address.ip(), what)),
            None => allowed.push(address),
        }
    }
    match refused {
        Some((ip, what)) if allowed.is_empty() => Err(format!(
            "{name} leads to {ip}, {what}: correct the name, or remove the subscription and add it again with \
             --allow-private"
        )),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_allowed_are_connected_to() {
        let found = |addresses: &[&str]| {
            let sockets = addresses
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
            let allowed = allowed("hook.example", sockets.collect());
            allowed.map(|addresses| {
                addresses
                    .iter()
                    .map(|a| a.ip().to_string())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(found(&["127.0.0.1", "::1"]).unwrap(), ["127.0.0.1", "::1"]);
        assert_eq!(
            found(&["169.254.169.254", "10.0.0.1"]).unwrap(),
            ["10.0.0.1"]
        );
        assert_eq!(found(&[]).unwrap(), [""; 0]);
        let said = found(&["fe80::1", "169.254.169.254"]).unwrap_err();
        assert!(
            said.starts_with("hook.example leads to 169.254.169.254, a link-local address: "),
            "{said}"
        );
    }
}
