//! Outcomes of a publish: a lost notice taken for accepted is never sent, an accepted one taken for lost is sent twice.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::SdkConfig;
use aws_types::region::Region;
use hb_aws::{Clients, Operation, SnsTopic};
use hb_domain::{Notice, Publication};
use hb_service::ports::Topic;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::script::{Answer, Script, arn, stage};

const ACCEPTED: &str =
    "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";

fn notice() -> Notice {
    serde_json::from_value(json!({
        "id": "K7Q2M9XA4T", "attempt": 1, "kind": "missing", "fleet": "main",
        "host": {"hostId": "web-01", "since": 1, "lastBeat": 1, "interval": 60_000, "epoch": 7, "message": null,
                 "before": null},
        "at": 1, "region": "eu-west-1",
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_one_outcome_and_no_retry() {
    let cases = [
        (Answer::Http(200, ACCEPTED.to_owned()), "accepted"),
        (Answer::sns_error(400, "Throttling"), "refused"),
        (Answer::sns_error(403, "AuthorizationError"), "refused"),
        (Answer::sns_error(404, "NotFound"), "refused"),
        (Answer::sns_error(500, "InternalFailure"), "unknown"),
        (Answer::sns_error(503, "ServiceUnavailable"), "unknown"),
        (Answer::Http(502, "<html>bad gateway".to_owned()), "unknown"),
        (Answer::Http(200, "<html>a portal".to_owned()), "unknown"),
        (Answer::Reset, "unknown"),
        (Answer::Silence, "unknown"),
    ];
    for (answer, expected) in cases {
        let script = Script::new([answer.clone()]);
        let clients = script.clients();
        let outcome = topic(&clients).publish(&notice()).await;
        assert_eq!(name(&outcome), expected, "{answer:?}: {outcome:?}");
        assert_eq!(script.operations(), ["Publish"]);
        assert_eq!(
            clients.meter().usage().calls,
            [(Operation::Publish, 1)].into()
        );
    }
}

#[tokio::test]
async fn a_refusal_names_the_missing_permission() {
    let script = Script::new([Answer::sns_error(403, "AuthorizationError")]);
    let topic = topic(&script.clients());
    let refused = "topic hb-prod-notices: not allowed: allow sns:Publish on topic hb-prod-notices";
    assert_eq!(
        topic.publish(&notice()).await,
        Publication::Refused(refused.to_owned())
    );
    let error = topic.check().await.unwrap_err().to_string();
    let expected = "topic hb-prod-notices is unavailable: not allowed: allow sns:GetTopicAttributes on topic \
                    hb-prod-notices";
    assert_eq!(error, expected);
}

/// Over real sockets, so that a new version of the HTTP client cannot change what its connection errors mean here.
#[tokio::test]
async fn a_refused_connection_is_a_refusal_and_a_broken_one_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let topic = topic(&clients(&url));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 64]).await.unwrap();
        assert!(read > 0, "the request was on its way");
        stream.shutdown().await.unwrap();
    });
    let outcome = topic.publish(&notice()).await;
    assert_eq!(name(&outcome), "unknown", "{outcome:?}");
    server.await.unwrap();
    let outcome = topic.publish(&notice()).await;
    assert_eq!(name(&outcome), "refused", "the server is gone: {outcome:?}");
}

/// A sign-in that has expired.
#[derive(Debug)]
struct SignedOut;

impl ProvideCredentials for SignedOut {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_error(
            "the session has expired",
        )))
    }
}

#[tokio::test]
async fn a_publish_without_credentials_is_refused() {
    let config = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:1")
        .credentials_provider(SharedCredentialsProvider::new(SignedOut));
    let outcome = topic(&Clients::new(&config.build()))
        .publish(&notice())
        .await;
    let Publication::Refused(text) = outcome else {
        panic!("{outcome:?}")
    };
    let expected = "topic hb-prod-notices: the credentials could not be loaded: an error occurred while loading \
                    credentials: the session has expired: sign in, or name a profile";
    assert_eq!(text, expected);
}

fn topic(clients: &Clients) -> SnsTopic {
    SnsTopic::new(clients, &stage()).at(arn())
}

fn clients(url: &str) -> Clients {
    let credentials = Credentials::new("id", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    Clients::new(&config.build())
}

fn name(outcome: &Publication) -> &'static str {
    match outcome {
        Publication::Accepted => "accepted",
        Publication::Refused(_) => "refused",
        Publication::Unknown(_) => "unknown",
    }
}
