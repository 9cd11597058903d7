//! Who watches the watcher: after each completed sweep, systemd's watchdog and the address of `--ping-url` are told.
//! Nothing here makes a sweep wait.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hb_delivery::{chain, http_client};
use hb_service::Troubles;
use hb_service::ports::Clock;
use reqwest::{Client, Url, redirect};
use tokio::sync::watch;

use crate::exit::Failure;

/// For a whole ping: less than most periods of sweeps, so that an address that hangs costs no ping of the next sweep.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The activities in the log.
const PINGING: &str = "the request to --ping-url";
const NOTIFYING: &str = "notifying systemd";

/// What `--ping-url` names.
pub(super) struct Ping {
    client: Client,
    url: Url,
}

impl Ping {
    pub(super) fn to(url: &str) -> Result<Self, Failure> {
        let url = parse(url).map_err(Failure::PingUrl)?;
        let client = http_client(|| {
            Client::builder()
                .timeout(TIMEOUT)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("heartbeat/", env!("CARGO_PKG_VERSION")))
        });
        let client = client.map_err(|error| Failure::Internal(error.to_string()))?;
        Ok(Self { client, url })
    }

    async fn send(&self) -> Result<(), String> {
        let answer = self.client.get(self.url.clone()).send().await;
        let status = answer
            .map_err(|error| chain(&error.without_url()))?
            .status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the answer was {status}"))
        }
    }
}

pub(super) struct Watchers {
    troubles: Arc<Troubles>,
    clock: Arc<dyn Clock>,
    swept: watch::Sender<()>,
}

impl Watchers {
    pub(super) fn new(troubles: Arc<Troubles>, clock: Arc<dyn Clock>) -> Self {
        let swept = watch::Sender::default();
        Self {
            troubles,
            clock,
            swept,
        }
    }

    /// This server accepts connections. A watchdog that is too short for `period`, the time between two sweeps, is
    /// extended: it would end a server that works.
    pub(super) fn ready(&self, period: Duration) {
        let needed = (3 * period).as_micros();
        let extended = watchdog().filter(|watchdog| *watchdog < needed);
        let extended = extended.map(|_| format!("\nWATCHDOG_USEC={needed}"));
        self.notify(&format!("READY=1{}", extended.unwrap_or_default()));
    }

    /// A sweep was completed.
    pub(super) fn swept(&self) {
        if watchdog().is_some() {
            self.notify("WATCHDOG=1");
        }
        self.swept.send_replace(());
    }

    pub(super) fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    /// Pings after each completed sweep; after several at once if a ping takes longer. Ends with `self`.
    pub(super) fn pings(&self, ping: Ping) -> impl Future<Output = ()> + use<> {
        let mut swept = self.swept.subscribe();
        let (troubles, clock) = (self.troubles.clone(), self.clock.clone());
        async move {
            while swept.changed().await.is_ok() {
                match ping.send().await {
                    Ok(()) => troubles.worked(PINGING, clock.now()),
                    Err(cause) => {
                        troubles.failed(PINGING, &cause, clock.now());
                    }
                }
            }
        }
    }

    /// Sends `state` to systemd, if that wants to be notified (`sd_notify(3)`).
    fn notify(&self, state: &str) {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
            return;
        };
        match send(state, &socket) {
            Ok(()) => self.troubles.worked(NOTIFYING, self.clock.now()),
            Err(error) => {
                self.troubles.failed(NOTIFYING, &error, self.clock.now());
            }
        }
    }
}

/// An error does not quote the URL, which may hold a secret.
fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("the scheme is {scheme}")),
    }
}

/// The microseconds of `WatchdogSec=`, if systemd set it for this process (`sd_watchdog_enabled(3)`).
fn watchdog() -> Option<u128> {
    let number = |name| std::env::var(name).ok()?.parse::<u128>().ok();
    let pid = number("WATCHDOG_PID");
    number("WATCHDOG_USEC").filter(|_| pid.is_none_or(|pid| pid == u128::from(std::process::id())))
}

#[cfg(target_os = "linux")]
fn send(state: &str, name: &OsStr) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up this process.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn send(_: &str, _: &OsStr) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_that_does_not_read_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("notify");
        let _unread = std::os::unix::net::UnixDatagram::bind(&name).unwrap();
        let full = (0..100_000).find_map(|_| send("WATCHDOG=1", name.as_os_str()).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        let gone = send("READY=1", OsStr::new("/nonexistent/notify"));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_wrong_url_is_refused_without_being_quoted() {
        for (text, cause) in [
            ("hbk_secret", "relative URL without a base"),
            ("ftp://user:secret@host/", "the scheme is ftp"),
            ("http://", "empty host"),
            ("", "relative URL without a base"),
        ] {
            assert_eq!(parse(text), Err(cause.to_owned()), "{text}");
        }
        assert!(parse("https://:secret@host/path?key=secret").is_ok());
    }
}
