use std::sync::Arc;

use hb_domain::{Endpoint, Filter, Protocol, Region};
use hb_service::admin::{RegionalTopic, SubscriptionAdmin};
use hb_service::ports::{Ids, PortError};
use hb_service::testing::memory::auditor;

use crate::Bench;

/// A source of randomness that always returns the same.
struct SameIds;

impl Ids for SameIds {
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

#[tokio::test]
async fn a_taken_subscription_name_is_a_conflict_and_not_an_outage() {
    let bench = Bench::new();
    let admin = SubscriptionAdmin {
        topics: vec![RegionalTopic {
            region: Region::local(),
            topic: bench.memory.clone(),
            subscriptions: bench.memory.clone(),
        }],
        clock: bench.clock.clone(),
        ids: Arc::new(SameIds),
        auditor: auditor(&bench.ports()),
    };
    let endpoint = |url| Endpoint::parse(Protocol::Https, url).unwrap();
    let first = endpoint("https://example.com/1");
    admin.add(first, Filter::default()).await.unwrap();
    let second = endpoint("https://example.com/2");
    let added = admin.add(second, Filter::default()).await.unwrap();
    let error = added.regions[0].result.as_ref().unwrap_err();
    assert!(matches!(error, PortError::Conflict { .. }), "{error}");
}
