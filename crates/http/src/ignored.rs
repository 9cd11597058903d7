//! The fields of a request that we do not know. Their names come back, so that a typo shows.

use hb_domain::limits;

use crate::invalid::quoted;

/// The names of some of them, each once and cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ignored(Vec<String>);

impl Ignored {
    pub(crate) fn add(&mut self, name: &str) {
        if self.0.len() < limits::IGNORED_FIELDS {
            let name = quoted(&name);
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
    }

    /// These, and those of `others`.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        for name in &others.0 {
            self.add(name);
        }
        self
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_short_names_are_kept_once() {
        let mut ignored = Ignored::default();
        for name in ["a", "a", &"x".repeat(1_000)] {
            ignored.add(name);
        }
        let cut = "x".repeat(40) + "…";
        assert_eq!(ignored.names(), ["a", &cut]);
        (0..100).for_each(|n| ignored.add(&n.to_string()));
        let ignored = Ignored::default().and(&ignored).and(&ignored);
        assert_eq!(ignored.names().len(), limits::IGNORED_FIELDS);
        assert_eq!(ignored.names()[..2], ["a", &cut]);
    }
}
