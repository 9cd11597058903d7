//! Keeps the end of what a command prints, and makes it a message for people.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hb_domain::printed;

/// The bytes that are kept: more than a message holds, because colours and progress bars are removed.
const KEPT: usize = 8 * 1024;

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

    /// What a person reads of it, without any part of the `secret`.
    pub(super) fn text(&self, secret: &str) -> String {
        let bytes = self.lock();
        let text = printed(&String::from_utf8_lossy(&bytes.last)).replace(secret, "***");
        if bytes.cut {
            // Half a character at the cut.
            text.trim_start_matches('\u{fffd}').to_owned()
        } else {
            text
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(printed: &[&[u8]]) -> String {
        let tail = Tail::default();
        for printed in printed {
            tail.push(printed);
        }
        tail.text("s3cr3t")
    }

    #[test]
    fn short_output_is_kept_whole() {
        assert_eq!(text(&[b"one\n", b"two\n"]), "one\ntwo");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn long_output_keeps_its_end() {
        let many = vec![b"line\n".as_slice(); 10_000];
        let kept = text(&[many.concat().as_slice(), b"the end"]);
        assert!(kept.ends_with("line\nthe end"), "{kept}");
        assert!((KEPT..=2 * KEPT).contains(&kept.len()), "{}", kept.len());
    }

    #[test]
    fn a_secret_is_masked() {
        assert_eq!(
            text(&[b"key s3cr3t, ", b"and s3", b"cr3t again\nand s3\x1b[1mcr3t"]),
            "key ***, and *** again\nand ***"
        );
    }

    #[test]
    fn memory_stays_bounded() {
        let tail = Tail::default();
        (0..1_000).for_each(|_| tail.push(&[b'x'; 1_000]));
        assert!(tail.lock().last.capacity() <= 8 * KEPT);
    }

    #[test]
    fn a_cut_never_breaks_a_character() {
        let kept = text(&["€".repeat(KEPT).as_bytes(), b"x"]);
        assert!(kept.starts_with('€') && kept.ends_with("€x"));
        assert_eq!(text(&[b"ab\xffcd\xe2\x82"]), "ab\u{fffd}cd\u{fffd}");
    }
}
