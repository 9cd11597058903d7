//! DynamoDB in this process: an HTTP client of the SDK that hands requests to `dynoxide`, without a socket.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::StalledStreamProtectionConfig;
use dynoxide::{Database, DynoxideError};
use hb_aws::{Clients, Stage, create_stage};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sns::{self, Form, Sns};

/// Decides what becomes of a request by its operation: `None` lets it through, else the error code of DynamoDB or SNS.
pub(crate) type Fault = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

/// An account with DynamoDB and SNS of its own.
#[derive(Clone)]
pub(crate) struct Account {
    database: Arc<Database>,
    sns: Sns,
    fault: Arc<Mutex<Option<Arc<Fault>>>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account")
    }
}

impl Account {
    pub(crate) fn new() -> Self {
        let database = Arc::new(Database::memory().unwrap());
        Self {
            database,
            sns: Sns::default(),
            fault: Arc::default(),
        }
    }

    /// From now on requests fail as `fault` has it.
    pub(crate) fn fail(
        &self,
        fault: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) {
        *self.fault.lock().unwrap() = Some(Arc::new(fault));
    }

    /// Every publish that SNS accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<Form> {
        self.sns.accepted()
    }

    /// From now on the echoes of what SNS accepts wait, or wait no more.
    pub(crate) fn hold_echoes(&self, hold: bool) {
        self.sns.hold_echoes(hold);
    }

    pub(crate) fn config(&self) -> SdkConfig {
        config("http://dynoxide.invalid")
            .http_client(self.clone())
            .build()
    }

    pub(crate) fn clients(&self) -> Clients {
        Clients::new(&self.config())
    }

    /// A stage that was just made.
    pub(crate) async fn stage(&self) -> (Clients, Stage) {
        let (clients, stage) = (self.clients(), Stage::parse("test").unwrap());
        create_stage(&clients, &stage).await.unwrap();
        (clients, stage)
    }
}

/// How an emulator is reached.
pub(crate) fn config(url: &str) -> aws_types::sdk_config::Builder {
    SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "AKIDTEST",
            "hunter2hunter2",
            None,
            None,
            "test",
        )))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

impl Account {
    /// The status and body of the answer to a request: of DynamoDB or SQS when there is an operation, else of SNS.
    pub(crate) async fn answer(&self, operation: Option<String>, body: String) -> (u16, String) {
        let fault = self.fault.lock().unwrap().clone();
        let fault = |operation: &str| fault.as_ref().and_then(|fault| fault(operation));
        let Some(operation) = operation else {
            let form = sns::form(&body);
            return fault(&form["Action"]).map_or_else(|| self.sns.answer(&form), sns::refusal);
        };
        if let Some(code) = fault(&operation) {
            // By the status, too, the SDK tells what is worth another try.
            let status = if code == "InternalServerError" {
                500
            } else {
                400
            };
            return (
                status,
                format!(r#"{{"__type":"com.amazonaws#{code}","message":"said"}}"#),
            );
        }
        if let Some(answer) = self.sns.answer_as_queue(&operation, &body) {
            return (200, answer.to_string());
        }
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || answer(&database, &operation, &body))
            .await
            .unwrap()
    }
}

/// The operation that a header `X-Amz-Target` names.
pub(crate) fn operation(target: &str) -> Option<String> {
    target.rsplit('.').next().map(ToOwned::to_owned)
}

impl HttpConnector for Account {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let operation = request.headers().get("x-amz-target").and_then(operation);
        let account = self.clone();
        HttpConnectorFuture::new(async move {
            let (status, body) = account.answer(operation, body).await;
            Ok(HttpResponse::new(
                status.try_into().unwrap(),
                SdkBody::from(body),
            ))
        })
    }
}

impl HttpClient for Account {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn answer(database: &Database, operation: &str, body: &str) -> (u16, String) {
    let answer = match operation {
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "Query" => call(body, |request| database.query(request)),
        "Scan" => call(body, |request| database.scan(request)),
        other => panic!("the adapters never ask for {other}"),
    };
    match answer {
        // As the account of the emulated SNS has it.
        Ok(body) => (
            200,
            body.replace(
                "arn:aws:dynamodb:dynoxide:000000000000:",
                "arn:aws:dynamodb:eu-west-1:123456789012:",
            ),
        ),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &str,
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    Ok(serde_json::to_string(&operation(serde_json::from_str(body).unwrap())?).unwrap())
}
