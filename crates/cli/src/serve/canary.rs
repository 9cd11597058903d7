//! Sends the canaries of the local server: beats to its own listener, which prove that it receives beats.
//!
//! They need a key like every beat. It is stored beside the database, readable for its owner alone: whoever can read it
//! can read the database, and it is valid for canaries only.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Fleet, HostId, KeyLimits, KeyName, Scope, Token};
use hb_service::admin::{KeyAdmin, KeyRequest};
use hb_service::ports::Clock;
use hb_service::{Caller, Canaries, CanaryError, Troubles};
use reqwest::{Client, Identity, StatusCode, Url};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::first_key::create_private;
use super::listener::ShutOut;
use super::listener::tls::Certificates;

/// The period; the settings of the sweep depend on it.
const EVERY: Duration = Duration::from_secs(3);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The file with the key, in the data folder.
const KEY_FILE: &str = "canary.key";
/// The refusals after which a key is replaced.
const REFUSALS: u32 = 3;
/// The activity in the log.
const CANARIES: &str = "receiving canaries";

/// Sends beats over HTTP, as clients do: each on a connection of its own, which needs a place like theirs.
pub(crate) struct HttpCaller {
    way: Way,
    /// With the identity that it shows.
    client: Mutex<Option<(Option<Vec<u8>>, Client)>>,
    file: PathBuf,
    key_admin: Arc<KeyAdmin>,
    token: Mutex<Option<Token>>,
    refusals: AtomicU32,
}

/// How the server reaches itself.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    /// What machines send beats to, if that is known.
    pub(crate) public: Option<Url>,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) shut_out: ShutOut,
}

impl Way {
    /// The URL of the server.
    fn url(&self) -> String {
        match (&self.public, &self.certificates) {
            (Some(url), _) => url.as_str().trim_end_matches('/').to_owned(),
            (None, Some(_)) => format!("https://{}", reachable(self.address)),
            (None, None) => format!("http://{}", reachable(self.address)),
        }
    }

    fn client(&self, identity: Option<&[u8]>) -> Result<Client, String> {
        let identity = identity.map(Identity::from_pem).transpose();
        let identity = identity.map_err(|error| error.to_string())?;
        let settings = || {
            let client = Client::builder()
                .timeout(TIMEOUT)
                .pool_max_idle_per_host(0)
                .no_proxy()
                // No certificate is for the address that the server listens on.
                .tls_danger_accept_invalid_certs(self.public.is_none());
            match &identity {
                Some(identity) => client.identity(identity.clone()),
                None => client,
            }
        };
        hb_delivery::http_client(settings).map_err(|error| error.to_string())
    }
}

impl HttpCaller {
    /// For the server that stores its data in `dir`.
    pub(crate) fn new(way: Way, dir: &Path, key_admin: Arc<KeyAdmin>) -> Self {
        Self {
            way,
            client: Mutex::new(None),
            file: dir.join(KEY_FILE),
            key_admin,
            token: Mutex::new(None),
            refusals: AtomicU32::new(0),
        }
    }

    /// A client that shows the certificate of the server, if it has one.
    fn client(&self) -> Result<Client, String> {
        let identity = self.way.certificates.as_ref().map(Certificates::identity);
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((shown, client)) = &*known
            && *shown == identity
        {
            return Ok(client.clone());
        }
        let client = self.way.client(identity.as_deref())?;
        *known = Some((identity, client.clone()));
        Ok(client)
    }

    /// The known key, or the one in the file, or a new one.
    async fn token(&self) -> Result<Token, String> {
        let known = self.known().clone();
        if let Some(token) = known.or_else(|| read(&self.file)) {
            *self.known() = Some(token.clone());
            return Ok(token);
        }
        let request = KeyRequest {
            name: KeyName::canary(),
            scope: Scope::Canary,
            fleet: Fleet::main(),
            host_prefixes: Vec::new(),
            expires_in: None,
            limits: KeyLimits::default(),
        };
        let drawn = self
            .key_admin
            .draw_key(request)
            .map_err(|error| error.to_string())?;
        match write(&self.file, &drawn.token) {
            Ok(()) => {}
            // Another server on this folder was faster: its key serves both.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return read(&self.file)
                    .ok_or_else(|| format!("{} does not hold a key", self.file.display()));
            }
            Err(error) => tracing::warn!("{} cannot be written: {error}", self.file.display()),
        }
        self.key_admin
            .store(&drawn.key)
            .await
            .map_err(|error| error.to_string())?;
        *self.known() = Some(drawn.token.clone());
        Ok(drawn.token)
    }

    /// After a refusal the file is read again: the server that wrote it may not have stored the key yet. After several,
    /// the key was revoked or the database replaced, and the next canary uses a new key.
    fn refused(&self) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS {
            self.refusals.store(0, Ordering::Relaxed);
            let _ = std::fs::remove_file(&self.file);
        }
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Caller for HttpCaller {
    async fn beat(&self, host: &HostId) -> Result<(), String> {
        let shut_out = self.way.shut_out.take();
        if shut_out > 0 {
            return Err(format!(
                "{shut_out} connections of machines that send beats got no place"
            ));
        }
        let token = self.token().await?;
        let request = self
            .client()?
            .post(format!("{}/v1/heartbeat/{host}", self.way.url()))
            .header("x-api-key", token.reveal());
        let answer = request
            .send()
            .await
            .map_err(|error| hb_delivery::chain(&error.without_url()))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.refused();
        }
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("the answer was {}", answer.status()))
        }
    }
}

/// An unspecified address ("all addresses") is reached at the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn read(file: &Path) -> Option<Token> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Writes a new file as a whole, readable for its owner alone; fails if there is one.
fn write(file: &Path, token: &Token) -> std::io::Result<()> {
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    create_private(&draft)?.write_all(token.reveal().as_bytes())?;
    let linked = std::fs::hard_link(&draft, file);
    std::fs::remove_file(&draft)?;
    linked
}

/// Sends canaries until it is stopped. Until the first success every missed canary counts as a blackout: a server that
/// starts has received nothing before, unless another server on the same folder has. `tried` becomes true after the first
/// try, successful or not.
pub(crate) async fn send_every(
    mut canaries: Canaries,
    clock: Arc<dyn Clock>,
    troubles: Arc<Troubles>,
    tried: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
) {
    let fresh = std::mem::replace(&mut canaries.fresh, EVERY + Duration::from_secs(1));
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = super::on(stopped.clone()) => return,
            _ = ticks.tick() => {}
        }
        let sent = tokio::select! {
            () = super::on(stopped.clone()) => return,
            sent = canaries.send() => sent,
        };
        log_result(&sent, &troubles, &*clock);
        if sent.is_ok() {
            canaries.fresh = fresh;
        }
        let _ = tried.send(true);
    }
}

fn log_result(
    sent: &Result<Option<Duration>, CanaryError>,
    troubles: &Troubles,
    clock: &dyn Clock,
) {
    match sent {
        Ok(None) => {}
        Ok(Some(gap)) => {
            let gap = hb_domain::human_duration(Duration::from_secs(gap.as_secs()));
            tracing::warn!(
                "no beats could be received for {gap}: this time does not count as silence of hosts"
            );
        }
        Err(error) => {
            troubles.failed(CANARIES, error, clock.now());
            return;
        }
    }
    troubles.worked(CANARIES, clock.now());
}
