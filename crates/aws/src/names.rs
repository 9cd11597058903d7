//! The names of tables, topics and queues on AWS.

use std::fmt;
use std::str::FromStr;

/// The longest name of a stage: the names of functions, at most 64 characters (AWS Lambda API reference), contain it.
pub const STAGE_CHARS: usize = 24;

/// The name of a deployment, such as `dev` or `prod`: 1 to 24 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stage(String);

/// A string that is not a [`Stage`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a stage: write 1 to {STAGE_CHARS} characters of a-z, 0-9 and -, such as dev")]
pub struct StageError(String);

impl Stage {
    pub fn parse(text: &str) -> Result<Self, StageError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=STAGE_CHARS).contains(&text.len()) && text.bytes().all(known);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(StageError(text.to_owned()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The table of heartbeats.
    #[must_use]
    pub fn heartbeats(&self) -> String {
        self.named("heartbeats")
    }

    #[must_use]
    pub fn ledger(&self) -> String {
        self.named("ledger")
    }

    /// The table of API keys.
    #[must_use]
    pub fn keys(&self) -> String {
        self.named("keys")
    }

    /// The table of sweeps and subscriptions.
    #[must_use]
    pub fn system(&self) -> String {
        self.named("system")
    }

    /// The topic of notices.
    #[must_use]
    pub fn notices(&self) -> String {
        self.named("notices")
    }

    /// The queue of echoes.
    #[must_use]
    pub fn echo(&self) -> String {
        self.named("echo")
    }

    fn named(&self, what: &str) -> String {
        format!("hb-{}-{what}", self.0)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Stage {
    type Err = StageError;
    fn from_str(text: &str) -> Result<Self, StageError> {
        Self::parse(text)
    }
}

/// The ARN of the topic: `arn:PARTITION:sns:REGION:ACCOUNT:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArn(String);

/// A string that is not the ARN of a table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not the ARN of a DynamoDB table")]
pub struct ArnError(String);

impl TopicArn {
    /// The topic of `stage`, in the partition, region and account of one of its tables.
    pub fn beside_table(stage: &Stage, table_arn: &str) -> Result<Self, ArnError> {
        let parts: Vec<_> = table_arn.splitn(6, ':').collect();
        match parts[..] {
            ["arn", partition, "dynamodb", region, account, _] => Ok(Self(format!(
                "arn:{partition}:sns:{region}:{account}:{}",
                stage.notices()
            ))),
            _ => Err(ArnError(table_arn.to_owned())),
        }
    }

    /// The ARN of `name` in `service`, in the same region and account.
    pub(crate) fn beside(&self, name: &str, service: &str) -> String {
        let parts: Vec<_> = self.0.splitn(6, ':').collect();
        match parts[..] {
            [arn, partition, _, region, account, _] => {
                format!("{arn}:{partition}:{service}:{region}:{account}:{name}")
            }
            _ => name.to_owned(),
        }
    }

    /// An ARN from SNS.
    #[cfg(feature = "testing")]
    pub(crate) fn given(arn: &str) -> Self {
        Self(arn.to_owned())
    }

    /// The topic of the same name in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let mut parts: Vec<_> = self.0.splitn(6, ':').collect();
        if let Some(place) = parts.get_mut(3) {
            *place = region;
        }
        Self(parts.join(":"))
    }

    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_the_stage() {
        let stage = Stage::parse("dev").unwrap();
        let names = [
            stage.heartbeats(),
            stage.ledger(),
            stage.keys(),
            stage.system(),
            stage.notices(),
            stage.echo(),
        ];
        let expected = [
            "hb-dev-heartbeats",
            "hb-dev-ledger",
            "hb-dev-keys",
            "hb-dev-system",
            "hb-dev-notices",
            "hb-dev-echo",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn invalid_stages_are_rejected() {
        for bad in ["", "Dev", "a b", "a/b", "prod.eu", &"x".repeat(25)] {
            assert_eq!(Stage::parse(bad), Err(StageError(bad.to_owned())));
        }
    }

    #[test]
    fn the_topic_shares_account_and_region_with_the_tables() {
        let stage = Stage::parse("prod").unwrap();
        let table = "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/hb-prod-ledger";
        let topic = TopicArn::beside_table(&stage, table).unwrap();
        assert_eq!(
            topic.as_str(),
            "arn:aws-cn:sns:cn-north-1:123456789012:hb-prod-notices"
        );
        assert_eq!(
            (topic.name(), topic.region()),
            ("hb-prod-notices", "cn-north-1")
        );
        let other = topic.in_region("cn-northwest-1");
        assert_eq!(
            other.as_str(),
            "arn:aws-cn:sns:cn-northwest-1:123456789012:hb-prod-notices"
        );
        for bad in [
            "",
            "arn:aws:sqs:eu-west-1:123456789012:queue",
            "arn:aws:dynamodb:eu-west-1",
        ] {
            assert!(TopicArn::beside_table(&stage, bad).is_err(), "{bad}");
        }
    }
}
