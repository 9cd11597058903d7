//! For tests only: what the function `ingest` does with an event, over any router.

use std::sync::Arc;
use std::time::Duration;

use hb_http::Router;
use hb_service::ports::Clock;
use serde_json::Value;

use crate::ingest::Ingest;

/// Answers `event` in a minute; an error that is no answer as text.
pub async fn answer(router: Router, clock: Arc<dyn Clock>, event: Value) -> Result<Value, String> {
    let deadline = clock.now().plus(Duration::from_mins(1));
    let ingest = Ingest {
        router,
        clock,
        stage: "dev".to_owned(),
        meter: Arc::default(),
        refusals: std::sync::Mutex::default(),
        print: Arc::new(|_line| {}),
    };
    let answer = ingest.answer(event, deadline).await;
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}
