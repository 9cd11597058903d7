//! The topic on SNS. It cannot recognise a notice that it has, so what became of each publish is told apart with care.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::MessageAttributeValue;
use hb_domain::{Notice, Publication, Severity};
use hb_service::ports::{PortResult, Topic};
use hyper_util::client::legacy;

use crate::client::Clients;
use crate::error;
use crate::meter::{Meter, Operation};
use crate::names::TopicArn;

/// The name of the attribute with the notice's kind, on which subscriptions filter.
pub(crate) const KIND: &str = "kind";
/// The name of the attribute with the notice's fleet, likewise.
pub(crate) const FLEET: &str = "fleet";

/// The name of the attribute with the notice's severity, likewise.
pub(crate) const SEVERITY: &str = "severity";

/// The topic of a stage.
#[derive(Clone, Debug)]
pub struct SnsTopic {
    /// Tries once.
    publish: Client,
    /// For checks, which somebody waits for.
    quick: Client,
    arn: TopicArn,
    meter: Arc<Meter>,
}

impl SnsTopic {
    /// The topic at `arn`, as [`find_topic`](crate::find_topic) gives it.
    #[must_use]
    pub fn new(clients: &Clients, arn: TopicArn) -> Self {
        let (publish, quick) = (clients.publish.clone(), clients.sns_quick.clone());
        Self {
            publish,
            quick,
            arn,
            meter: clients.meter.clone(),
        }
    }

    fn what(&self) -> String {
        format!("topic {}", self.arn.name())
    }
}

#[async_trait]
impl Topic for SnsTopic {
    async fn publish(&self, notice: &Notice) -> Publication {
        self.meter.called(Operation::Publish);
        let request = self.publish.publish().topic_arn(self.arn.as_str());
        let answer = request
            .message_structure("json")
            .message(message(notice))
            .subject(notice.subject_line())
            .set_message_attributes(Some(attributes(notice)))
            .send()
            .await;
        match answer {
            Ok(_) => Publication::Accepted,
            Err(cause) => outcome(&self.what(), &cause),
        }
    }

    async fn check(&self) -> PortResult<()> {
        self.meter.called(Operation::GetTopicAttributes);
        let answer = self
            .quick
            .get_topic_attributes()
            .topic_arn(self.arn.as_str())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(cause) => Err(error::trouble(
                &self.what(),
                Operation::GetTopicAttributes,
                &cause,
            )),
        }
    }
}

/// What each protocol gets. Machines (`http`, `https`, `sqs`, `lambda`, and what SNS may learn) get the default, so
/// that the JSON counts once towards the 256 KiB of a message.
fn message(notice: &Notice) -> String {
    let (email, sms) = (notice.email(), notice.sms());
    serde_json::json!({"default": notice.json().to_string(), "email": email, "sms": sms})
        .to_string()
}

/// What subscriptions filter on, and what tells a second copy.
fn attributes(notice: &Notice) -> HashMap<String, MessageAttributeValue> {
    let severity = Severity::of(notice.kind).as_str();
    let attempt = notice.attempt.to_string();
    let values = [
        (KIND, "String", notice.kind.as_str()),
        (FLEET, "String", notice.fleet.as_str()),
        ("id", "String", notice.id.as_str()),
        ("attempt", "Number", &attempt),
        (SEVERITY, "String", severity),
    ];
    values
        .into_iter()
        .filter_map(|(name, data_type, value)| {
            let value = MessageAttributeValue::builder()
                .data_type(data_type)
                .string_value(value);
            // `build` misses nothing but the data type.
            value.build().ok().map(|value| (name.to_owned(), value))
        })
        .collect()
}

/// What became of a publish that was not accepted. Refused only when the topic surely does not have the notice: it
/// said so, or nothing was sent. To guess here would be a lost notice or a second one.
fn outcome<E>(what: &str, cause: &SdkError<E>) -> Publication
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let refused = match cause {
        SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(failure) => {
            failure.is_user() || never_connected(cause) || error::credentials(cause).is_some()
        }
        SdkError::ServiceError(answer) => answer.raw().status().is_client_error(),
        SdkError::ResponseError(answer) => answer.raw().status().is_client_error(),
        _ => false,
    };
    let words = format!("{what}: {}", error::words(what, Operation::Publish, cause));
    if refused {
        Publication::Refused(words)
    } else {
        Publication::Unknown(words)
    }
}

/// Whether there was no connection, and so no request.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    error::causes(error).any(|cause| {
        cause
            .downcast_ref::<legacy::Error>()
            .is_some_and(legacy::Error::is_connect)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hb_domain::{
        Beat, Digest, Entry, Fleet, Heartbeat, HostId, HostKey, Interval, Kind, NoticeId, Region,
        Rules, Signal, Timestamp, decide, digest_parts, limits,
    };

    use super::*;

    fn notice() -> Notice {
        serde_json::from_value(serde_json::json!({
            "id": "K7Q2M9XA4T", "attempt": 2, "kind": "missing", "fleet": "lab",
            "host": {"hostId": "web-01", "since": 1_700_000_060_000_i64, "lastBeat": 1_700_000_000_000_i64,
                     "interval": 60_000, "epoch": 7, "message": null, "before": null},
            "at": 1_700_000_061_000_i64, "region": "eu-west-1",
        }))
        .unwrap()
    }

    #[test]
    fn each_protocol_gets_its_own_rendering() {
        let notice = notice();
        let message: serde_json::Value = serde_json::from_str(&message(&notice)).unwrap();
        let machine: serde_json::Value =
            serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(machine, notice.json());
        assert_eq!(message["email"], notice.email());
        assert_eq!(message["sms"], notice.sms());
    }

    #[test]
    fn the_largest_digest_is_one_message() {
        let name = |n: usize| {
            format!("{n:04}{}", "x".repeat(56))
                .parse::<HostId>()
                .unwrap()
        };
        let at = Timestamp::from_millis(1_700_000_000_123).unwrap();
        let entries: Vec<_> = (0..limits::DIGEST_HOSTS)
            .map(|n| {
                let entry = Entry::new(HostKey::new(Fleet::main(), name(n)));
                let beat = Beat {
                    at,
                    interval: Interval::default(),
                    signal: Signal::Ok,
                    message: None,
                };
                let now = at.plus(Duration::from_hours(1));
                decide(&entry, &Heartbeat::new(beat), now, &Rules::default()).unwrap()
            })
            .collect();
        let parts = digest_parts(&entries.iter().collect::<Vec<_>>());
        let id: NoticeId = "K7Q2M9XA4T".parse().unwrap();
        let open = Digest::new(id.clone(), &parts[0], at).unwrap();
        let joined: Vec<_> = parts[0]
            .iter()
            .map(|entry| (*entry).clone().batched(&id, Timestamp::MAX).unwrap())
            .collect();
        let ready = open.frozen(&joined, at).unwrap();
        let notice = Notice::of_digest(&ready, &Region::local()).unwrap();
        assert!(
            notice.count() > 1_800,
            "the bytes are what limits it: {}",
            notice.count()
        );
        // Attributes count as well (Amazon SNS API reference, "Publish").
        assert!(
            message(&notice).len() + 1_024 <= limits::NOTICE_BYTES,
            "{}",
            message(&notice).len()
        );
    }

    #[test]
    fn attributes_say_what_filters_need() {
        let found = attributes(&notice());
        let told = |name: &str| {
            let value = &found[name];
            (
                value.data_type().to_owned(),
                value.string_value().unwrap().to_owned(),
            )
        };
        for (name, data_type, value) in [
            ("kind", "String", "missing"),
            ("fleet", "String", "lab"),
            ("id", "String", "K7Q2M9XA4T"),
            ("attempt", "Number", "2"),
            ("severity", "String", "critical"),
        ] {
            assert_eq!(told(name), (data_type.to_owned(), value.to_owned()));
        }
        let calm = Notice {
            kind: Kind::Recovered,
            ..notice()
        };
        assert_eq!(attributes(&calm)["severity"].string_value(), Some("info"));
    }
}
