//! The topic on SNS.
//!
//! SNS does not recognise a notice that it already accepted, so each failed publish must be classified with care:
//! refused, or unknown.

use std::collections::HashMap;
use std::error::Error;

use async_trait::async_trait;
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::MessageAttributeValue;
use hb_domain::{Notice, Publication};
use hb_service::ports::{PortResult, Topic};
use hyper_util::client::legacy;
use tracing::instrument;

use crate::client::Clients;
use crate::error;
use crate::find::TopicAddress;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};

/// The message attributes on which subscriptions filter.
pub(crate) const KIND: &str = "kind";
pub(crate) const FLEET: &str = "fleet";
pub(crate) const SEVERITY: &str = "severity";
pub(crate) const SITES: &str = "sites";
/// Among the sites of a test notice, which reaches everybody. No site has this name.
pub(crate) const TEST: &str = "#test";

/// The topic of a stage, in the region of the clients.
#[derive(Clone, Debug)]
pub struct SnsTopic {
    clients: Clients,
    address: TopicAddress,
}

impl SnsTopic {
    /// Finds the ARN of the topic on first use.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            clients: clients.clone(),
            address: TopicAddress::new(clients, stage),
        }
    }

    /// The same on a topic whose ARN is known.
    #[must_use]
    pub fn at(self, arn: TopicArn) -> Self {
        Self {
            address: self.address.known(arn),
            ..self
        }
    }
}

#[async_trait]
impl Topic for SnsTopic {
    #[instrument(level = "debug", skip_all, fields(
        id = notice.id.as_str(), attempt = notice.attempt, kind = notice.kind.as_str()))]
    async fn publish(&self, notice: &Notice) -> Publication {
        let arn = match self.address.arn().await {
            Ok(arn) => arn,
            // Nothing was sent.
            Err(error) => return Publication::Refused(error.to_string()),
        };
        self.clients.meter.called(Operation::Publish);
        let request = self.clients.publish.publish().topic_arn(arn);
        let answer = request
            .message_structure("json")
            .message(message(notice))
            .subject(notice.subject_line())
            .set_message_attributes(Some(attributes(notice)))
            .send()
            .await;
        match answer {
            Ok(_) => Publication::Accepted,
            Err(error) => outcome(&self.address.what(), &error),
        }
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn check(&self) -> PortResult<()> {
        let operation = Operation::GetTopicAttributes;
        let request = self.clients.sns_quick.get_topic_attributes();
        let answer = request.topic_arn(self.address.arn().await?).send().await;
        error::settle(&self.clients.meter, &self.address.what(), operation, answer).map(drop)
    }
}

/// The text for each protocol. Machines (`http`, `https`, `sqs`, `lambda`, and protocols that SNS may add) get the
/// default, so that the JSON counts once towards the 256 KiB of a message.
fn message(notice: &Notice) -> String {
    serde_json::json!({
        "default": notice.json().to_string(), "email": notice.email(), "sms": notice.sms(),
    })
    .to_string()
}

/// The attributes that subscriptions filter on, and those that identify a second copy.
fn attributes(notice: &Notice) -> HashMap<String, MessageAttributeValue> {
    let severity = notice.severity().as_str();
    let attempt = notice.attempt.to_string();
    let sites = sites(notice);
    let mut values = vec![
        (KIND, "String", notice.kind.as_str()),
        (FLEET, "String", notice.fleet.as_str()),
        ("id", "String", notice.id.as_str()),
        ("attempt", "Number", &attempt),
        (SEVERITY, "String", severity),
    ];
    values.extend(sites.as_deref().map(|sites| (SITES, "String.Array", sites)));
    values
        .into_iter()
        .filter_map(|(name, data_type, value)| {
            let value = MessageAttributeValue::builder()
                .data_type(data_type)
                .string_value(value);
            // `build` fails only without a data type.
            value.build().ok().map(|value| (name.to_owned(), value))
        })
        .collect()
}

/// The sites of the notice and those above them, each with its slash: one of them is the host prefix of each subscription
/// that wants it.
fn sites(notice: &Notice) -> Option<String> {
    let test = notice.test.then_some(TEST);
    let values: Vec<_> = notice.site_prefixes().into_iter().chain(test).collect();
    // An empty array matches nothing, as no attribute does.
    (!values.is_empty()).then(|| serde_json::json!(values).to_string())
}

/// The outcome of a publish that was not accepted. Refused only when the topic certainly does not have the notice: it
/// said so, or nothing was sent. A wrong guess loses a notice or sends it twice.
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
    let explanation = error::explain(what, Operation::Publish, cause);
    let text = format!("{what}: {explanation}");
    if refused {
        Publication::Refused(text)
    } else {
        Publication::Unknown(text)
    }
}

/// Whether no connection was made, so that no request was sent.
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
        Beat, Digest, Entry, Fleet, Heartbeat, HostId, HostKey, Kind, NoticeId, Region, Rules,
        Timestamp, decide, digest_parts, limits,
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
    fn message_has_a_text_for_each_protocol() {
        let notice = notice();
        let message: serde_json::Value = serde_json::from_str(&message(&notice)).unwrap();
        let machine: serde_json::Value =
            serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(machine, notice.json());
        assert_eq!(message["email"], notice.email());
        assert_eq!(message["sms"], notice.sms());
    }

    #[test]
    fn the_largest_digest_fits_into_one_message() {
        let alone = |n: usize| format!("{n:04}{}", "x".repeat(56));
        assert!(largest(alone) > 1_600, "bytes are the limit, not hosts");
        // Each at a site of its own, and two at each.
        for a_site in 1..3 {
            let at_site = |n: usize| format!("{:04}{}/{n:04}", n / a_site, "x".repeat(56));
            assert!(largest(at_site) > 700);
        }
    }

    /// How many hosts with these names fit into a digest, whose message is small enough.
    fn largest(name: impl Fn(usize) -> String) -> usize {
        let at = Timestamp::from_millis(1_700_000_000_123).unwrap();
        let entries: Vec<_> = (0..limits::DIGEST_HOSTS)
            .map(|n| {
                let host: HostId = name(n).parse().unwrap();
                let entry = Entry::new(HostKey::new(Fleet::main(), host));
                let beat = Beat::ok(at);
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
        let ready = open
            .frozen(&joined, at)
            .unwrap()
            .with_sites(|_| Some(u32::MAX));
        let notice = Notice::of_digest(&ready, &Region::local()).unwrap();
        let attributes = attributes(&notice).into_values();
        let sites: usize = attributes
            .filter_map(|value| value.string_value)
            .map(|value| value.len())
            .sum();
        // Names and types of attributes count as well (Amazon SNS API reference, "Publish").
        let all = message(&notice).len() + sites + 1_024;
        assert!(all <= limits::NOTICE_BYTES, "{all}");
        notice.count()
    }

    #[test]
    fn attributes_carry_what_filters_need() {
        let found = attributes(&notice());
        let attribute = |name: &str| {
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
            assert_eq!(attribute(name), (data_type.to_owned(), value.to_owned()));
        }
        let calm = Notice {
            kind: Kind::Recovered,
            ..notice()
        };
        assert_eq!(attributes(&calm)["severity"].string_value(), Some("info"));
        assert!(
            !attributes(&calm).contains_key("sites"),
            "web-01 is at none"
        );
    }

    #[test]
    fn sites_are_an_attribute_and_a_test_is_among_them() {
        let members = ["a/1", "a/2", "b/c/1", "web-01"].map(|host| serde_json::json!([host, 1, 0]));
        let digest: Notice = serde_json::from_value(serde_json::json!({
            "id": "K7Q2M9XA4T", "attempt": 1, "kind": "missing", "fleet": "lab", "members": members,
            "at": 1_700_000_061_000_i64, "region": "eu-west-1",
        }))
        .unwrap();
        let sites = |notice: &Notice| {
            let value = attributes(notice)["sites"].clone();
            (
                value.data_type().to_owned(),
                value.string_value().unwrap().to_owned(),
            )
        };
        let array = |json: &str| ("String.Array".to_owned(), json.to_owned());
        assert_eq!(sites(&digest), array(r#"["a/","b/","b/c/"]"#));
        let test = Notice::test(
            Fleet::main(),
            Kind::Missing,
            Region::local(),
            Timestamp::MIN,
        );
        assert_eq!(sites(&test), array(r##"["#test"]"##));
    }
}
