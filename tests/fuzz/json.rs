//! The body of a beat, whose members are read leniently.

use hb_domain::{HostId, Interval, Message, Signal};
use serde_json::{Map, Value};

use crate::world::{Answer, World, request, run};

/// Sends any body. What a strict reader of JSON finds in it must be what is stored.
pub fn json(data: &[u8]) {
    run(async {
        let world = World::new().await;
        let Some(request) = request("POST", "/v1/heartbeat", data) else {
            return;
        };
        let answer = world.send(request).await;
        let stored = world.stored().await;
        assert_eq!(answer.status == 200, stored.is_some());
        let Ok(Value::Object(members)) = serde_json::from_slice(data) else {
            return;
        };
        let says = |name: &&str| members.get(*name).is_some_and(|value| !value.is_null());
        if OTHERS.iter().any(says) {
            return;
        }
        match (expected(&members), stored) {
            (
                Some(Expected {
                    host,
                    interval,
                    signal,
                    message,
                }),
                Some((stored, heartbeat)),
            ) => {
                assert_eq!(host.to_string(), stored);
                assert_eq!(interval, heartbeat.interval);
                let failed = signal == Signal::Fail;
                assert_eq!(failed, heartbeat.signal == Signal::Fail);
                let kept = heartbeat.failure.and_then(|failure| failure.message);
                assert_eq!(message, kept);
            }
            (Some(_), None) => assert!(refused_for_other_reasons(&answer), "{answer:?}"),
            (None, stored) => assert_eq!(stored, None),
        }
    });
}

/// Members that this reader knows nothing of.
const OTHERS: [&str; 8] = [
    "interval", "grace", "graceMs", "maxRun", "maxRunMs", "rid", "schedule", "tz",
];

struct Expected {
    host: HostId,
    interval: Interval,
    signal: Signal,
    message: Option<Message>,
}

/// What the members say; `None` if one is wrong, or the host is missing.
fn expected(members: &Map<String, Value>) -> Option<Expected> {
    let member = |name| members.get(name).filter(|value| !value.is_null());
    let interval = match member("intervalMs") {
        None => Interval::default(),
        Some(value) => {
            let whole = |float: &f64| float.fract() == 0.0 && (1e3..=1e11).contains(float);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range, and whole"
            )]
            let float = || value.as_f64().filter(whole).map(|float| float as u64);
            Interval::from_millis(value.as_u64().or_else(float)?).ok()?
        }
    };
    let signal = match member("status") {
        None => Signal::Ok,
        Some(value) => match value.as_str()?.to_ascii_lowercase().as_str() {
            "success" => Signal::Ok,
            word => word.parse().ok()?,
        },
    };
    let message = match member("message") {
        None => None,
        Some(value) => Some(Message::from(value.as_str()?.to_owned())),
    };
    Some(Expected {
        host: member("hostId")?.as_str()?.parse().ok()?,
        interval,
        signal,
        message: message.filter(|message| signal == Signal::Fail && !message.is_empty()),
    })
}

/// A strict reader takes the last of two members, and knows no limits.
fn refused_for_other_reasons(answer: &Answer) -> bool {
    ["body_too_large", "duplicate_field", "host_denied"].contains(&answer.code().as_str())
}
