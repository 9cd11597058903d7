//! As much of SNS as the adapters ask for, in memory: `dynoxide` has none. What SNS delivers is moto's to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Topics without anybody behind them.
#[derive(Clone, Default)]
pub(crate) struct Sns {
    subscribed: Arc<Mutex<u64>>,
}

impl Sns {
    /// The status and body of the answer to a form of the Query protocol.
    pub(crate) fn answer(&self, body: &str) -> (u16, String) {
        let form: HashMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).collect();
        let topic = |name: &str| format!("arn:aws:sns:eu-west-1:123456789012:{name}");
        let action = &*form["Action"];
        let result = match action {
            "CreateTopic" => format!("<TopicArn>{}</TopicArn>", topic(&form["Name"])),
            "GetTopicAttributes" => "<Attributes></Attributes>".to_owned(),
            "Publish" => "<MessageId>1</MessageId>".to_owned(),
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
