//! A file that `hb key import` reads.

use std::sync::Arc;

use hb_cli::testing::Numbered;
use hb_domain::{Key, Timestamp};
use hb_service::admin::KeyAdmin;
use hb_service::testing::memory::{self, CountingIds, ManualClock, Memory};

use crate::world::now;

/// What an export has of a key.
fn in_seconds(key: Key) -> Key {
    let whole = |at: Timestamp| {
        let millis = at.as_millis();
        Timestamp::from_millis(millis - millis.rem_euclid(1_000)).expect("an instant")
    };
    Key {
        created: whole(key.created),
        expires: key.expires.map(whole),
        revoked: key.revoked.map(whole),
        ..key
    }
}

/// Reads any file. Each key of it, printed as `hb key export` prints it, is read back as the same key.
pub fn csv(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let clock = Arc::new(ManualClock::new(now()));
    let memory = Arc::new(Memory::default());
    let ports = memory::ports(&memory, clock, Arc::new(CountingIds::default()));
    let key_admin = KeyAdmin {
        auditor: memory::auditor(&ports),
        ports,
    };
    for opaque in [false, true] {
        if let Ok(rows) = hb_cli::testing::import(text, &key_admin, opaque) {
            read(text, rows, &key_admin);
        }
    }
}

fn read(text: &str, rows: Vec<Numbered>, key_admin: &KeyAdmin) {
    let mut before = 0;
    for (line, key) in rows {
        assert!(line > before, "line {line} after line {before}");
        before = line;
        let Ok(key) = key else { continue };
        let key = in_seconds(key);
        let exported = hb_cli::testing::export(&key).expect("an export");
        let read = hb_cli::testing::import(&exported, key_admin, false).expect("a file");
        let [(2, Ok(again))] = &read[..] else {
            panic!("{exported}: {read:?}");
        };
        assert_eq!(format!("{again:?}"), format!("{key:?}"), "{exported}");
    }
    let lines = text.split(['\n', '\r']).count() as u64;
    assert!(text.trim_start().starts_with('[') || before <= lines);
}
