//! Randomness, as a port.

use uuid::Uuid;

/// A source of randomness. The only way to ask for random bytes.
pub trait Ids: Send + Sync {
    /// Returns 32 unpredictable bytes.
    fn random(&self) -> [u8; 32];

    /// A random token of 128 bits.
    fn token(&self) -> Uuid {
        let bytes = self.random();
        uuid::Builder::from_random_bytes(std::array::from_fn(|i| bytes[i])).into_uuid()
    }
}
