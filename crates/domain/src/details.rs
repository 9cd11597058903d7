//! What admins say of a host, for those who get its notices.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::acknowledgement::Note;
use crate::host::name;
use crate::limits;

/// A note, such as whom to call, and tags for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Details {
    /// Stands in each notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Stand in each notice as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<TagName, Note>,
}

impl Details {
    /// Whether nobody said anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.note.is_none() && self.tags.is_empty()
    }

    /// With this tag, in the place of one of its name; `None` when there are [too many](limits::TAGS).
    #[must_use]
    pub fn with(mut self, tag: Tag) -> Option<Self> {
        match tag.value {
            Some(value) => drop(self.tags.insert(tag.name, value)),
            None => drop(self.tags.remove(&tag.name)),
        }
        (self.tags.len() <= limits::TAGS).then_some(self)
    }

    /// The tags as people read them: `rack=7, site=north`.
    #[must_use]
    pub fn tags(&self) -> String {
        let tags = self.tags.iter();
        let tags: Vec<_> = tags
            .map(|(name, value)| format!("{name}={}", value.as_str()))
            .collect();
        tags.join(", ")
    }
}

/// The name of a tag: 1 to [`limits::TAG_CHARS`] characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TagName(String);

/// A tag as an admin writes it: `rack=7`, or `rack=` for none of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    name: TagName,
    value: Option<Note>,
}

/// A string that is not a tag, or not the name of one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a tag is NAME=VALUE, a name of 1 to {} characters A-Z a-z 0-9 . _ - and a value of up to {} on one line",
    limits::TAG_CHARS,
    limits::NOTE_CHARS
)]
pub struct TagError;

impl FromStr for TagName {
    type Err = TagError;
    fn from_str(text: &str) -> Result<Self, TagError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=limits::TAG_CHARS).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned())).ok_or(TagError)
    }
}

name!(TagName, TagError);

impl FromStr for Tag {
    type Err = TagError;
    fn from_str(text: &str) -> Result<Self, TagError> {
        let (name, value) = text.split_once('=').ok_or(TagError)?;
        let value = (!value.is_empty()).then(|| value.parse());
        Ok(Self {
            name: name.parse()?,
            value: value.transpose().map_err(|_| TagError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_replaced_and_removed_up_to_their_number() {
        let mut details = Details::default();
        for tag in ["rack=7", "site=north", "rack=8", "site=", "none="] {
            details = details.with(tag.parse().unwrap()).unwrap();
        }
        assert_eq!(details.tags(), "rack=8");
        for n in 1..limits::TAGS {
            details = details.with(format!("t{n}=x").parse().unwrap()).unwrap();
        }
        assert_eq!(details.clone().with("one-more=x".parse().unwrap()), None);
        assert!(details.with("t1=y".parse().unwrap()).is_some());
    }

    #[test]
    fn tags_have_a_name_and_one_line() {
        for bad in ["", "rack", "=7", "r ck=7", "rack=a\nb", "räck=7"] {
            assert_eq!(bad.parse::<Tag>(), Err(TagError), "{bad}");
        }
        assert!(format!("{}=x", "n".repeat(33)).parse::<Tag>().is_err());
    }
}
