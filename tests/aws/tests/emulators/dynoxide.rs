//! DynamoDB by `dynoxide`, in this process: a connector hands each request to its typed interface. SNS is a few lines
//! that accept everything; what it does with a notice only moto shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::{SharedHttpClient, StalledStreamProtectionConfig};
use dynoxide::Database;
use futures::FutureExt;
use hb_aws::Clients;
use hb_service::contract::World;
use serde_json::{Value, json};

use crate::world;

/// An AWS of one's own.
#[derive(Clone)]
pub struct Aws {
    database: Database,
    /// Calls by operation.
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Answers every n-th call with "throttled"; 0 never.
    throttle: Arc<Mutex<(u64, u64)>>,
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Aws")
    }
}

impl Aws {
    pub fn new() -> Self {
        Self { database: Database::memory().unwrap(), calls: Arc::default(), throttle: Arc::default() }
    }

    pub fn clients(&self) -> Clients {
        let config = SdkConfig::builder()
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys(
                "id", "secret", None,
            )))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(SharedHttpClient::new(self.clone()));
        Clients::new(&config.build())
    }

    /// From now on every `nth` call to DynamoDB is throttled.
    pub fn throttle_every(&self, nth: u64) {
        *self.throttle.lock().unwrap() = (nth, 0);
    }

    /// The calls since the last time.
    pub fn take_calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn answer(&self, target: Option<&str>, body: &[u8]) -> (u16, String) {
        let Some((_, operation)) = target.and_then(|target| target.split_once('.')) else {
            return sns(&String::from_utf8_lossy(body));
        };
        *self.calls.lock().unwrap().entry(operation.to_owned()).or_default() += 1;
        let mut throttle = self.throttle.lock().unwrap();
        throttle.1 += 1;
        if throttle.0 > 0 && throttle.1.is_multiple_of(throttle.0) {
            let code = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
            return (400, json!({ "__type": code, "message": "slow down" }).to_string());
        }
        drop(throttle);
        self.dispatch(operation, body)
    }

    fn dispatch(&self, operation: &str, body: &[u8]) -> (u16, String) {
        macro_rules! call {
            ($method:ident) => {
                match serde_json::from_slice(body) {
                    Ok(request) => match self.database.$method(request) {
                        Ok(response) => (200, serde_json::to_string(&response).unwrap()),
                        Err(error) => (error.status_code(), error.to_json()),
                    },
                    Err(error) => (400, json!({ "__type": "SerializationException", "message": error.to_string() }).to_string()),
                }
            };
        }
        match operation {
            "CreateTable" => call!(create_table),
            "DescribeTable" => call!(describe_table),
            "UpdateItem" => call!(update_item),
            "PutItem" => call!(put_item),
            "DeleteItem" => call!(delete_item),
            "GetItem" => call!(get_item),
            "Query" => call!(query),
            "Scan" => call!(scan),
            other => (400, json!({ "__type": "UnknownOperationException", "message": other }).to_string()),
        }
    }
}

/// Accepts whatever it is told.
fn sns(body: &str) -> (u16, String) {
    let fields: BTreeMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).collect();
    let action = fields.get("Action").map_or("", AsRef::as_ref);
    let arn =
        format!("arn:aws:sns:eu-central-1:123456789012:{}", fields.get("Name").map_or("x", AsRef::as_ref));
    let result = match action {
        "CreateTopic" => format!("<TopicArn>{arn}</TopicArn>"),
        "Subscribe" => format!("<SubscriptionArn>{arn}:1</SubscriptionArn>"),
        "Publish" => "<MessageId>1</MessageId>".to_owned(),
        "GetTopicAttributes" => "<Attributes/>".to_owned(),
        _ => String::new(),
    };
    let space = "http://sns.amazonaws.com/doc/2010-03-31/";
    (
        200,
        format!(
            "<{action}Response xmlns=\"{space}\"><{action}Result>{result}</{action}Result></{action}Response>"
        ),
    )
}

impl HttpClient for Aws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let aws = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").map(ToOwned::to_owned);
            let body = request.body().bytes().unwrap_or_default().to_vec();
            let answer = tokio::task::spawn_blocking(move || aws.answer(target.as_deref(), &body)).await;
            let (status, body) = answer.map_err(|error| ConnectorError::other(error.into(), None))?;
            let status =
                StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

pub async fn fresh_on(aws: &Aws, fleet_size: usize) -> World {
    let database = aws.database.clone();
    let spoil = Arc::new(move |table: String, host: String, region: String| {
        let database = database.clone();
        async move {
            let mut item = json!({ "h": { "S": host }, "l": { "S": "garbage" }, "entry": { "S": "garbage" },
                "version": { "N": "1" }, "writer": { "S": "garbage" }, "open": { "N": "0" } });
            if !region.is_empty() {
                item["r"] = json!({ "S": region });
            }
            let request: Value = json!({ "TableName": table, "Item": item });
            database.put_item(serde_json::from_value(request).unwrap()).unwrap();
        }
        .boxed()
    });
    world::stage(&aws.clients(), fleet_size, spoil, Box::new(())).await
}

async fn fresh() -> World {
    fresh_on(&Aws::new(), 20_000).await
}

hb_service::contract_suite!(fresh);
