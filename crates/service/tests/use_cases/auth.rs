use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Fleet, Key, KeyId, KeyLimits, Scope, Secret, Token, opaque};
use hb_service::admin::{Created, KeyAdmin, KeyRequest};
use hb_service::ports::{Clock, Keys};
use hb_service::testing::memory::auditor;
use hb_service::{AuthError, Authenticator, CachePolicy, Refusal};

use crate::Bench;

struct Fixture {
    bench: Bench,
    auth: Authenticator,
    key_admin: KeyAdmin,
}

impl Fixture {
    fn new() -> Self {
        let bench = Bench::new();
        let auth = Authenticator::new(bench.memory.clone(), CachePolicy::default(), Arc::default());
        let key_admin = KeyAdmin {
            ports: bench.ports(),
            auditor: auditor(&bench.ports()),
        };
        Self {
            bench,
            auth,
            key_admin,
        }
    }

    async fn create(&self, expires_in: Option<Duration>) -> Created {
        let name = "fleet".parse().unwrap();
        let request = KeyRequest {
            name,
            scope: Scope::Ingest,
            fleet: Fleet::main(),
            host_prefixes: vec![],
            expires_in,
            limits: KeyLimits::default(),
        };
        self.key_admin.create_key(request).await.unwrap()
    }

    /// `ok`, the refusal, or `unavailable`; and how many calls of ports it took.
    async fn authenticate(&self, token: &str) -> (String, u64) {
        let before = self.bench.memory.calls();
        let answer = match self
            .auth
            .authenticate(Some(token), self.bench.clock.now())
            .await
        {
            Ok(_) => "ok".to_owned(),
            Err(AuthError::Refused(refusal)) => {
                // Without the id of the key.
                let text = refusal.to_string();
                text.split_inclusive(" key")
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            }
            Err(AuthError::Unavailable) => "unavailable".to_owned(),
        };
        (answer, self.bench.memory.calls() - before)
    }
}

fn result(answer: &str, calls: u64) -> (String, u64) {
    (answer.to_owned(), calls)
}

#[tokio::test]
async fn a_key_is_read_once_a_minute() {
    let fixture = Fixture::new();
    let token = fixture.create(None).await.token.reveal();
    assert_eq!(
        fixture.authenticate(&token).await,
        result("ok", 2),
        "the key is read and the day of its use recorded"
    );
    fixture.bench.pass(59);
    assert_eq!(fixture.authenticate(&token).await, result("ok", 0));
    fixture.bench.pass(1);
    assert_eq!(fixture.authenticate(&token).await, result("ok", 1));
}

#[tokio::test]
async fn the_day_of_use_is_recorded_once_a_day_and_process() {
    const DAY: u64 = 86_400;
    let fixture = Fixture::new();
    let Created { key, token } = fixture.create(None).await;
    let (token, memory) = (token.reveal(), fixture.bench.memory.clone());
    let used = async || memory.load(&key.id).await.unwrap().unwrap().used;
    assert_eq!(used().await, None);
    fixture.authenticate(&token).await;
    let first = used().await.unwrap();
    assert_eq!(first, fixture.bench.clock.now().day());
    fixture.bench.pass(60);
    assert_eq!(
        fixture.authenticate(&token).await,
        result("ok", 1),
        "it is recorded already"
    );
    fixture.bench.pass(DAY);
    assert_eq!(fixture.authenticate(&token).await, result("ok", 2));
    assert_eq!(used().await.unwrap().since(first), Duration::from_secs(DAY));
    let other = Authenticator::new(memory.clone(), CachePolicy::default(), Arc::default());
    let before = memory.calls();
    other
        .authenticate(Some(&token), fixture.bench.clock.now())
        .await
        .unwrap();
    assert_eq!(
        memory.calls() - before,
        1,
        "another process sees that it is recorded"
    );
}

#[tokio::test]
async fn a_wrong_token_is_cached_for_10_s_without_affecting_the_right_one() {
    let fixture = Fixture::new();
    let Created { key, token } = fixture.create(None).await;
    let wrong = Token::new(key.id, Secret::from_random([9; 32])).reveal();
    assert_eq!(fixture.authenticate(&wrong).await, result("unknown key", 1));
    assert_eq!(
        fixture.authenticate(&token.reveal()).await,
        result("ok", 2),
        "a refusal is cached by the whole token"
    );
    fixture.bench.pass(9);
    assert_eq!(fixture.authenticate(&wrong).await, result("unknown key", 0));
    fixture.bench.pass(1);
    assert_eq!(fixture.authenticate(&wrong).await, result("unknown key", 1));
}

#[tokio::test]
async fn a_key_of_another_system_is_found_with_one_read() {
    let fixture = Fixture::new();
    let Created { key, .. } = fixture.create(None).await;
    let text = "an-API-key-of-another/system";
    let (id, secret) = opaque(text).unwrap();
    let imported = Key {
        id,
        hash: secret.hash(),
        ..key
    };
    assert!(fixture.bench.memory.create(&imported).await.unwrap());
    // The key and the day of its use; then neither.
    assert_eq!(fixture.authenticate(text).await, result("ok", 2));
    assert_eq!(fixture.authenticate(text).await, result("ok", 0));
    for wrong in [&text[1..], "an-api-key-of-another/system"] {
        assert_eq!(fixture.authenticate(wrong).await, result("unknown key", 1));
        assert_eq!(fixture.authenticate(wrong).await, result("unknown key", 0));
    }
    assert_eq!(
        fixture.authenticate(&text[..19]).await,
        result("malformed key", 0)
    );
}

#[tokio::test]
async fn malformed_tokens_never_reach_the_database() {
    let fixture = Fixture::new();
    let mut typo = fixture.create(None).await.token.reveal();
    typo.pop();
    assert_eq!(fixture.authenticate("").await, result("no key", 0));
    for token in ["secret", &typo, &format!("{typo}0")] {
        assert_eq!(
            fixture.authenticate(token).await,
            result("malformed key", 0)
        );
    }
    let absent = fixture
        .auth
        .authenticate(None, fixture.bench.clock.now())
        .await;
    assert!(matches!(absent, Err(AuthError::Refused(Refusal::Absent))));
}

#[tokio::test]
async fn a_cached_key_serves_for_five_minutes_while_the_database_fails() {
    let fixture = Fixture::new();
    let token = fixture.create(None).await.token.reveal();
    assert_eq!(fixture.authenticate(&token).await, result("ok", 2));
    fixture.bench.memory.fail_with(Some("disk full"));
    fixture.bench.pass(299);
    assert_eq!(fixture.authenticate(&token).await, result("ok", 1));
    fixture.bench.pass(1);
    assert_eq!(fixture.authenticate(&token).await, result("unavailable", 1));
    let other = Token::new(KeyId::from_random([1; 7]), Secret::from_random([1; 32])).reveal();
    assert_eq!(fixture.authenticate(&other).await, result("unavailable", 1));
    fixture.bench.memory.fail_with(None);
    assert_eq!(fixture.authenticate(&token).await, result("ok", 1));
}

#[tokio::test]
async fn an_expired_key_is_refused_at_once_and_a_revoked_one_within_a_minute() {
    let fixture = Fixture::new();
    let short = fixture
        .create(Some(Duration::from_secs(30)))
        .await
        .token
        .reveal();
    let Created { key, token } = fixture.create(None).await;
    fixture.authenticate(&short).await;
    fixture.authenticate(&token.reveal()).await;
    fixture.bench.pass(30);
    assert_eq!(
        fixture.authenticate(&short).await,
        result("expired or revoked key", 0)
    );
    fixture.key_admin.revoke_key(&key.id).await.unwrap();
    assert_eq!(fixture.authenticate(&token.reveal()).await.0, "ok");
    fixture.bench.pass(30);
    assert_eq!(
        fixture.authenticate(&token.reveal()).await,
        result("expired or revoked key", 1)
    );
}

#[tokio::test]
async fn guessing_cannot_evict_a_valid_key_from_the_cache() {
    let fixture = Fixture::new();
    let token = fixture.create(None).await.token.reveal();
    fixture.authenticate(&token).await;
    for i in 0..11_000_u32 {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&i.to_be_bytes());
        let guess = Token::new(KeyId::from_random([2; 7]), Secret::from_random(secret)).reveal();
        let _ = fixture
            .auth
            .authenticate(Some(&guess), fixture.bench.clock.now())
            .await;
    }
    assert_eq!(fixture.authenticate(&token).await, result("ok", 0));
}
