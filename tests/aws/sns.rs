//! As much of SNS and SQS as the adapters ask for, in memory: `dynoxide` has neither. What SNS delivers is moto's to show.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// The fields of a request.
pub(crate) type Form = HashMap<String, String>;

/// Topics without anybody behind them.
#[derive(Clone, Default)]
pub(crate) struct Sns {
    subscribed: Arc<Mutex<u64>>,
    accepted: Arc<Mutex<Vec<Form>>>,
    /// Echoes with their receipts; they come again until they are deleted.
    echoes: Arc<Mutex<Vec<(String, String)>>>,
    /// Whether they are late.
    held: Arc<AtomicBool>,
}

/// What a request says.
pub(crate) fn form(body: &str) -> Form {
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

impl Sns {
    /// Every publish that was accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<Form> {
        self.accepted.lock().unwrap().clone()
    }

    /// From now on echoes wait, or wait no more.
    pub(crate) fn hold_echoes(&self, hold: bool) {
        self.held.store(hold, Ordering::SeqCst);
    }

    /// The answer of SQS, if `operation` is one of it.
    pub(crate) fn answer_as_queue(&self, operation: &str, body: &str) -> Option<Value> {
        let mut echoes = self.echoes.lock().unwrap();
        Some(match operation {
            "CreateQueue" | "GetQueueUrl" => json!({"QueueUrl": "https://sqs.invalid/echo"}),
            "ReceiveMessage" if self.held.load(Ordering::SeqCst) => json!({}),
            "ReceiveMessage" => {
                let message = |(receipt, body): &(String, String)| json!({"MessageId": receipt, "ReceiptHandle": receipt, "Body": body});
                json!({"Messages": echoes.iter().take(10).map(message).collect::<Vec<_>>()})
            }
            "DeleteMessageBatch" => {
                let request: Value = serde_json::from_str(body).unwrap();
                let entries = request["Entries"].as_array().unwrap();
                echoes.retain(|(receipt, _)| {
                    !entries
                        .iter()
                        .any(|entry| entry["ReceiptHandle"] == **receipt)
                });
                json!({"Successful": [], "Failed": []})
            }
            _ => return None,
        })
    }

    /// The status and body of the answer to a form of the Query protocol.
    pub(crate) fn answer(&self, form: &Form) -> (u16, String) {
        let topic = |name: &str| format!("arn:aws:sns:eu-west-1:123456789012:{name}");
        let action = form["Action"].as_str();
        let result = match action {
            "CreateTopic" => format!("<TopicArn>{}</TopicArn>", topic(&form["Name"])),
            "GetTopicAttributes" | "GetSubscriptionAttributes" => {
                "<Attributes></Attributes>".to_owned()
            }
            "Publish" => {
                let message: Value = serde_json::from_str(&form["Message"]).unwrap();
                let mut accepted = self.accepted.lock().unwrap();
                accepted.push(form.clone());
                let echo = (
                    accepted.len().to_string(),
                    message["default"].as_str().unwrap().to_owned(),
                );
                self.echoes.lock().unwrap().push(echo);
                "<MessageId>1</MessageId>".to_owned()
            }
            "Subscribe" => {
                let mut subscribed = self.subscribed.lock().unwrap();
                *subscribed += 1;
                format!(
                    "<SubscriptionArn>{}:{subscribed}</SubscriptionArn>",
                    form["TopicArn"]
                )
            }
            "Unsubscribe" => String::new(),
            other => panic!("the adapters never ask for {other}"),
        };
        (
            200,
            format!(
                "<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
            ),
        )
    }
}

/// The answer of SNS to a request that it refuses.
pub(crate) fn refusal(code: &str) -> (u16, String) {
    // "Common errors" and the errors of `Publish` in the SNS API reference.
    let status = match code {
        "NotFound" => 404,
        "Throttled" => 429,
        "InternalError" => 500,
        _ => 403,
    };
    let error =
        format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>said</Message></Error>");
    (status, format!("<ErrorResponse>{error}</ErrorResponse>"))
}
