//! As much of SNS as the adapters ask for, in memory: `dynoxide` has none. What SNS delivers is moto's to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The fields of a request.
pub(crate) type Form = HashMap<String, String>;

/// Topics without anybody behind them.
#[derive(Clone, Default)]
pub(crate) struct Sns {
    subscribed: Arc<Mutex<u64>>,
    accepted: Arc<Mutex<Vec<Form>>>,
}

/// What a request says.
pub(crate) fn form(body: &str) -> Form {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

impl Sns {
    /// Every publish that was accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<Form> {
        self.accepted.lock().unwrap().clone()
    }

    /// The status and body of the answer to a form of the Query protocol.
    pub(crate) fn answer(&self, form: &Form) -> (u16, String) {
        let topic = |name: &str| format!("arn:aws:sns:eu-west-1:123456789012:{name}");
        let action = form["Action"].as_str();
        let result = match action {
            "CreateTopic" => format!("<TopicArn>{}</TopicArn>", topic(&form["Name"])),
            "GetTopicAttributes" => "<Attributes></Attributes>".to_owned(),
            "Publish" => {
                self.accepted.lock().unwrap().push(form.clone());
                "<MessageId>1</MessageId>".to_owned()
            }
            "Subscribe" => {
                let mut subscribed = self.subscribed.lock().unwrap();
                *subscribed += 1;
                format!("<SubscriptionArn>{}:{subscribed}</SubscriptionArn>", form["TopicArn"])
            }
            "Unsubscribe" => String::new(),
            other => panic!("the adapters never ask for {other}"),
        };
        (200, format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"))
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
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>said</Message></Error>");
    (status, format!("<ErrorResponse>{error}</ErrorResponse>"))
}
