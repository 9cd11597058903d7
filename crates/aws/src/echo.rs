//! Echoes on SQS: a queue that listens to the topic without a filter, and so holds a copy of all that was accepted.
//!
//! A message that was received is hidden for a while (the queue's visibility timeout) and comes again unless it is
//! deleted. One that cannot be read is left: the queue moves it to its dead-letter queue after a few times, if it has one.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use hb_domain::Notice;
use hb_service::ports::{Echo, Echoes, Page, PortError, PortResult, Unreadable};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::client::Clients;
use crate::error;
use crate::item::Cause;
use crate::meter::{Meter, Operation};
use crate::names::Stage;

/// Most messages of one request (Amazon SQS API reference, `ReceiveMessage` and `DeleteMessageBatch`).
const BATCH: usize = 10;

/// The echo queue of a stage.
#[derive(Clone, Debug)]
pub struct SqsEchoes {
    client: Client,
    name: String,
    url: Arc<OnceCell<String>>,
    meter: Arc<Meter>,
}

impl SqsEchoes {
    /// The echo queue of `stage`.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            client: clients.sqs.clone(),
            name: stage.echo(),
            url: Arc::default(),
            meter: clients.meter.clone(),
        }
    }

    fn what(&self) -> String {
        format!("queue {}", self.name)
    }

    /// The queue's address, asked for once.
    async fn url(&self) -> PortResult<&str> {
        let ask = async || {
            self.meter.called(Operation::GetQueueUrl);
            let answer = self
                .client
                .get_queue_url()
                .queue_name(&self.name)
                .send()
                .await;
            let output = answer
                .map_err(|cause| error::trouble(&self.what(), Operation::GetQueueUrl, &cause))?;
            output
                .queue_url
                .ok_or_else(|| PortError::unavailable(self.what(), "it has no URL"))
        };
        self.url.get_or_try_init(ask).await.map(String::as_str)
    }
}

#[async_trait]
impl Echoes for SqsEchoes {
    async fn receive(&self) -> PortResult<Page<Echo>> {
        let url = self.url().await?;
        self.meter.called(Operation::ReceiveMessage);
        let request = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10);
        let answer = request.send().await;
        let output = answer
            .map_err(|cause| error::trouble(&self.what(), Operation::ReceiveMessage, &cause))?;
        let mut page = Page::default();
        for message in output.messages.unwrap_or_default() {
            match echo(&message) {
                Ok(echo) => page.items.push(echo),
                Err(cause) => {
                    page.unreadable.push(Unreadable {
                        key: message.message_id.unwrap_or_default(),
                        cause,
                    });
                }
            }
        }
        Ok(page)
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        let url = self.url().await?;
        for batch in receipts.chunks(BATCH) {
            let entries: Result<Vec<_>, _> = (0..)
                .zip(batch)
                .map(|(n, receipt): (u32, _)| {
                    let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
                    entry.receipt_handle(receipt).build()
                })
                .collect();
            let entries = entries.map_err(|cause| PortError::unavailable(self.what(), cause))?;
            self.meter.called(Operation::DeleteMessage);
            let request = self
                .client
                .delete_message_batch()
                .queue_url(url)
                .set_entries(Some(entries));
            let answer = request.send().await;
            let output = answer
                .map_err(|cause| error::trouble(&self.what(), Operation::DeleteMessage, &cause))?;
            if let Some(failed) = output.failed.first() {
                let cause = format!(
                    "{} messages were not deleted: {}",
                    output.failed.len(),
                    failed.code
                );
                return Err(PortError::unavailable(self.what(), cause));
            }
        }
        Ok(())
    }
}

/// Reads a message: the notice itself, or in the envelope that SNS puts around it. What is wrong with one never quotes
/// it.
fn echo(message: &Message) -> Result<Echo, Cause> {
    let body = message.body.as_deref().unwrap_or_default();
    let json =
        |text: &str| serde_json::from_str::<Value>(text).map_err(|_| "it is no JSON".to_owned());
    let mut notice = json(body)?;
    if let Some(inner) = notice.get("Message").and_then(Value::as_str) {
        notice = json(inner)?;
    }
    let (subject, attempt) = Notice::read_subject(&notice).ok_or("it is no notice")?;
    let receipt = message.receipt_handle.clone().ok_or("it has no receipt")?;
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
    fn a_copy_is_read_with_and_without_an_envelope() {
        let notice = r#"{"id": "K7Q2M9XA4T", "attempt": 2, "fleet": "main", "digest": false,
            "hosts": [{"hostId": "web-01", "epoch": 7}]}"#;
        let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
        let expected = Echo {
            subject: Subject::Host(key, 7),
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
    fn other_messages_are_told_without_their_words() {
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
