//! Who reads a notice.

use serde::{Deserialize, Serialize};

use crate::schedule::Zone;

/// What texts need to know of their readers: where they live, and how they call the service. It is no part of a notice's
/// identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// The time zone of the fleet.
    pub tz: Zone,
    /// The command for this service, with its folder or stage: `hb --stage prod`.
    pub hb: String,
}

impl Reader {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            tz: Zone::default(),
            hb: "hb".to_owned(),
        }
    }
}
