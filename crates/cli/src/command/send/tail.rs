//! Keeps the end of what a command prints, and makes it a message for people.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes that are kept: more than a message holds, because colours and progress bars are removed.
const KEPT: usize = 8 * 1024;
/// Marks where something was cut off.
const CUT: &str = "...";

/// The last bytes of one or two streams, in the order in which they arrived. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    last: Vec<u8>,
    /// Whether earlier bytes were dropped.
    cut: bool,
}

impl Tail {
    pub(super) fn push(&self, printed: &[u8]) {
        let mut bytes = self.lock();
        bytes.last.extend_from_slice(printed);
        // Grows to twice the size before the older half is dropped, so that a byte is moved once, not at each write.
        if bytes.last.len() > 2 * KEPT {
            let surplus = bytes.last.len() - KEPT;
            bytes.last.drain(..surplus);
            bytes.cut = true;
        }
    }

    /// The end as text of at most `room` bytes: without escape sequences and overwritten progress bars, with `...` in
    /// front if something is missing, and without any part of the `secret`.
    pub(super) fn text(&self, room: usize, secret: &str) -> String {
        let bytes = self.lock();
        let cut = bytes.cut;
        let text = anstream::adapter::strip_str(&String::from_utf8_lossy(&bytes.last)).to_string();
        let lines: Vec<_> = text.lines().map(last_written).collect();
        // Half a character at the cut is decoded as a replacement character.
        let text = lines.join("\n").replace(secret, "***");
        let text = if cut {
            text.trim_start_matches('\u{fffd}')
        } else {
            &text
        };
        end(text.trim(), cut, room)
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a terminal shows of a line that was overwritten with carriage returns.
fn last_written(line: &str) -> &str {
    line.rsplit('\r')
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default()
}

/// The last bytes of `text` that fit into `room`.
fn end(text: &str, cut: bool, room: usize) -> String {
    if text.len() <= room && !cut {
        return text.to_owned();
    }
    let room = room.saturating_sub(CUT.len());
    let start = text.ceil_char_boundary(text.len().saturating_sub(room));
    format!("{CUT}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(printed: &[&[u8]], room: usize) -> String {
        let tail = Tail::default();
        for printed in printed {
            tail.push(printed);
        }
        tail.text(room, "s3cr3t")
    }

    #[test]
    fn short_output_is_kept_whole() {
        assert_eq!(text(&[b"one\n", b"two\n"], 100), "one\ntwo");
        assert_eq!(text(&[], 100), "");
    }

    #[test]
    fn long_output_keeps_its_end() {
        assert_eq!(text(&["0123456789".as_bytes()], 7), "...6789");
        let many = vec![b"line\n".as_slice(); 10_000];
        let kept = text(&[many.concat().as_slice(), b"the end"], 30);
        assert!(
            kept.starts_with("...") && kept.ends_with("line\nthe end") && kept.len() <= 30,
            "{kept}"
        );
    }

    #[test]
    fn a_secret_is_masked_before_the_cut() {
        assert_eq!(
            text(&[b"key s3cr3t, ", b"and s3", b"cr3t again"], 100),
            "key ***, and *** again"
        );
        for room in 0..20 {
            assert!(!text(&[b"a long line with s3cr3t"], room).contains("r3t"));
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let tail = Tail::default();
        (0..1_000).for_each(|_| tail.push(&[b'x'; 1_000]));
        assert!(tail.lock().last.capacity() <= 8 * KEPT);
    }

    #[test]
    fn a_cut_never_breaks_a_character() {
        for room in 0..20 {
            let kept = text(&["üüüüü€€€€".as_bytes()], room);
            assert!(kept.len() <= room.max(CUT.len()), "{room}: {kept}");
        }
        assert_eq!(text(&[b"ab\xffcd\xe2\x82"], 100), "ab\u{fffd}cd\u{fffd}");
    }

    #[test]
    fn colours_and_progress_bars_are_removed() {
        let printed: &[u8] = b"\x1b[31mred\x1b[0m\r\n 10 %\r 50 %\r100 %\r\ndone\x07\n";
        assert_eq!(text(&[printed], 100), "red\n100 %\ndone");
    }
}
