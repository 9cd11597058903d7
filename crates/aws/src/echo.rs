//! Echoes on SQS: a queue that subscribes to the topic without a filter, and so holds a copy of every accepted notice.
//!
//! A received message is hidden for the queue's visibility timeout, and returns unless it is deleted. Unreadable
//! messages are not deleted: the queue moves them to its dead-letter queue, if it has one.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use hb_domain::Notice;
use hb_service::ports::{Echo, Echoes, Page, PortError, PortResult, Unreadable};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::instrument;

use crate::client::Clients;
use crate::error::settle;
use crate::item::Cause;
use crate::meter::Operation;
use crate::names::Stage;

/// The most messages in one request (Amazon SQS API reference, `ReceiveMessage` and `DeleteMessageBatch`).
const BATCH: i32 = 10;

/// How long a thorough receive waits for a first message, in seconds. Any wait makes SQS ask all of its servers, where a
/// receive without one asks some of them and may find nothing although there are messages (Amazon SQS developer guide,
/// "Amazon SQS short and long polling").
const WAIT: i32 = 1;

/// The echo queue of a stage.
#[derive(Clone, Debug)]
pub struct SqsEchoes {
    clients: Clients,
    name: String,
    url: Arc<OnceCell<String>>,
}

impl SqsEchoes {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            clients: clients.clone(),
            name: stage.echo(),
            url: Arc::default(),
        }
    }

    fn what(&self) -> String {
        format!("queue {}", self.name)
    }

    /// The URL of the queue, asked for once.
    async fn url(&self) -> PortResult<&str> {
        let ask = async || {
            let request = self.clients.sqs.get_queue_url().queue_name(&self.name);
            let answer = request.send().await;
            settle(
                &self.clients.meter,
                &self.what(),
                Operation::GetQueueUrl,
                answer,
            )?
            .queue_url
            .ok_or_else(|| PortError::unavailable(self.what(), "it has no URL"))
        };
        self.url.get_or_try_init(ask).await.map(String::as_str)
    }

    async fn delete(&self, receipts: &[String]) -> PortResult<()> {
        let entries = (0..).zip(receipts).map(|(n, receipt): (u32, _)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(n.to_string())
                .receipt_handle(receipt)
                .build()
        });
        let entries = entries.collect::<Result<_, BuildError>>();
        let entries = entries.map_err(|error| PortError::unavailable(self.what(), error))?;
        let request = self.clients.sqs.delete_message_batch();
        let answer = request
            .queue_url(self.url().await?)
            .set_entries(Some(entries))
            .send()
            .await;
        let output = settle(
            &self.clients.meter,
            &self.what(),
            Operation::DeleteMessage,
            answer,
        )?;
        match output.failed.as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let count = output.failed.len();
                let cause = format!("{count} messages were not deleted: {}", first.code);
                Err(PortError::unavailable(self.what(), cause))
            }
        }
    }
}

#[async_trait]
impl Echoes for SqsEchoes {
    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn receive(&self, thorough: bool) -> PortResult<Page<Echo>> {
        let request = self.clients.sqs.receive_message();
        let answer = request
            .queue_url(self.url().await?)
            .max_number_of_messages(BATCH)
            .set_wait_time_seconds(thorough.then_some(WAIT))
            .send()
            .await;
        let output = settle(
            &self.clients.meter,
            &self.what(),
            Operation::ReceiveMessage,
            answer,
        )?;
        let mut page = Page::default();
        for message in output.messages.unwrap_or_default() {
            match echo(&message) {
                Ok(echo) => page.items.push(echo),
                Err(cause) => page.unreadable.push(Unreadable {
                    key: message.message_id.unwrap_or_default(),
                    cause,
                }),
            }
        }
        Ok(page)
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(count = receipts.len()))]
    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        for batch in receipts.chunks(BATCH.unsigned_abs() as usize) {
            self.delete(batch).await?;
        }
        Ok(())
    }
}

/// Reads a message: a notice, raw or in the envelope of SNS. Errors never quote the message.
pub(crate) fn echo(message: &Message) -> Result<Echo, Cause> {
    let body = message.body.as_deref().unwrap_or_default();
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|_| "not JSON".to_owned());
    let mut notice = json(body)?;
    if let Some(inner) = notice.get("Message").and_then(Value::as_str) {
        notice = json(inner)?;
    }
    let (subject, attempt) = Notice::read_subject(&notice).ok_or("not a notice")?;
    let receipt = message.receipt_handle.clone().ok_or("no receipt")?;
    Ok(Echo {
        subject,
        attempt,
        receipt,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Fleet, HostKey, Subject};

    use super::*;

    fn read(body: &str) -> Result<Echo, Cause> {
        echo(&Message::builder().body(body).receipt_handle("r").build())
    }

    #[test]
    fn notices_are_read_with_and_without_an_envelope() {
        let notice = r#"{"id": "K7Q2M9XA4T", "attempt": 2, "fleet": "main", "digest": false,
            "hosts": [{"hostId": "web-01", "epoch": 7}]}"#;
        let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
        let expected = Echo {
            subject: Subject::Host(key, 7, "K7Q2M9XA4T".parse().unwrap()),
            attempt: 2,
            receipt: "r".to_owned(),
        };
        assert_eq!(read(notice).unwrap(), expected);
        let envelope = serde_json::json!({"Type": "Notification", "Message": notice}).to_string();
        assert_eq!(read(&envelope).unwrap(), expected);
        let digest =
            r#"{"id": "K7Q2M9XA4T", "attempt": 1, "fleet": "main", "digest": true, "hosts": []}"#;
        assert_eq!(
            read(digest).unwrap().subject,
            Subject::Digest("K7Q2M9XA4T".parse().unwrap())
        );
    }

    #[test]
    fn errors_do_not_quote_the_message() {
        for other in [
            "",
            "secret",
            "{}",
            r#"{"Message": "secret"}"#,
            r#"{"id": "secret", "attempt": 1}"#,
        ] {
            assert!(!read(other).unwrap_err().contains("secret"), "{other}");
        }
    }
}
