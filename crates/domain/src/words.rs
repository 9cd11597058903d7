//! Enums of which every variant is written as one fixed word, in text and in stored JSON alike.

/// A string that is not one of the words of an enum.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the {what} must be {}", alternatives(words))]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) words: &'static [&'static str],
}

/// `a, b or c`.
fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Defines such an enum: `words! { pub enum Kind: "kind" { Missing = "missing", } }`. `ALL`, `as_str`, `Display`, `FromStr`
/// and the serde names follow from the one list.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $what:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every variant, in the order of the definition.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word, as it is stored, shown and read.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::words::UnknownWord { what: $what, words: &[$($word),+] }),
                }
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::{ActKind, Kind, Protocol, Scope, Severity, Signal, State, SubscriptionState};

    fn reads_back<T>(all: &[T]) -> Vec<String>
    where
        T: Copy + std::fmt::Debug + PartialEq + ToString + std::str::FromStr<Err = UnknownWord>,
        T: Serialize + DeserializeOwned,
    {
        for value in all {
            let word = value.to_string();
            assert_eq!(word.parse(), Ok(*value));
            assert_eq!(serde_json::json!(value), word);
            assert_eq!(serde_json::from_value::<T>(word.into()).unwrap(), *value);
        }
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn released_words_stay_and_read_back() {
        let words = [
            reads_back(&Kind::ALL),
            reads_back(&Severity::ALL),
            reads_back(&State::ALL),
            reads_back(&Signal::ALL),
            reads_back(&Scope::ALL),
            reads_back(&Protocol::ALL),
            reads_back(&SubscriptionState::ALL),
            vec![reads_back(&ActKind::ALL).join(", ")],
        ];
        let lines = words.map(|words| words.join(" ")).join("\n");
        insta::assert_snapshot!(lines, @r"
        registered missing failing recovered slowed
        critical warning info
        up missing failing paused expected forgotten
        ok fail start log
        ingest read canary
        console email sms http https sqs
        confirmed pending gone
        key create, key rotate, key limit, key revoke, key import, subscription add, subscription confirm, subscription rotate-secret, subscription remove, fleet set, maintenance add, maintenance remove, host pause, host resume, host set, host ack, host expect, host forget, migrate, restore
        ");
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        insta::assert_snapshot!("late".parse::<Kind>().unwrap_err(), @"the kind must be registered, missing, failing, recovered or slowed");
        insta::assert_snapshot!("".parse::<Signal>().unwrap_err(), @"the signal must be ok, fail, start or log");
    }
}
