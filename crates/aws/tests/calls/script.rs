//! An HTTP client that records requests and answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::region::Region;
use hb_aws::{Clients, Stage, TopicArn};
use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Message, Signal, Timestamp};
use hb_service::ports::Heard;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status and body.
    Http(u16, String),
    /// The connection broke after the request was sent.
    Reset,
    /// No answer, ever.
    Silence,
}

impl Answer {
    /// A success of DynamoDB that was charged one unit.
    pub(crate) fn done(mut body: Value) -> Self {
        body["ConsumedCapacity"] = json!({"TableName": "t", "CapacityUnits": 1.0});
        Self::Http(200, body.to_string())
    }

    /// An error of DynamoDB.
    pub(crate) fn error(code: &str) -> Self {
        Self::Http(
            400,
            json!({"__type": format!("com.amazonaws#{code}"), "message": "said"}).to_string(),
        )
    }

    /// A failed condition, with the stored item.
    pub(crate) fn condition_failed(item: &Value) -> Self {
        let code = "com.amazonaws#ConditionalCheckFailedException";
        Self::Http(
            400,
            json!({"__type": code, "message": "said", "Item": item}).to_string(),
        )
    }

    /// An error of SNS.
    pub(crate) fn sns_error(status: u16, code: &str) -> Self {
        let fault =
            format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>said</Message></Error>");
        Self::Http(
            status,
            format!("<ErrorResponse>{fault}<RequestId>1</RequestId></ErrorResponse>"),
        )
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The operation: `UpdateItem`.
    pub(crate) operation: String,
    /// The body of a request to DynamoDB, null for others.
    pub(crate) json: Value,
    pub(crate) body: String,
}

/// A script and the requests so far. The last answer is repeated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    pub(crate) fn clients(&self) -> Clients {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(self.clone());
        Clients::new(&config.build())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requested operations, in order.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.asked()
            .into_iter()
            .map(|asked| asked.operation)
            .collect()
    }

    fn next(&self) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        let last = answers.len() == 1;
        if last {
            answers[0].clone()
        } else {
            answers.pop_front().expect("an answer")
        }
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let target = request
            .headers()
            .get("x-amz-target")
            .and_then(|target| target.rsplit('.').next());
        let action = body
            .split('&')
            .find_map(|pair| pair.strip_prefix("Action="));
        let operation = target.or(action).unwrap().to_owned();
        let json = serde_json::from_str(&body).unwrap_or_default();
        self.asked.lock().unwrap().push(Asked {
            operation,
            json,
            body,
        });
        let answer = self.next();
        HttpConnectorFuture::new(async move {
            match answer {
                Answer::Http(status, body) => Ok(HttpResponse::new(
                    status.try_into().unwrap(),
                    SdkBody::from(body),
                )),
                Answer::Reset => Err(ConnectorError::io("connection reset by peer".into())),
                Answer::Silence => std::future::pending().await,
            }
        })
    }
}

impl HttpClient for Script {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

pub(crate) fn stage() -> Stage {
    Stage::parse("prod").unwrap()
}

/// The topic of the stage.
pub(crate) fn arn() -> TopicArn {
    TopicArn::beside_table(
        &stage(),
        "arn:aws:dynamodb:eu-west-1:123456789012:table/hb-prod-ledger",
    )
    .unwrap()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

pub(crate) fn host() -> HostKey {
    HostKey::new(Fleet::main(), "web-01".parse().unwrap())
}

pub(crate) fn heard(seconds: i64, signal: Signal) -> Heard {
    let message = (signal == Signal::Fail).then(|| Message::from("disk full".to_owned()));
    let interval = Interval::try_from(Duration::from_mins(1)).unwrap();
    let heartbeat = Heartbeat::new(Beat {
        interval,
        signal,
        message,
        ..Beat::ok(at(seconds))
    });
    Heard {
        key: host(),
        region: "eu-west-1".parse().unwrap(),
        heartbeat,
    }
}

/// The stored item after a beat at `at(seconds)`, in the wire format.
pub(crate) fn item(seconds: i64) -> Value {
    let n = |number: i64| json!({"N": number.to_string()});
    let (last, text) = (at(seconds).as_millis(), |text: &str| json!({"S": text}));
    json!({"h": text("main/web-01"), "r": text("eu-west-1"), "l": n(last), "i": n(60_000), "f": n(last), "b": n(60_000)})
}
