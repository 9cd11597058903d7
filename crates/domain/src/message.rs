//! What a host says of a failure, or wants to be kept.

use serde::{Deserialize, Serialize};

use crate::limits;

/// The message of a failing host: text without control characters, cut at 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Message(String);

impl Message {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first line: all that a short text has room for.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// Whether no text is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message of a job, of the text that it [printed] and how it ended, such as `exit 17`.
    ///
    /// The last line comes first, because it mostly says why. Behind it come the lines before it, as many of the last ones as fit.
    #[must_use]
    pub fn of_job(how: Option<&str>, printed: &str) -> Self {
        let (earlier, last) = printed.rsplit_once('\n').unwrap_or(("", printed));
        let how = how.unwrap_or_default();
        let colon = if how.is_empty() || last.is_empty() {
            ""
        } else {
            ": "
        };
        let used = how.len() + colon.len();
        let last = end(last, limits::MESSAGE_BYTES.saturating_sub(used));
        let used = used + last.len() + 1;
        let earlier = end(earlier, limits::MESSAGE_BYTES.saturating_sub(used));
        Self::from(format!("{how}{colon}{last}\n{earlier}"))
    }
}

/// Keeps line breaks, replaces other control characters by blanks, and trims both ends, after all of that: a stored
/// message is read as it was written.
impl From<String> for Message {
    fn from(text: String) -> Self {
        let plain: String = text
            .chars()
            .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
            .collect();
        let plain = plain.trim();
        let end = plain.floor_char_boundary(limits::MESSAGE_BYTES);
        Self(plain[..end].trim_end().to_owned())
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

/// What a person reads of a job's output: without escape sequences, overwritten progress bars and empty lines.
#[must_use]
pub fn printed(output: &str) -> String {
    let text = anstream::adapter::strip_str(output).to_string();
    let lines = text.lines().map(last_written).map(str::trim_end);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// What a terminal shows of a line that was overwritten with carriage returns.
fn last_written(line: &str) -> &str {
    line.rsplit('\r')
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default()
}

/// The last bytes of `text` that fit into `room`, with `...` in front if something is missing.
fn end(text: &str, room: usize) -> String {
    const CUT: &str = "...";
    if text.len() <= room {
        return text.to_owned();
    }
    let Some(room) = room.checked_sub(CUT.len()) else {
        return String::new();
    };
    let start = text.ceil_char_boundary(text.len() - room);
    format!("{CUT}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_cut_between_characters_and_lose_control_characters() {
        let message = Message::from("ä".repeat(1000));
        assert_eq!(message.as_str().len(), 1024);
        assert_eq!(
            Message::from("a\u{1b}[2Jb\nc\r\n".to_owned()).as_str(),
            "a [2Jb\nc"
        );
    }

    #[test]
    fn a_message_that_is_read_again_is_the_same() {
        let cut = format!("{} {}", "a".repeat(1023), "b".repeat(9));
        for (text, kept) in [
            ("a\0", "a"),
            ("\u{1b}\n a", "a"),
            (&cut, &cut[..1023]),
            ("\0", ""),
        ] {
            let message = Message::from(text.to_owned());
            assert_eq!(message.as_str(), kept);
            assert_eq!(Message::from(String::from(message.clone())), message);
        }
    }

    #[test]
    fn the_last_line_of_a_job_comes_first() {
        let cases = [
            (Some("exit 17"), "", "exit 17"),
            (
                Some("exit 17"),
                "tar: /dev/st0: Cannot write",
                "exit 17: tar: /dev/st0: Cannot write",
            ),
            (Some("exit 1"), "one\ntwo\nlast", "exit 1: last\none\ntwo"),
            (None, "one\nlast", "last\none"),
            (None, "", ""),
        ];
        for (how, printed, message) in cases {
            assert_eq!(Message::of_job(how, printed).as_str(), message);
        }
        assert_eq!(
            Message::of_job(Some("exit 1"), "one\nlast").headline(),
            "exit 1: last"
        );
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let many = Message::of_job(
            Some("exit 3"),
            &format!("{}disk full", "line\n".repeat(500)),
        );
        assert_eq!(many.headline(), "exit 3: disk full");
        assert!(many.as_str().ends_with("\nline\nline") && many.as_str().len() == 1_024);
        assert!(many.as_str().contains("disk full\n..."));
        let long = Message::of_job(Some("exit 3"), &format!("before\n{}end", "x".repeat(2_000)));
        assert!(long.as_str().starts_with("exit 3: ...xx") && long.as_str().ends_with("xend"));
        assert_eq!(long.as_str().len(), 1_024);
    }

    #[test]
    fn colours_progress_bars_and_empty_lines_are_not_printed() {
        let output = "\x1b[31mred\x1b[0m\r\n 10 %\r 50 %\r100 %\r\n\n  done\x07 \n";
        assert_eq!(printed(output), "red\n100 %\n  done");
    }

    proptest! {
        #[test]
        fn a_message_of_a_job_is_read_as_it_was_written(
            how in prop::option::of("exit [0-9]{1,3}"),
            output in "(\\PC|\n|\r|\u{1b}){0,40}",
            times in 1..100_usize,
        ) {
            let message = Message::of_job(how.as_deref(), &printed(&output.repeat(times)));
            prop_assert!(message.as_str().len() <= limits::MESSAGE_BYTES);
            prop_assert!(how.is_none_or(|how| message.as_str().starts_with(&how)));
            prop_assert_eq!(Message::from(message.as_str().to_owned()), message);
        }
    }
}
