//! The HTTP interface: one router, used unchanged by the local server and by the Lambda function.
//!
//! It parses requests, calls the use cases and renders responses. It opens no socket, sets no timeouts (that is up to the
//! server), and knows no adapter.

mod answer;
mod beat;
mod body;
mod credential;
mod error;
mod fields;
mod ignored;
mod invalid;
mod json;
mod path;
mod report;
mod status;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use answer::{host_header_wrong, timed_out};
pub use axum::Router;
pub use axum::body::Body;
use axum::middleware::from_fn;
use axum::routing::{MethodFilter, get, on, post};
use hb_domain::{Incarnation, KeyId, Region, limits};
use hb_service::ports::{Clock, IngestPorts};
use hb_service::{Authenticator, CachePolicy, Health, RateLimit, Recorder, Refusals, Troubles};
use tokio::sync::Semaphore;

use crate::error::Error;

/// The use cases behind the router.
pub struct App {
    /// Finds the key of a request.
    pub authenticator: Authenticator,
    /// Stores its beat.
    pub recorder: Recorder,
    /// Answers `/v1/status`.
    pub health: Health,
    /// What `/v1/status` names, where it is known: a program with access to the database can compare.
    pub database: Option<Incarnation>,
    /// What `/v1/status` says of the program that answers.
    pub program: Option<Program>,
    /// How many beats each key may send.
    pub limit: RateLimit<KeyId>,
    /// Counts requests without a valid key, by their address.
    pub refusals: Arc<Refusals>,
    /// Asked once a request.
    pub clock: Arc<dyn Clock>,
    /// Logs failures, once per cause.
    pub troubles: Arc<Troubles>,
    /// Places for [long bodies](limits::SMALL_BODY_BYTES).
    pub large_bodies: Semaphore,
}

impl App {
    /// Records beats of `region` into these ports. Keys are cached by the policy `keys`; each may send `limit` beats a
    /// second, or any number.
    #[must_use]
    pub fn new(
        ports: IngestPorts,
        region: Region,
        keys: CachePolicy,
        limit: Option<NonZeroU32>,
        troubles: Arc<Troubles>,
    ) -> Self {
        Self {
            authenticator: Authenticator::new(ports.keys, keys, troubles.clone()),
            recorder: Recorder::new(ports.heartbeats.clone(), region),
            health: Health::new(ports.heartbeats, ports.topic),
            database: None,
            program: None,
            limit: RateLimit::new(limit, limits::KEY_BURST_SECONDS),
            refusals: Arc::default(),
            clock: ports.clock,
            troubles,
            large_bodies: Semaphore::new(limits::LARGE_BODIES),
        }
    }
}

/// A program, by the version and the commit that it was built of.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Such as `0.1.0`.
    pub version: &'static str,
    /// Such as `0d10dc84c91f`.
    pub commit: &'static str,
}

/// The address of the client, as an extension of its request. Servers that know it add it.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

/// An extension of the response to a beat that was recorded: its key is valid.
#[derive(Clone, Copy, Debug)]
pub struct Recorded;

/// The prefix of paths that name the host.
const BY_PATH: &str = "/v1/heartbeat/";

/// All routes over `app`.
pub fn router(app: App) -> Router {
    // `get` serves HEAD as well: it records like GET, without the body of the response.
    let by_path = || {
        on(
            MethodFilter::GET
                .or(MethodFilter::POST)
                .or(MethodFilter::PUT),
            beat::by_path,
        )
    };
    let routes = Router::new()
        .route("/v1/heartbeat", post(beat::by_body))
        // Misspelt since 2018, in crontabs that will never be edited.
        .route("/v1/hearbeat", post(beat::by_body))
        // Without a name: refused with a reason rather than as an unknown path.
        .route(BY_PATH, by_path())
        .route("/v1/heartbeat/{*path}", by_path())
        .route("/v1/status", get(status::status));
    // Paths of Amazon API Gateway may begin with the name of a stage, and machines that beat there keep their paths. It is
    // empty in an address that ends with a slash.
    let with_stage = routes.clone();
    routes
        .nest("/{stage}", with_stage)
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(from_fn(answer::guard))
        .with_state(Arc::new(app))
}
