//! The incarnation of the stored data: one life of a database or stage.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A random id of one life of the stored data. It is a part of the id of each notice: in a fresh or restored database
/// epochs begin again at an earlier number, and receivers that drop an id which they know would lose the notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Drawn by whoever first needs it.
    pub id: Uuid,
}
