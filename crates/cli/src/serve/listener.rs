//! Accepts connections and passes their requests to the router, with limits on connections, time and memory.

mod client;
mod connection;
mod places;
pub(crate) mod tls;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hb_http::{Body, Router};
use hb_service::Troubles;
use hb_service::ports::Clock;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use connection::Watched;
use places::{Limits, Lost, Place, Places, Standing};
use tls::Certificates;

pub(crate) use places::ShutOut;

/// Concurrent connections, if the limit of open files allows as many.
const CONNECTIONS: usize = 4_096;
/// Connections that the kernel keeps until they are accepted: as many as Linux allows by default.
const BACKLOG: u32 = 4_096;
/// The head of a request, and how many headers it has.
const HEAD_BYTES: usize = 16 * 1_024;
const HEADERS: usize = 100;
/// For a whole request, against slow bodies and stuck disks.
const REQUEST: Duration = Duration::from_secs(30);
/// For requests under way when the server stops.
const STOP: Duration = Duration::from_secs(10);
/// The pause after a failed accept, such as without free file descriptors, instead of a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Accepting works again when it has not failed for so long.
const ACCEPT_WORKS: Duration = Duration::from_secs(10);
/// How often lost connections are logged.
const LOST_EVERY: Duration = Duration::from_mins(1);
/// The activity in the log.
const ACCEPTING: &str = "accepting connections";

/// How an HTTP/2 client without TLS begins (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI";
/// Empty settings, then the end: `HTTP_1_1_REQUIRED` with a text for whoever debugs the client (section 6.8).
const NOT_HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x28\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dthis server speaks HTTP/1.1 only";
/// How a TLS client begins: a handshake record (RFC 8446, section 5.1).
const TLS: u8 = 0x16;
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this port speaks TLS: send requests to https://\n";

/// What the listener needs besides its socket.
pub(crate) struct Settings {
    pub(crate) router: Router,
    pub(crate) tls: Option<Certificates>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) shut_out: ShutOut,
    /// How many descriptors there are for connections.
    pub(crate) descriptors: usize,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Listens on `address`.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A server that starts again need not wait for connections of the last one. On Windows this would share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves requests on `listener` until `stop` completes; then finishes what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: Settings,
    stop: impl Future<Output = ()>,
) {
    let limits = Limits::new(CONNECTIONS.min(settings.descriptors));
    if limits.all() < CONNECTIONS {
        tracing::warn!(
            "the limit of open files allows only {} connections: raise it (ulimit -Hn, LimitNOFILE)",
            limits.all()
        );
    }
    let places = Arc::new(Places::new(limits, settings.shut_out.clone()));
    let settings = Arc::new(settings);
    let graceful = GracefulShutdown::new();
    let mut minutes = tokio::time::interval(LOST_EVERY);
    tokio::pin!(stop);
    let mut failed = None;
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            _ = minutes.tick() => {
                log_lost(places.take_lost());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let now = settings.clock.now();
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                failed = Some(now);
                settings.troubles.failed(ACCEPTING, &error, now);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // While descriptors are short, some connections are accepted in between.
        if failed.is_some_and(|failed| now.since(failed) > ACCEPT_WORKS) {
            settings.troubles.worked(ACCEPTING, now);
            failed = None;
        }
        let is_proxy = client::is_trusted(peer, &settings.trusted_proxies);
        if let Some(place) = places.admit(peer, is_proxy, connection::now()) {
            let settings = settings.clone();
            let taken = Arc::new(Taken {
                peer,
                place,
                settings,
            });
            tokio::spawn(taken.keep(stream, graceful.watcher()));
        }
    }
    drop(listener);
    places.close_unused();
    if tokio::time::timeout(STOP, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            "some requests did not finish within {} s and were cut off",
            STOP.as_secs()
        );
    }
}

fn log_lost(lost: Lost) {
    let Lost { displaced, refused } = lost;
    if displaced + refused > 0 {
        tracing::warn!(
            "places for connections ran out: within a minute {displaced} that sent nothing gave way, and {refused} got none"
        );
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A connection that has a place.
struct Taken {
    peer: IpAddr,
    place: Place,
    settings: Arc<Settings>,
}

impl Taken {
    /// Keeps the connection within its limits.
    async fn keep(self: Arc<Self>, stream: TcpStream, watcher: Watcher) {
        // Answers fit into one small packet, which Nagle's algorithm would only delay.
        let _ = stream.set_nodelay(true);
        let peer = self.peer;
        let work = self.clone().speak(stream, watcher);
        match self.place.connection.limit(work).await {
            // Not an error of the server: the client went away, or did not speak HTTP.
            Some(Err(error)) => tracing::debug!(%peer, "a connection ended early: {error}"),
            None => tracing::debug!(%peer, "a connection took too long, or gave way"),
            Some(Ok(())) => {}
        }
    }

    async fn speak(self: Arc<Self>, stream: TcpStream, watcher: Watcher) -> Ended {
        // Nothing is kept for a client that has not said anything yet.
        let mut start = [0; 3];
        let length = stream.peek(&mut start).await?;
        match &self.settings.tls {
            None if start == HTTP2 => {
                tracing::debug!(peer = %self.peer, "HTTP/2 without TLS is refused");
                refuse(stream, NOT_HTTP2).await
            }
            None => self.serve(stream, watcher).await,
            Some(_) if length > 0 && start[0] != TLS => refuse(stream, NOT_TLS).await,
            Some(certificates) => {
                let stream = certificates.acceptor().accept(stream).await?;
                self.serve(stream, watcher).await
            }
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, watcher: Watcher) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = self.place.connection.clone();
        let stream = TokioIo::new(Watched { stream, connection });
        let service = service_fn(move |request| self.clone().answer(request));
        let connection = http1::Builder::new()
            .half_close(true)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .serve_connection(stream, service);
        Ok(watcher.watch(connection).await?)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let Self {
            peer,
            place,
            settings,
        } = &*self;
        let connection = &place.connection;
        connection.asked(connection::now());
        let mut request = request.map(Body::new);
        let client = client::address(*peer, &settings.trusted_proxies, request.headers());
        request.extensions_mut().insert(hb_http::Client(client));
        let mut answer = if names_its_host(&request) {
            let answer = settings.router.clone().oneshot(request);
            let answer = tokio::time::timeout(REQUEST, answer).await;
            let Ok(answer) =
                answer.unwrap_or_else(|_elapsed| Ok::<_, Infallible>(hb_http::timed_out()));
            answer
        } else {
            hb_http::host_header_wrong()
        };
        let recorded = answer.extensions().get::<hb_http::Recorded>().is_some();
        if recorded && connection.standing == Standing::Stranger {
            place.places.remember(connection.network);
        }
        if connection.answered(connection::now()) {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        Ok(answer)
    }
}

/// Says why, and reads what has come: a connection that is closed with unread bytes may lose the answer.
async fn refuse(mut stream: TcpStream, why: &[u8]) -> Ended {
    stream.write_all(why).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(1 << 16);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Whether a request of HTTP/1.1 has exactly one header `Host` (RFC 9112, section 3.2).
fn names_its_host<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}
