//! Instants and durations for people, and sanitizing of foreign text.

use std::time::Duration;

use crate::time::Timestamp;

/// An instant as on-call reads it, in UTC: `10:02`, or with the date when `now` is another day.
#[must_use]
pub fn human_time(instant: Timestamp, now: Timestamp) -> String {
    let day = |t: Timestamp| t.calendar().strftime("%Y-%m-%d").to_string();
    let format = if day(instant) == day(now) {
        "%H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    instant.calendar().strftime(format).to_string()
}

/// A duration in its two largest units: `45 s`, `10 min`, `1 h 30 min`, `3 d`.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = duration.as_secs();
    let Some(first) = UNITS.iter().position(|(size, _)| seconds >= *size) else {
        return if duration.is_zero() {
            "0 s".to_owned()
        } else {
            format!("{} ms", duration.as_millis())
        };
    };
    let (size, unit) = UNITS[first];
    let whole = format!("{} {unit}", seconds / size);
    match UNITS
        .get(first + 1)
        .map(|(next, unit)| (seconds % size / next, unit))
    {
        Some((rest, unit)) if rest > 0 => format!("{whole} {rest} {unit}"),
        _ => whole,
    }
}

/// `text` in printable ASCII, other characters as `?`, runs of blanks as one, cut to `chars` with `...`.
pub(crate) fn ascii(text: &str, chars: usize) -> String {
    let printable: String = text
        .chars()
        .map(|c| {
            if c.is_whitespace() {
                ' '
            } else if c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .collect();
    cut(
        &printable.split_whitespace().collect::<Vec<_>>().join(" "),
        chars,
    )
}

/// `text` on one line, at most `chars` characters, with `...` where it was cut, and [`visible`].
pub(crate) fn line(text: &str, chars: usize) -> String {
    let words = visible(text);
    let words: Vec<_> = words.split_whitespace().collect();
    cut(&words.join(" "), chars)
}

/// Foreign text as a terminal may show it: without [invisible](is_invisible) characters, and with blanks for control
/// characters other than line breaks, so that it can neither look like another text nor command the terminal.
#[must_use]
pub fn visible(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let seen = text.chars().filter(|c| !is_invisible(*c));
    seen.map(plain).collect()
}

/// Whether a character has no shape of its own: marks that change the direction of writing, characters without width,
/// tags. These are all of `Default_Ignorable_Code_Point` in Unicode's `DerivedCoreProperties.txt`, and the marks of
/// interlinear annotations.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text`, at most `chars` characters, with `...` where it was cut.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars.saturating_sub(3)).collect();
    kept + &"..."[..chars.min(3)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        let cases = [
            (0, "0 s"),
            (999, "999 ms"),
            (2_000, "2 s"),
            (90_000, "1 min 30 s"),
            (600_000, "10 min"),
        ];
        for (millis, text) in cases {
            assert_eq!(human_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(human_duration(Duration::from_mins(90)), "1 h 30 min");
        assert_eq!(human_duration(Duration::from_mins(3 * 24 * 60 + 1)), "3 d");
    }

    #[test]
    fn another_day_shows_its_date() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(human_time(at(86_400_000), at(86_400_000 + 60_000)), "00:00");
        assert_eq!(
            human_time(at(86_340_000), at(86_400_000)),
            "1970-01-01 23:59"
        );
    }

    #[test]
    fn foreign_text_is_sanitized_and_cut() {
        assert_eq!(ascii("a\nb\u{202e}ü", 10), "a b??");
        assert_eq!(ascii("0123456789x", 10), "0123456...");
        assert_eq!(line("a\nb\u{202e}c ü\u{7}", 10), "a bc ü");
        assert_eq!(cut("abc", 2), "..");
    }

    #[test]
    fn what_cannot_be_seen_is_dropped() {
        for (name, hidden) in [
            ("override of the direction", '\u{202e}'),
            ("isolate", '\u{2066}'),
            ("Arabic letter mark", '\u{61c}'),
            ("zero width space", '\u{200b}'),
            ("zero width joiner", '\u{200d}'),
            ("byte order mark", '\u{feff}'),
            ("soft hyphen", '\u{ad}'),
            ("tag", '\u{e0041}'),
            ("variation selector", '\u{e0100}'),
            ("annotation", '\u{fff9}'),
        ] {
            assert_eq!(visible(&format!("a{hidden}b")), "ab", "{name}");
        }
        assert_eq!(visible("\u{1b}[31ma\tb\u{9b}c\nd"), " [31ma b c\nd");
    }

    proptest! {
        #[test]
        fn the_rest_of_any_text_stays_in_its_order(text in any::<String>(), hidden in any::<[char; 4]>()) {
            let mixed: String = text.chars().flat_map(|c| [c, hidden[c as usize % 4]]).collect();
            let shown = visible(&mixed);
            prop_assert!(shown.chars().all(|c| !is_invisible(c) && (c == '\n' || !c.is_control())));
            prop_assert_eq!(&visible(&shown), &shown);
            let seen = mixed.chars().filter(|c| !is_invisible(*c));
            for (was, is) in seen.zip(shown.chars()) {
                prop_assert!(was == is || (was.is_control() && is == ' '));
            }
        }
    }
}
