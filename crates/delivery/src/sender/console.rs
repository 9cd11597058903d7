//! The terminal of `hb serve`, or whatever the binary wants to do with a notice.

use async_trait::async_trait;
use hb_domain::{Notice, Timestamp};
use hb_service::ports::Delivery;

use super::{SendError, Sender, notice};

type Show = dyn Fn(&Notice) -> Result<(), SendError> + Send + Sync;

/// Passes each notice to a function; this crate prints nothing itself.
pub struct ConsoleSender {
    show: Box<Show>,
}

impl ConsoleSender {
    /// `show` must return soon: it blocks the courier's thread. What it refuses is sent again later.
    #[must_use]
    pub fn new(show: impl Fn(&Notice) -> Result<(), SendError> + Send + Sync + 'static) -> Self {
        Self {
            show: Box::new(show),
        }
    }
}

#[async_trait]
impl Sender for ConsoleSender {
    async fn send(&self, delivery: &Delivery, _: Timestamp) -> Result<(), SendError> {
        (self.show)(notice(delivery)?)
    }
}
