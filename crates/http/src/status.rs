//! The health check.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hb_service::Unhealthy;

use crate::error::{Dependency, Error};
use crate::{App, answer};

/// The activity in the log.
const CHECKING: &str = "checking health";

/// `GET /v1/status`, for load balancers and people: needs no key, so it names at most the dependency that fails, the program,
/// and the database by its random id.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let now = app.clock.now();
    match app.health.check(now).await {
        Ok(()) => {
            app.troubles.worked(CHECKING, now);
            Ok(answer::healthy(app.program.as_ref(), app.database.as_ref()))
        }
        Err(error) => {
            app.troubles.failed(CHECKING, &error, now);
            Err(Error::Unavailable(match *error {
                Unhealthy::Beats(_) => Dependency::Beats,
                Unhealthy::Topic(_) => Dependency::Topic,
            }))
        }
    }
}
