//! `hb serve` with TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, ClientBuilder, Identity};

use crate::support::{Sandbox, Server, eventually};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A root for certificates.
fn root(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this machine and its key.
fn certificate(root: &Issuer) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let certificate = params.unwrap().signed_by(&key, root).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(sandbox: &Sandbox, name: &str, text: &str) -> PathBuf {
    let path = sandbox.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn serve(sandbox: &Sandbox, [certificate, key]: [&Path; 2]) -> Command {
    let mut command = sandbox.hb(&["serve", "--listen", "127.0.0.1:0", "--tls-cert"]);
    command.arg(certificate).arg("--tls-key").arg(key);
    command
}

/// A client that trusts only `root`, and keeps no connection.
fn client(root: &Issuer) -> ClientBuilder {
    let root = Certificate::from_pem(root.pem().as_bytes()).unwrap();
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .tls_certs_only([root])
}

async fn beat(client: &reqwest::Client, server: &Server, key: &str) -> Result<u16, String> {
    let request = client.get(format!("{}/v1/heartbeat/web-01", server.url));
    let answer = request.header("x-api-key", key).send().await;
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| format!("{error:?}"))
}

/// Once a canary was received.
async fn receives_canaries(sandbox: &Sandbox) {
    eventually("a canary", async || {
        let sql = "SELECT count(*) FROM heartbeats WHERE host LIKE '%hb:canary%'";
        let count: u32 = sandbox
            .database()
            .query_one(sql, [], |row| row.get(0))
            .unwrap();
        (count > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn beats_come_by_tls_and_a_new_certificate_is_used_at_once() {
    let sandbox = Sandbox::new();
    let [old, new] = ["old", "new"].map(root);
    let (certificate_pem, key_pem) = certificate(&old);
    let files = [
        write(&sandbox, "tls.crt", &certificate_pem),
        write(&sandbox, "tls.key", &key_pem),
    ];
    let server = Server::start_by(serve(&sandbox, [&files[0], &files[1]])).await;
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let key = sandbox.key(&[]);
    let [by_old, by_new] = [&old, &new].map(|root| client(root).build().unwrap());
    assert_eq!(beat(&by_old, &server, &key).await, Ok(200));
    assert!(
        beat(&by_new, &server, &key)
            .await
            .unwrap_err()
            .contains("UnknownIssuer")
    );
    receives_canaries(&sandbox).await;

    let hang_up = || {
        let killed = Command::new("kill")
            .args(["-HUP", &server.pid().to_string()])
            .status();
        assert!(killed.unwrap().success());
    };
    write(&sandbox, "tls.crt", "not a certificate");
    hang_up();
    eventually("an error", async || {
        let log = server.stderr().join("\n");
        log.contains("tls.crt cannot be used: there is no certificate in it; the TLS certificate from before is still in use").then_some(())
    })
    .await;
    assert_eq!(beat(&by_old, &server, &key).await, Ok(200));

    let (certificate_pem, key_pem) = certificate(&new);
    write(&sandbox, "tls.key", &key_pem);
    write(&sandbox, "tls.crt", &certificate_pem);
    hang_up();
    eventually("the new certificate", async || {
        (beat(&by_new, &server, &key).await == Ok(200)).then_some(())
    })
    .await;
    let log = server.stderr().join("\n");
    assert!(!log.contains("canaries failed"), "{log}");
}

#[tokio::test]
async fn clients_show_a_certificate_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let [servers, clients, others] = ["servers", "clients", "others"].map(root);
    let (certificate_pem, key_pem) = certificate(&servers);
    let files = [
        write(&sandbox, "tls.crt", &certificate_pem),
        write(&sandbox, "tls.key", &key_pem),
    ];
    let mut command = serve(&sandbox, [&files[0], &files[1]]);
    command
        .arg("--tls-client-ca")
        .arg(write(&sandbox, "clients.crt", &clients.pem()));
    let server = Server::start_by(command).await;
    let key = sandbox.key(&[]);
    let with = |root: &Issuer| {
        let (certificate, key) = certificate(root);
        let identity = Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap();
        client(&servers).identity(identity).build().unwrap()
    };
    assert_eq!(beat(&with(&clients), &server, &key).await, Ok(200));
    assert!(beat(&with(&others), &server, &key).await.is_err());
    assert!(
        beat(&client(&servers).build().unwrap(), &server, &key)
            .await
            .is_err()
    );
    receives_canaries(&sandbox).await;
}

#[tokio::test]
async fn a_plain_request_to_a_port_with_tls_is_answered_in_words() {
    let sandbox = Sandbox::new();
    let (certificate_pem, key_pem) = certificate(&root("root"));
    let files = [
        write(&sandbox, "tls.crt", &certificate_pem),
        write(&sandbox, "tls.key", &key_pem),
    ];
    let server = Server::start_by(serve(&sandbox, [&files[0], &files[1]])).await;
    let url = server.url.replace("https:", "http:");
    let answer = server.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.text().await.unwrap(),
        "this port speaks TLS: send requests to https://\n"
    );
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let sandbox = Sandbox::new();
    let [one, other] = [(), ()].map(|()| certificate(&root("root")));
    let good = [
        write(&sandbox, "a.crt", &one.0),
        write(&sandbox, "a.key", &one.1),
    ];
    let other = write(&sandbox, "b.key", &other.1);
    let missing = sandbox.path().join("missing.crt");
    for ([certificate, key], expected) in [
        (
            [&missing, &good[1]],
            "missing.crt cannot be used: No such file",
        ),
        (
            [&good[1], &good[1]],
            "a.key cannot be used: there is no certificate in it",
        ),
        ([&good[0], &good[0]], "a.crt cannot be used: no items found"),
        (
            [&good[0], &other],
            "a.crt cannot be used: keys may not be consistent: KeyMismatch",
        ),
    ] {
        let output = serve(&sandbox, [certificate, key]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert!(!sandbox.path().join("data").exists());
}
