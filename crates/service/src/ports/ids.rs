//! The port to randomness.

use uuid::Uuid;

/// Randomness.
pub trait Ids: Send + Sync {
    /// 32 unpredictable bytes.
    fn random(&self) -> [u8; 32];

    /// A random token of 128 bits.
    fn token(&self) -> Uuid {
        let bytes = self.random();
        uuid::Builder::from_random_bytes(std::array::from_fn(|i| bytes[i])).into_uuid()
    }
}
