//! The path and the query of a beat.

use hb_domain::Signal;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::world::{World, now, request, run};

/// Sends a beat to any path. What is stored of it can be written as another path, which says the same.
pub fn path(data: &[u8]) {
    let Ok(rest) = str::from_utf8(data) else {
        return;
    };
    run(async {
        let world = World::new().await;
        let Some(request_of_path) = request("GET", &format!("/v1/heartbeat/{rest}"), b"") else {
            return;
        };
        let answer = world.send(request_of_path).await;
        let stored = world.stored().await;
        assert_eq!(answer.status == 200, stored.is_some());
        let Some((host, heartbeat)) = stored else {
            return;
        };
        // What more a beat may say is in no path, and a start or a log is no beat.
        let more = heartbeat.grace.is_some()
            || heartbeat.run_id.is_some()
            || heartbeat.run.is_some()
            || heartbeat.log.is_some();
        if more || heartbeat.first != now() {
            return;
        }
        let signal = if heartbeat.signal == Signal::Ok {
            "0"
        } else {
            "fail"
        };
        let message = heartbeat
            .failure
            .as_ref()
            .and_then(|failure| failure.message.as_ref());
        let message = message.map_or("", |message| message.as_str());
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let target = format!(
            "/v1/heartbeat/{}/{signal}?intervalMs={}&message={}",
            encoded(&host),
            heartbeat.interval.as_millis(),
            encoded(message),
        );
        let again = World::new().await;
        let request = request("PUT", &target, b"").expect("a request");
        assert_eq!(again.send(request).await.status, 200, "{target}");
        assert_eq!(again.stored().await, Some((host, heartbeat)), "{target}");
    });
}
