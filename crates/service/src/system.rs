//! The system's clock and source of randomness, for binaries: the only places that use either.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hb_domain::Timestamp;

use crate::ports::{Clock, Ids};

pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::MIN.plus(since_1970)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

pub struct SystemIds;

impl Ids for SystemIds {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the adapter of randomness"
        )]
        let filled = getrandom::fill(&mut bytes);
        if let Err(error) = filled {
            // To continue would create guessable keys.
            tracing::error!("the operating system returned no random bytes: {error}");
            std::process::abort();
        }
        bytes
    }
}
