//! Cursors of listings: the key parts of the last item of a page, as JSON.

use hb_service::ports::{Cursor, PortError, PortResult};

pub(crate) fn behind(parts: &[&str]) -> Cursor {
    Cursor(serde_json::Value::from(parts).to_string())
}

/// The key parts of a cursor.
pub(crate) fn position<const N: usize>(cursor: &Cursor) -> PortResult<[String; N]> {
    let parts: Vec<String> =
        serde_json::from_str(&cursor.0).map_err(|error| foreign(cursor, error))?;
    parts
        .try_into()
        .map_err(|parts: Vec<_>| foreign(cursor, format!("it has {} parts", parts.len())))
}

/// The error of a cursor that this listing did not create.
pub(crate) fn foreign(cursor: &Cursor, cause: impl Into<hb_service::ports::Cause>) -> PortError {
    PortError::unreadable("cursor", &cursor.0, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_inverts_behind() {
        let parts = ["main/\"ü\",[", ""];
        assert_eq!(position::<2>(&behind(&parts)).unwrap(), parts);
    }

    #[test]
    fn foreign_cursors_are_rejected() {
        for bad in ["", "main/web-01", "[]", "[\"a\"]", "[1,2]", "{}"] {
            assert!(position::<2>(&Cursor(bad.to_owned())).is_err(), "{bad}");
        }
    }
}
