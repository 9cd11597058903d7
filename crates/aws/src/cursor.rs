//! Where a page of a listing ended, as text.

use hb_service::ports::{Cursor, PortError, PortResult};

/// A cursor behind the item with these key parts.
pub(crate) fn behind(parts: &[&str]) -> Cursor {
    Cursor(serde_json::Value::from(parts).to_string())
}

/// The key parts that a cursor of this listing stands behind.
pub(crate) fn position<const N: usize>(cursor: &Cursor) -> PortResult<[String; N]> {
    let parts: Vec<String> =
        serde_json::from_str(&cursor.0).map_err(|error| foreign(cursor, error))?;
    parts
        .try_into()
        .map_err(|parts: Vec<_>| foreign(cursor, format!("it has {} parts", parts.len())))
}

/// A cursor that this listing never gave.
pub(crate) fn foreign(cursor: &Cursor, cause: impl Into<hb_service::ports::Cause>) -> PortError {
    PortError::unreadable("cursor", &cursor.0, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_keep_every_character() {
        let parts = ["main/\"ü\",[", ""];
        assert_eq!(position::<2>(&behind(&parts)).unwrap(), parts);
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for bad in ["", "main/web-01", "[]", "[\"a\"]", "[1,2]", "{}"] {
            assert!(position::<2>(&Cursor(bad.to_owned())).is_err(), "{bad}");
        }
    }
}
