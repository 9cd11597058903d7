use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Fleet, KeyId, Scope, Secret, Token};
use hb_service::admin::{Created, KeyAdmin, KeyRequest};
use hb_service::ports::{Clock, Keys};
use hb_service::{AuthError, Authenticator, CachePolicy, Refusal};

use crate::Bench;

struct Door {
    bench: Bench,
    auth: Authenticator,
    key_admin: KeyAdmin,
}

impl Door {
    fn new() -> Self {
        let bench = Bench::new();
        let auth = Authenticator::new(bench.memory.clone(), CachePolicy::default(), Arc::default());
        let key_admin = KeyAdmin {
            ports: bench.ports(),
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
        };
        self.key_admin.create_key(request).await.unwrap()
    }

    /// `ok`, the refusal, or `unavailable`; and how many calls it took.
    async fn knock(&self, token: &str) -> (String, u64) {
        let before = self.bench.memory.calls();
        let answer = match self
            .auth
            .authenticate(Some(token), self.bench.clock.now())
            .await
        {
            Ok(_) => "ok".to_owned(),
            Err(AuthError::Refused(refusal)) => refusal.to_string(),
            Err(AuthError::Unavailable) => "unavailable".to_owned(),
        };
        (answer, self.bench.memory.calls() - before)
    }
}

fn said(answer: &str, calls: u64) -> (String, u64) {
    (answer.to_owned(), calls)
}

#[tokio::test]
async fn a_key_is_read_once_a_minute() {
    let door = Door::new();
    let token = door.create(None).await.token.reveal();
    assert_eq!(
        door.knock(&token).await,
        said("ok", 2),
        "and the day of its use is noted"
    );
    door.bench.pass(59);
    assert_eq!(door.knock(&token).await, said("ok", 0));
    door.bench.pass(1);
    assert_eq!(door.knock(&token).await, said("ok", 1));
}

#[tokio::test]
async fn the_day_of_a_use_is_noted_once_a_day_and_process() {
    const DAY: u64 = 86_400;
    let door = Door::new();
    let Created { key, token } = door.create(None).await;
    let (token, memory) = (token.reveal(), door.bench.memory.clone());
    let used = async || memory.load(&key.id).await.unwrap().unwrap().used;
    assert_eq!(used().await, None);
    door.knock(&token).await;
    let first = used().await.unwrap();
    assert_eq!(first, door.bench.clock.now().day());
    door.bench.pass(60);
    assert_eq!(
        door.knock(&token).await,
        said("ok", 1),
        "it is noted already"
    );
    door.bench.pass(DAY);
    assert_eq!(door.knock(&token).await, said("ok", 2));
    assert_eq!(used().await.unwrap().since(first), Duration::from_secs(DAY));
    let other = Authenticator::new(memory.clone(), CachePolicy::default(), Arc::default());
    let before = memory.calls();
    other
        .authenticate(Some(&token), door.bench.clock.now())
        .await
        .unwrap();
    assert_eq!(
        memory.calls() - before,
        1,
        "another process sees that it is noted"
    );
}

#[tokio::test]
async fn a_wrong_token_is_looked_up_once_in_ten_seconds_and_hurts_no_other_of_its_id() {
    let door = Door::new();
    let Created { key, token } = door.create(None).await;
    let wrong = Token::new(key.id, Secret::from_random([9; 32])).reveal();
    assert_eq!(door.knock(&wrong).await, said("unknown key", 1));
    assert_eq!(
        door.knock(&token.reveal()).await,
        said("ok", 2),
        "the refusal is kept by the whole token"
    );
    door.bench.pass(9);
    assert_eq!(door.knock(&wrong).await, said("unknown key", 0));
    door.bench.pass(1);
    assert_eq!(door.knock(&wrong).await, said("unknown key", 1));
}

#[tokio::test]
async fn typos_and_nonsense_never_reach_the_database() {
    let door = Door::new();
    let mut typo = door.create(None).await.token.reveal();
    typo.pop();
    for token in ["", "secret", &typo, &format!("{typo}0")] {
        assert_eq!(door.knock(token).await, said("malformed key", 0));
    }
    let absent = door.auth.authenticate(None, door.bench.clock.now()).await;
    assert!(matches!(absent, Err(AuthError::Refused(Refusal::Absent))));
}

#[tokio::test]
async fn a_cached_key_serves_for_five_minutes_while_the_database_fails() {
    let door = Door::new();
    let token = door.create(None).await.token.reveal();
    assert_eq!(door.knock(&token).await, said("ok", 2));
    door.bench.memory.fail_with(Some("disk full"));
    door.bench.pass(299);
    assert_eq!(door.knock(&token).await, said("ok", 1));
    door.bench.pass(1);
    assert_eq!(door.knock(&token).await, said("unavailable", 1));
    let stranger = Token::new(KeyId::from_random([1; 7]), Secret::from_random([1; 32])).reveal();
    assert_eq!(door.knock(&stranger).await, said("unavailable", 1));
    door.bench.memory.fail_with(None);
    assert_eq!(door.knock(&token).await, said("ok", 1));
}

#[tokio::test]
async fn an_expired_key_is_refused_at_once_and_a_revoked_one_within_a_minute() {
    let door = Door::new();
    let short = door
        .create(Some(Duration::from_secs(30)))
        .await
        .token
        .reveal();
    let Created { key, token } = door.create(None).await;
    door.knock(&short).await;
    door.knock(&token.reveal()).await;
    door.bench.pass(30);
    assert_eq!(door.knock(&short).await, said("expired or revoked key", 0));
    door.key_admin.revoke_key(&key.id).await.unwrap();
    assert_eq!(door.knock(&token.reveal()).await.0, "ok");
    door.bench.pass(30);
    assert_eq!(
        door.knock(&token.reveal()).await,
        said("expired or revoked key", 1)
    );
}

#[tokio::test]
async fn guessing_cannot_push_a_good_key_out_of_the_cache() {
    let door = Door::new();
    let token = door.create(None).await.token.reveal();
    door.knock(&token).await;
    for i in 0..11_000_u32 {
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&i.to_be_bytes());
        let guess = Token::new(KeyId::from_random([2; 7]), Secret::from_random(secret)).reveal();
        let _ = door
            .auth
            .authenticate(Some(&guess), door.bench.clock.now())
            .await;
    }
    assert_eq!(door.knock(&token).await, said("ok", 0));
}
