//! How long a connection may take for what: a head, an idle pause, an answer that is not read.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::places::{Network, Standing};

/// For the head of a request, from its first byte on; for the first one from the start of the connection.
pub(crate) const HEAD: Duration = Duration::from_secs(5);
/// Between two requests: longer than proxies keep connections (60 s or less by default), so that it is
/// the proxy that closes them, and loses no request by that.
const IDLE: Duration = Duration::from_secs(75);
/// For a client that does not read its answer.
const WRITE: Duration = Duration::from_secs(10);
/// After that a connection ends with its next answer, so that none holds its place for ever.
const REQUESTS: u32 = 1_000;
const LIFE: Duration = Duration::from_mins(5);

/// The time by which connections are judged.
#[expect(
    clippy::disallowed_methods,
    reason = "times of connections, which no rule of the service sees"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A connection, as its limits see it.
pub(crate) struct Connection {
    pub(crate) network: Network,
    pub(crate) standing: Standing,
    began: Instant,
    displaced: Notify,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Since when it cannot be written to.
    stuck: Option<Instant>,
    requests: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The head of a request is on its way.
    Head,
    /// A request is being answered; that has a limit of its own.
    Request,
    Idle,
}

impl Connection {
    pub(crate) fn new(network: Network, standing: Standing, now: Instant) -> Self {
        Self {
            network,
            standing,
            began: now,
            displaced: Notify::new(),
            state: Mutex::new(State {
                phase: Phase::Head,
                since: now,
                stuck: None,
                requests: 0,
            }),
        }
    }

    /// A request has come.
    pub(crate) fn asked(&self, now: Instant) {
        let mut state = self.state();
        (state.phase, state.since) = (Phase::Request, now);
        state.requests += 1;
    }

    /// Its answer is ready. Returns whether it is the last one.
    pub(crate) fn answered(&self, now: Instant) -> bool {
        let mut state = self.state();
        (state.phase, state.since) = (Phase::Idle, now);
        state.requests >= REQUESTS || now.duration_since(self.began) >= LIFE
    }

    /// Something was read.
    fn read(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, now);
        }
    }

    /// It can be written to, or not.
    fn writable(&self, writable: bool, now: Instant) {
        let mut state = self.state();
        state.stuck = (!writable).then(|| state.stuck.unwrap_or(now));
    }

    /// Whether it waits for its client: no request is being answered.
    pub(crate) fn waits(&self) -> bool {
        let state = self.state();
        state.phase != Phase::Request || state.stuck.is_some()
    }

    /// Whether no request has come yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.state().requests == 0
    }

    /// When it ends unless something happens before.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let limit = match state.phase {
            Phase::Head => Some(HEAD),
            Phase::Request => None,
            Phase::Idle => Some(IDLE),
        };
        let stuck = state.stuck.map(|since| since + WRITE);
        stuck.or(limit.map(|limit| state.since + limit))
    }

    /// Ends it: another one gets its place.
    pub(crate) fn displace(&self) {
        self.displaced.notify_one();
    }

    /// Waits for `work` until it is done, its time is over, or another one gets its place.
    pub(crate) async fn limit<W: Future>(&self, work: W) -> Option<W::Output> {
        let mut work = pin!(work);
        let mut displaced = pin!(self.displaced.notified());
        let mut timer = pin!(tokio::time::sleep_until(self.began + HEAD));
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            if displaced.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            // A deadline that is later than the timer is looked at when the timer ends: most have changed by then.
            if let Some(deadline) = self.deadline().filter(|at| *at < timer.deadline()) {
                timer.as_mut().reset(deadline);
            }
            loop {
                ready!(timer.as_mut().poll(context));
                let ended = timer.deadline();
                match self.deadline() {
                    Some(deadline) if deadline <= ended => return Poll::Ready(None),
                    deadline => timer.as_mut().reset(deadline.unwrap_or(ended + HEAD)),
                }
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that tells its connection when something is read, and when nothing more can be written.
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    pub(crate) connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.connection.read(now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        self.connection.writable(result.is_ready(), now());
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.wrote(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.wrote(result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A connection, the stream that it watches, and the end of the client.
    fn connected() -> (Arc<Connection>, Watched<DuplexStream>, DuplexStream) {
        let network = Network::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let connection = Arc::new(Connection::new(network, Standing::Stranger, now()));
        let (client, stream) = duplex(64);
        let watched = Watched {
            stream,
            connection: connection.clone(),
        };
        (connection, watched, client)
    }

    /// After how many seconds `work` on the connection is ended.
    async fn ended(connection: &Connection, work: impl Future<Output = ()>) -> u64 {
        let began = now();
        assert_eq!(connection.limit(work).await, None);
        now().duration_since(began).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let (connection, mut stream, mut client) = connected();
        let slow = async {
            loop {
                client.write_all(b"x").await.unwrap();
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(ended(&connection, slow).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_after_75_s_and_a_second_head_has_5_s() {
        let (connection, mut stream, mut client) = connected();
        connection.asked(now());
        assert!(!connection.answered(now()));
        assert_eq!(ended(&connection, std::future::pending()).await, 75);

        let (connection, ..) = connected();
        connection.asked(now());
        connection.answered(now());
        stream.connection = connection.clone();
        let second = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            client.write_all(b"GET").await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 3);
            std::future::pending::<()>().await;
        };
        assert_eq!(ended(&connection, second).await, 65);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_ends_after_10_s() {
        let (connection, mut stream, mut client) = connected();
        let answers = async {
            connection.asked(now());
            // Some of it is read now and then, which makes room.
            for _ in 0..3 {
                let reads = async {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                    client.read_exact(&mut [0; 64]).await.unwrap();
                };
                let (written, ()) = tokio::join!(stream.write_all(&[b'x'; 64]), reads);
                written.unwrap();
            }
            stream.write_all(&[b'x'; 65]).await.unwrap();
        };
        assert_eq!(ended(&connection, answers).await, 27 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_longer_than_a_head() {
        let (connection, ..) = connected();
        connection.asked(now());
        let work = tokio::time::sleep(Duration::from_secs(29));
        assert_eq!(connection.limit(work).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_gives_way_ends_at_once() {
        let (connection, ..) = connected();
        connection.displace();
        assert_eq!(ended(&connection, std::future::pending()).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_comes_after_five_minutes_or_a_thousand_requests() {
        let (connection, ..) = connected();
        for request in 1..=1_000 {
            connection.asked(now());
            assert_eq!(connection.answered(now()), request == 1_000);
        }
        let (connection, ..) = connected();
        for (seconds, is_last) in [(299, false), (1, true)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            connection.asked(now());
            assert_eq!(connection.answered(now()), is_last);
        }
    }
}
