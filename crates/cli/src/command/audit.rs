//! `hb audit`.

use std::collections::BTreeSet;

use hb_domain::{Act, ActId, ActKind, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::report_unreadable;
use crate::args::AuditCommand;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{Format, Pages, Row};

#[derive(Serialize)]
struct ActRow {
    id: ActId,
    time: String,
    who: String,
    act: ActKind,
    target: String,
    old: Option<Value>,
    new: Option<Value>,
}

impl From<Act> for ActRow {
    fn from(act: Act) -> Self {
        Self {
            id: act.id,
            time: act.at.to_string(),
            who: act.who.to_string(),
            act: act.kind,
            target: act.target,
            old: act.old,
            new: act.new,
        }
    }
}

impl Row for ActRow {
    const HEAD: &'static [&'static str] = &["TIME", "WHO", "ACT", "TARGET", "CHANGE"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![
            self.time.clone(),
            self.who.clone(),
            self.act.to_string(),
            self.target.clone(),
            change(self.old.as_ref(), self.new.as_ref()),
        ]
    }
}

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: AuditCommand,
) -> Result<(), Failure> {
    let AuditCommand::List { since } = command;
    let now = backend.ports.clock.now();
    let since = now.minus(since);
    let mut pages = Pages::<ActRow>::new(format);
    let mut after = None;
    loop {
        let page = backend.auditor.list(since, after).await?;
        report_unreadable("act", &page.unreadable);
        let rows: Vec<_> = page.items.into_iter().map(Into::into).collect();
        pages.page(&rows, now)?;
        after = page.next;
        if after.is_none() {
            return Ok(pages.end()?);
        }
    }
}

/// The members that are new, or differ: `intervalMs 300000 -> 600000`.
fn change(old: Option<&Value>, new: Option<&Value>) -> String {
    let member = |of: Option<&Value>, name: &str| text(of.and_then(|of| of.get(name)));
    let objects = [old, new].map(|value| value.and_then(Value::as_object));
    let names: BTreeSet<_> = objects
        .into_iter()
        .flatten()
        .flat_map(|o| o.keys())
        .collect();
    let changes: Vec<_> = names
        .into_iter()
        .map(|name| (name, member(old, name), member(new, name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, was, is)| match old {
            Some(_) => format!("{name} {was} -> {is}"),
            None => format!("{name} {is}"),
        })
        .collect();
    if changes.is_empty() {
        "none".to_owned()
    } else {
        changes.join(", ")
    }
}

/// A value in a cell; a dash for nothing.
fn text(value: Option<&Value>) -> String {
    let texts: Vec<_> = match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(values)) => values.iter().map(|value| text(Some(value))).collect(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| format!("{name} {}", text(Some(value))))
            .collect(),
        None | Some(Value::Null) => vec![],
        Some(other) => vec![other.to_string()],
    };
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_shows_what_is_new_or_differs() {
        let key =
            json!({"name": "web", "hostPrefixes": ["a", "b"], "expires": null, "fleet": "main"});
        let renamed =
            json!({"name": "db", "hostPrefixes": [], "expires": null, "fleet": "main", "limit": 3});
        for (old, new, expected) in [
            (None, Some(&key), "fleet main, hostPrefixes a b, name web"),
            (
                Some(&key),
                Some(&renamed),
                "hostPrefixes a b -> -, limit - -> 3, name web -> db",
            ),
            (
                Some(&key),
                None,
                "fleet main -> -, hostPrefixes a b -> -, name web -> -",
            ),
            (Some(&key), Some(&key), "none"),
            (None, None, "none"),
            (Some(&json!([1])), Some(&json!("x")), "none"),
            (
                None,
                Some(&json!({"regions": {"eu-west-1": "done", "us-east-1": "failed"}})),
                "regions eu-west-1 done us-east-1 failed",
            ),
        ] {
            assert_eq!(change(old, new), expected);
        }
    }
}
