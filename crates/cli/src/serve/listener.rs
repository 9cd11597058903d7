//! Accepts connections and hands their requests to the router; bounds what a client may take.

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

/// Connections at a time; the next ones wait in the kernel's queue. A connection costs about 20 KiB.
const CONNECTIONS: usize = 4_096;
/// How long a client may take for the head of a request, and be idle between two.
const HEAD: Duration = Duration::from_secs(15);
/// How long a whole request may take: a slow body, or a stuck disk.
const REQUEST: Duration = Duration::from_secs(30);
/// How long requests under way may still take when the server stops.
const STOP: Duration = Duration::from_secs(10);
/// How long to wait when the process has no file descriptors left, rather than to spin.
const BREATH: Duration = Duration::from_millis(100);

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
            // How a connection ends is the client's business: it went away, or spoke no HTTP.
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
            "some requests were still under way after {} s and are cut off",
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
            // Answers are one small packet; waiting to fill it would only add a delay.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!("a connection could not be accepted: {error}");
            tokio::time::sleep(BREATH).await;
            None
        }
    }
}
