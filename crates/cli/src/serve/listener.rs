//! Accepts connections and passes their requests to the router, with limits on connections and time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hb_http::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Concurrent connections; further ones wait in the queue of the kernel. A connection takes about 20 KiB.
const CONNECTIONS: usize = 4_096;
/// For the head of a request, and for idle time between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// For a whole request, against slow bodies and stuck disks.
const REQUEST: Duration = Duration::from_secs(30);
/// For requests under way when the server stops.
const STOP: Duration = Duration::from_secs(10);
/// The pause after a failed accept, such as without free file descriptors, instead of a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` completes; then finishes what is under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &free) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let router = router.clone();
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let answer = router.clone().oneshot(request.map(hb_http::Body::new));
            async move {
                let answer = tokio::time::timeout(REQUEST, answer).await;
                let Ok(answer) =
                    answer.unwrap_or_else(|_elapsed| Ok::<_, Infallible>(hb_http::timed_out()));
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // Not an error of the server: the client went away, or did not speak HTTP.
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended early: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
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

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Option<(TcpStream, Permit)> {
    let permit = free.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers fit into one small packet, which Nagle's algorithm would only delay.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!("a connection could not be accepted: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
