//! How records and notices are stored: as JSON, the same in every adapter.
//!
//! Members are only added, with a default: what any released version wrote must remain readable.

use hb_domain::Notice;

use crate::ports::Record;

/// Why stored text is not a record or notice.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It parses, but contradicts itself.
    #[error("{0}")]
    Untrue(String),
}

pub fn encode<T: Record>(record: &T) -> Result<String, CodecError> {
    Ok(serde_json::to_string(record)?)
}

pub fn decode<T: Record>(text: &str) -> Result<T, CodecError> {
    let record: T = serde_json::from_str(text)?;
    record.check().map_err(CodecError::Untrue)?;
    Ok(record)
}

pub fn encode_notice(notice: &Notice) -> Result<String, CodecError> {
    Ok(serde_json::to_string(notice)?)
}

pub fn decode_notice(text: &str) -> Result<Notice, CodecError> {
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use hb_domain::{Caveat, Digest, Entry};

    use super::*;

    /// What version 0.1.0 wrote, with every member in it.
    const ENTRY_0_1_0: &str = r#"{"fleet":"lab","host":"web-01","state":"up","epoch":2,"basis":1700000030000,"failure":1700000000000,"settings":{"pause":{"since":1700000033000,"until":1700000099000},"interval":5000},"pending":{"phase":"sending","owner":"00000000-0000-0000-0000-000000000007","until":1700000042000,"attempt":1},"history":[{"epoch":1,"kind":"failing","since":1700000000000,"last_beat":1700000000000,"interval":60000,"message":"disk \"füll\"","at":1700000001000},{"epoch":2,"kind":"recovered","since":1700000030000,"last_beat":1700000030000,"interval":60000,"at":1700000031000}]}"#;
    const NOTICE_0_1_0: &str = r#"{"id":"VWPYXP33KF","attempt":1,"kind":"recovered","fleet":"lab","host":{"hostId":"web-01","since":1700000030000,"lastBeat":1700000030000,"interval":60000,"epoch":2,"message":null,"before":["failing",1700000000000]},"at":1700000031000,"region":"local"}"#;

    #[test]
    fn records_of_earlier_versions_remain_readable() {
        let entry = decode::<Entry>(ENTRY_0_1_0).unwrap();
        assert_eq!(encode(&entry).unwrap(), ENTRY_0_1_0);
        let notice = decode_notice(NOTICE_0_1_0).unwrap();
        assert_eq!(encode_notice(&notice).unwrap(), NOTICE_0_1_0);
    }

    /// What version 0.1.0 wrote where a later one has other names, each with what is written today.
    const RENAMED_SINCE_0_1_0: [(&str, &str); 3] = [
        (
            r#"{"fleet":"lab","host":"web-01","state":"up","epoch":2,"basis":1700000030000,"lingers":true,"settings":{},"history":[{"epoch":1,"kind":"missing","since":1700000000000,"last_beat":1699999940000,"interval":60000,"at":1700000001000,"caveat":"deaf","told":{"attempt":1,"at":1700000002000,"digest":"VWPYXP33KF"}},{"epoch":2,"kind":"recovered","since":1700000030000,"last_beat":1700000030000,"interval":60000,"at":1700000031000,"told":{"attempt":2,"at":1700000182000}}]}"#,
            r#"{"fleet":"lab","host":"web-01","state":"up","epoch":2,"basis":1700000030000,"needs_recheck":true,"settings":{},"history":[{"epoch":1,"kind":"missing","since":1700000000000,"last_beat":1699999940000,"interval":60000,"at":1700000001000,"caveat":"receiverDown","accepted":{"attempt":1,"at":1700000002000,"digest":"VWPYXP33KF"}},{"epoch":2,"kind":"recovered","since":1700000030000,"last_beat":1700000030000,"interval":60000,"at":1700000031000,"accepted":{"attempt":2,"at":1700000182000}}]}"#,
        ),
        (
            r#"{"fleet":"lab","host":"web-01","state":"missing","epoch":1,"basis":1699999940000,"settings":{},"history":[{"epoch":1,"kind":"missing","since":1700000000000,"last_beat":1699999940000,"interval":60000,"at":1700000001000,"caveat":{"unheard":"us-east-1"}}]}"#,
            r#"{"fleet":"lab","host":"web-01","state":"missing","epoch":1,"basis":1699999940000,"settings":{},"history":[{"epoch":1,"kind":"missing","since":1700000000000,"last_beat":1699999940000,"interval":60000,"at":1700000001000,"caveat":{"regionUnreachable":"us-east-1"}}]}"#,
        ),
        (
            r#"{"id":"VWPYXP33KF","fleet":"lab","kind":"missing","at":1700000001000,"stage":"told","members":[["web-01",1,1700000000000]],"caveat":"deaf","told":{"attempt":1,"at":1700000002000}}"#,
            r#"{"id":"VWPYXP33KF","fleet":"lab","kind":"missing","at":1700000001000,"stage":"accepted","members":[["web-01",1,1700000000000]],"caveat":"receiverDown","accepted":{"attempt":1,"at":1700000002000}}"#,
        ),
    ];

    #[test]
    fn names_of_0_1_0_are_read_and_replaced_by_their_successors() {
        for (old, new) in RENAMED_SINCE_0_1_0 {
            let read = if old.starts_with(r#"{"id""#) {
                encode(&decode::<Digest>(old).unwrap())
            } else {
                encode(&decode::<Entry>(old).unwrap())
            };
            assert_eq!(read.unwrap(), new);
        }
        let notice = NOTICE_0_1_0.replace(
            r#""region""#,
            r#""caveat":{"unheard":"us-east-1"},"region""#,
        );
        let caveat = decode_notice(&notice).unwrap().caveat;
        let unreachable = Caveat::RegionUnreachable("us-east-1".parse().unwrap());
        assert_eq!(caveat, Some(unreachable));
    }

    /// What this version writes, in members that version 0.1.0 did not have.
    const NEW_MEMBERS: [&str; 2] = [
        r#"{"fleet":"lab","host":"web-01","state":"up","epoch":1,"basis":1700000000000,"settings":{},"inquiry":{"last_beat":1700000000000,"interval":60000,"at":1700000066000,"silent_in":["eu-west-1"]},"history":[]}"#,
        r#"{"fleet":"lab","host":"web-01","state":"missing","epoch":1,"basis":1699999940000,"settings":{},"history":[{"epoch":1,"kind":"missing","since":1700000000000,"last_beat":1699999940000,"interval":7200000,"at":1700000001000,"caveat":{"blackout":{"since":1699999950000,"until":1699999990000}}}]}"#,
    ];

    #[test]
    fn an_inquiry_and_a_blackout_are_stored_and_read_back() {
        for stored in NEW_MEMBERS {
            let entry = decode::<Entry>(stored).unwrap();
            assert!(entry.is_open());
            assert_eq!(encode(&entry).unwrap(), stored);
        }
    }

    #[test]
    fn missing_members_have_defaults() {
        let bare =
            r#"{"fleet":"main","host":"web-01","state":"up","epoch":3,"basis":1700000000000}"#;
        assert_eq!(decode::<Entry>(bare).unwrap().epoch, 3);
    }

    #[test]
    fn garbage_is_an_error() {
        let pending = r#"{"fleet":"main","host":"a","state":"up","epoch":3,"basis":1,
            "pending":{"phase":"pending","not_before":1,"attempt":0}}"#;
        for garbage in [
            "",
            "{}",
            "[]",
            "null",
            pending,
            &ENTRY_0_1_0.replace("lab", "no fleet"),
        ] {
            assert!(decode::<Entry>(garbage).is_err(), "{garbage}");
        }
    }
}
