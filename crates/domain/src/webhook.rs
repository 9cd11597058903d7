//! What a webhook on one machine has beyond its address: the secrets that sign what it gets, as [Standard
//! Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) describe it,
//! and whether it may lead where others must not.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::limits;
use crate::time::Timestamp;

/// What every secret begins with, by the specification.
const PREFIX: &str = "whsec_";

/// A secret that signs webhooks and that their receiver knows: 24 to 64 bytes. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookSecret(Vec<u8>);

/// A string that is not a [`WebhookSecret`]. Never contains a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the secret of a webhook: whsec_ and 24 to 64 bytes in base64")]
pub struct WebhookSecretError;

impl WebhookSecret {
    /// The secret made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes.to_vec())
    }

    /// The whole secret, as its receiver gets it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64.encode(&self.0))
    }

    /// The signature of a message; `None` for no secret that this type can hold.
    fn signature(&self, signed: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(signed.as_bytes());
        Some(format!(
            "v1,{}",
            BASE64.encode(&mac.finalize().into_bytes())
        ))
    }
}

impl FromStr for WebhookSecret {
    type Err = WebhookSecretError;

    fn from_str(text: &str) -> Result<Self, WebhookSecretError> {
        let base64 = text.strip_prefix(PREFIX).ok_or(WebhookSecretError)?;
        let bytes = BASE64
            .decode(base64.as_bytes())
            .map_err(|_| WebhookSecretError)?;
        (24..=64)
            .contains(&bytes.len())
            .then_some(Self(bytes))
            .ok_or(WebhookSecretError)
    }
}

impl TryFrom<String> for WebhookSecret {
    type Error = WebhookSecretError;

    fn try_from(text: String) -> Result<Self, WebhookSecretError> {
        text.parse()
    }
}

impl From<WebhookSecret> for String {
    fn from(secret: WebhookSecret) -> Self {
        secret.reveal()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

/// What a webhook has beyond its address. The default is unsigned, as subscriptions of earlier versions are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Whether it may lead to an address that is [off limits](crate::off_limits).
    #[serde(default)]
    pub allow_private: bool,
    /// The newest first, which signs for ever.
    #[serde(default)]
    secrets: Vec<Signer>,
}

/// A secret, and until when it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signer {
    secret: WebhookSecret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl Webhook {
    /// A new webhook, signed with `secret` if there is one.
    #[must_use]
    pub fn new(allow_private: bool, secret: Option<WebhookSecret>) -> Self {
        let signer = |secret| Signer {
            secret,
            until: None,
        };
        Self {
            allow_private,
            secrets: secret.into_iter().map(signer).collect(),
        }
    }

    /// The newest secret; `None` when it is unsigned.
    #[must_use]
    pub fn secret(&self) -> Option<&WebhookSecret> {
        self.secrets.first().map(|signer| &signer.secret)
    }

    /// Signs with `secret` from `now` on, and with those of before for `overlap` at most. Of those, at most
    /// [`limits::WEBHOOK_SECRETS`] are kept, the newest.
    #[must_use]
    pub fn rotated(mut self, secret: WebhookSecret, now: Timestamp, overlap: Duration) -> Self {
        let end = now.plus(overlap);
        for signer in &mut self.secrets {
            signer.until = Some(signer.until.map_or(end, |until| until.min(end)));
        }
        self.secrets.retain(|signer| signer.signs(now));
        self.secrets.truncate(limits::WEBHOOK_SECRETS);
        let mut secrets = Self::new(self.allow_private, Some(secret)).secrets;
        secrets.append(&mut self.secrets);
        Self { secrets, ..self }
    }

    /// The headers of the message `id` with this body, sent at `at`, with a signature by each secret that signs then.
    /// None when it is unsigned.
    #[must_use]
    pub fn headers(&self, id: &str, at: Timestamp, body: &str) -> Vec<(&'static str, String)> {
        let seconds = at.as_millis().div_euclid(1_000);
        let signed = format!("{id}.{seconds}.{body}");
        let signers = self.secrets.iter().filter(|signer| signer.signs(at));
        let signatures: Vec<_> = signers
            .filter_map(|signer| signer.secret.signature(&signed))
            .collect();
        if signatures.is_empty() {
            return Vec::new();
        }
        vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ]
    }
}

impl Signer {
    fn signs(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn secret(n: u8) -> WebhookSecret {
        WebhookSecret::from_random([n; 32])
    }

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_millis(1_614_265_330_999)
            .unwrap()
            .plus(HOUR * hours)
    }

    fn signatures(webhook: &Webhook, hours: u32) -> Vec<String> {
        let headers = webhook.headers("id", at(hours), "{}");
        let signatures = headers.last().map(|(_, value)| value.split(' '));
        signatures
            .into_iter()
            .flatten()
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Which of the secrets sign `hours` after the beginning.
    fn signers(webhook: &Webhook, hours: u32) -> Vec<u8> {
        let alone = |n: &u8| signatures(&Webhook::new(false, Some(secret(*n))), hours);
        let by = |signature: &String| {
            (0..10)
                .find(|n| alone(n) == std::slice::from_ref(signature))
                .unwrap()
        };
        signatures(webhook, hours).iter().map(by).collect()
    }

    /// The example that the libraries of Standard Webhooks test with.
    #[test]
    fn signs_as_the_published_example() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let webhook = Webhook::new(false, Some(secret));
        let headers = webhook.headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at(0),
            r#"{"test": 2432232314}"#,
        );
        let expected = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ];
        assert_eq!(
            headers,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_secret_that_was_replaced_signs_until_its_overlap_ends() {
        let webhook = Webhook::new(true, Some(secret(1))).rotated(secret(2), at(0), HOUR * 24);
        assert!(webhook.allow_private);
        assert_eq!(webhook.secret(), Some(&secret(2)));
        assert_eq!(signers(&webhook, 0), [2, 1]);
        assert_eq!(signers(&webhook, 23), [2, 1]);
        assert_eq!(signers(&webhook, 24), [2]);
        let again = webhook.rotated(secret(3), at(12), HOUR * 24);
        assert_eq!(signers(&again, 23), [3, 2, 1]);
        assert_eq!(signers(&again, 24), [3, 2], "its own end, not a later one");
        assert_eq!(signers(&again, 36), [3]);
        let at_once = again.rotated(secret(4), at(13), Duration::ZERO);
        assert_eq!(signers(&at_once, 13), [4], "no overlap ends all others");
    }

    #[test]
    fn the_number_of_secrets_is_bounded_and_the_newest_are_kept() {
        let webhook = (1..9).fold(Webhook::default(), |webhook, n| {
            webhook.rotated(secret(n), at(0), HOUR)
        });
        assert_eq!(signers(&webhook, 0), [8, 7, 6, 5]);
        assert_eq!(webhook.secrets.len(), 1 + limits::WEBHOOK_SECRETS);
    }

    #[test]
    fn an_unsigned_webhook_has_no_signature_until_it_gets_a_secret() {
        let webhook = Webhook::default();
        assert_eq!(webhook.headers("id", at(0), "{}"), []);
        let signed = webhook.rotated(secret(1), at(0), HOUR);
        assert_eq!(signers(&signed, 1_000), [1]);
    }

    #[test]
    fn what_is_stored_is_read_back_and_a_sample_stays_readable() {
        let webhook = Webhook::new(true, Some(secret(1))).rotated(secret(2), at(0), HOUR);
        let stored = serde_json::to_string(&webhook).unwrap();
        assert_eq!(serde_json::from_str::<Webhook>(&stored).unwrap(), webhook);
        let sample = r#"{"allowPrivate":true,"secrets":[
            {"secret":"whsec_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="},
            {"secret":"whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","until":1614268930999}]}"#;
        assert_eq!(serde_json::from_str::<Webhook>(sample).unwrap(), webhook);
        assert_eq!(
            serde_json::from_str::<Webhook>("{}").unwrap(),
            Webhook::default()
        );
    }

    #[test]
    fn secrets_are_hidden_and_wrong_ones_refused_without_showing_them() {
        let webhook = Webhook::new(false, Some(secret(1)));
        let hidden = BASE64.encode(&[1; 32]);
        assert!(!format!("{webhook:?}").contains(&hidden));
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            "whsec_AQEBAQ==",
            &format!("whsec_{}", BASE64.encode(&[1; 65])),
        ] {
            assert_eq!(
                bad.parse::<WebhookSecret>(),
                Err(WebhookSecretError),
                "{bad}"
            );
        }
    }
}
