use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Endpoint, Filter, Protocol, Region};
use hb_service::admin::{RegionalTopic, SubscriptionAdmin};
use hb_service::ports::{Clock, Ids, PortError, Subscriptions};
use hb_service::testing::memory::{CountingIds, auditor};

use crate::Bench;

/// A source of randomness that always returns the same.
struct SameIds;

impl Ids for SameIds {
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

fn admin(bench: &Bench, ids: Arc<dyn Ids>) -> SubscriptionAdmin {
    SubscriptionAdmin {
        topics: vec![RegionalTopic {
            region: Region::local(),
            topic: bench.memory.clone(),
            subscriptions: bench.memory.clone(),
        }],
        deliveries: Some(bench.memory.clone()),
        clock: bench.clock.clone(),
        ids,
        auditor: auditor(&bench.ports()),
    }
}

#[tokio::test]
async fn a_taken_subscription_name_is_a_conflict_and_not_an_outage() {
    let bench = Bench::new();
    let admin = admin(&bench, Arc::new(SameIds));
    let endpoint = |url| Endpoint::parse(Protocol::Https, url).unwrap();
    let first = endpoint("https://example.com/1");
    admin.add(first, Filter::default(), false).await.unwrap();
    let second = endpoint("https://example.com/2");
    let added = admin.add(second, Filter::default(), false).await.unwrap();
    let error = added.regions[0].result.as_ref().unwrap_err();
    assert!(matches!(error, PortError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn only_webhooks_of_our_own_topic_get_a_secret_and_a_rotated_one_signs_beside_the_old() {
    const DAY: Duration = Duration::from_hours(24);
    let bench = Bench::new();
    let ours = admin(&bench, Arc::new(CountingIds::default()));
    let of_sns = SubscriptionAdmin {
        deliveries: None,
        ..admin(&bench, Arc::new(CountingIds::default()))
    };
    let add = async |admin: &SubscriptionAdmin, protocol, address| {
        let endpoint = Endpoint::parse(protocol, address).unwrap();
        let added = admin.add(endpoint, Filter::default(), false).await;
        added.unwrap().subscription
    };
    let hook = add(&ours, Protocol::Https, "https://example.com/s3cret").await;
    let first = hook.webhook.secret().unwrap().reveal();
    let again = add(&ours, Protocol::Https, "https://example.com/s3cret").await;
    assert_eq!(again.webhook, hook.webhook, "it keeps its secret");
    let mail = add(&ours, Protocol::Email, "a@example.com").await;
    let sns = add(&of_sns, Protocol::Https, "https://example.com/sns").await;
    assert!(mail.webhook.secret().is_none() && sns.webhook.secret().is_none());

    for which in [hook.id.as_str(), "https://example.com/s3cret"] {
        let rotated = ours.rotate_secret(which, DAY).await.unwrap();
        assert_eq!(rotated.subscription.id, hook.id);
        assert_eq!(rotated.old_until, bench.clock.now().plus(DAY));
        assert_ne!(rotated.secret.reveal(), first);
        let listed = bench.memory.list(None).await.unwrap().items;
        let stored = listed
            .into_iter()
            .find(|known| known.id == hook.id)
            .unwrap();
        assert_eq!(stored.webhook.secret(), Some(&rotated.secret));
        let signed = stored.webhook.headers("id", bench.clock.now(), "{}");
        assert!(
            signed[2].1.contains(' '),
            "the old one signs as well: {signed:?}"
        );
    }
    for (admin, which, cause) in [
        (&ours, mail.id.as_str(), "only webhooks are signed"),
        (&ours, "nothing", "no subscription nothing"),
        (&of_sns, sns.id.as_str(), "SNS"),
    ] {
        let refused = admin
            .rotate_secret(which, DAY)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(cause) && !refused.contains("s3cret"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_webhook_that_may_lead_elsewhere_is_another_subscription() {
    let bench = Bench::new();
    let admin = admin(&bench, Arc::new(CountingIds::default()));
    let add = async |allow_private| {
        let endpoint = Endpoint::parse(Protocol::Https, "https://example.com/1").unwrap();
        let added = admin.add(endpoint, Filter::default(), allow_private).await;
        added.map(|added| added.subscription.webhook.allow_private)
    };
    assert!(add(true).await.unwrap());
    assert!(add(true).await.unwrap());
    let refused = add(false).await.unwrap_err().to_string();
    assert!(refused.ends_with(", with --allow-private"), "{refused}");
}
