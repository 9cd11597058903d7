//! `hb host`.

mod expect;
mod view;
#[cfg(feature = "watch")]
mod watch;

use std::io::BufRead;

use hb_domain::{Entry, Fleet, HostId, HostIdError, HostKey, Note, PauseError, Timestamp};
use hb_service::admin::{HostAdmin, HostError, HostView};
use serde::Serialize;

use self::view::{HostDetails, HostRow};
use super::report_unreadable;
use crate::args::{
    HostArg, HostChanges, HostCommand, HostList, HostOrInput, HostsArg, OrNone, OrSent,
};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format, Pages, Row};

/// A change of a host's settings.
enum Change {
    Pause(Option<Timestamp>),
    Resume,
    Set(HostChanges),
    Acknowledge(Option<Note>),
}

impl Change {
    async fn apply(&self, hosts: &HostAdmin, key: &HostKey) -> Result<HostView, HostError> {
        match self {
            Self::Pause(until) => hosts.pause(key, *until).await,
            Self::Resume => hosts.resume(key).await,
            Self::Set(changes) => hosts.set(key, |entry| changed(entry, changes)).await,
            Self::Acknowledge(note) => hosts.acknowledge(key, note.clone()).await,
        }
    }
}

fn changed(mut entry: Entry, changes: &HostChanges) -> Result<Entry, HostError> {
    if let Some(OrSent(interval)) = changes.interval {
        entry = entry.with_interval(interval);
    }
    if let Some(schedule) = changes.schedule.clone() {
        entry = entry.with_schedule(schedule, changes.tz.clone().unwrap_or_default());
    }
    if let Some(OrSent(grace)) = changes.grace {
        entry = entry.with_grace(grace);
    }
    if let Some(OrNone(note)) = &changes.note {
        entry.details.note.clone_from(note);
    }
    for tag in &changes.tag {
        let too_many = || HostError::TooManyTags(entry.key.clone());
        entry.details = entry
            .details
            .clone()
            .with(tag.clone())
            .ok_or_else(too_many)?;
    }
    Ok(entry)
}

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: HostCommand,
) -> Result<(), Failure> {
    let hosts = &backend.hosts();
    let now = hosts.ports.clock.now();
    match command {
        HostCommand::List(wanted) => list(hosts, format, &wanted).await,
        HostCommand::Show(HostArg { host, fleet }) => {
            show(format, hosts.show(&HostKey::new(fleet, host)).await?, now)
        }
        #[cfg(feature = "watch")]
        HostCommand::Watch { fleet, every } => watch::run(hosts, fleet, every).await,
        #[cfg(not(feature = "watch"))]
        HostCommand::Watch { .. } => Err(Failure::NotBuiltIn("watch")),
        HostCommand::Pause {
            hosts: which,
            until,
        } => {
            let until = until.map(|until| until.instant(now));
            change(hosts, format, which, Change::Pause(until)).await
        }
        HostCommand::Resume(which) => change(hosts, format, which, Change::Resume).await,
        HostCommand::Ack { hosts: which, note } => {
            change(hosts, format, which, Change::Acknowledge(note)).await
        }
        HostCommand::Set {
            hosts: which,
            changes,
        } => change(hosts, format, which, Change::Set(changes)).await,
        HostCommand::Expect(wanted) => expect::run(hosts, format, wanted).await,
        HostCommand::Forget(which) => forget(hosts, format, which).await,
    }
}

async fn list(hosts: &HostAdmin, format: Format, wanted: &HostList) -> Result<(), Failure> {
    let now = hosts.ports.clock.now();
    let mut left = wanted.limit.map_or(usize::MAX, |limit| {
        limit.get().try_into().unwrap_or(usize::MAX)
    });
    let is_wanted = |view: &HostView| {
        let HostKey { fleet, host } = &view.key;
        let prefix = wanted.prefix.as_deref().unwrap_or_default();
        (wanted.status.is_empty() || wanted.status.contains(&view.state))
            && wanted.fleet.as_ref().is_none_or(|wanted| wanted == fleet)
            && host.as_str().starts_with(prefix)
    };
    let mut listing = hosts.listing(wanted.after.as_ref()).await?;
    report_unreadable("receiver", listing.unreadable_receivers());
    let mut pages = Pages::new(format);
    while let Some((views, unreadable)) = listing.next_page().await? {
        report_unreadable("host", &unreadable);
        let rows: Vec<_> = views
            .into_iter()
            .filter(is_wanted)
            .take(left)
            .map(HostRow::new)
            .collect();
        left -= rows.len();
        pages.page(&rows, now)?;
        if left == 0 {
            if let Some(last) = rows.last() {
                output::remark(&format!("there may be more: --after {}", last.key()));
            }
            break;
        }
    }
    Ok(pages.end()?)
}

fn show(format: Format, view: HostView, now: Timestamp) -> Result<(), Failure> {
    report_unreadable("receiver", &view.unreadable_receivers);
    let details = HostDetails::new(view);
    Ok(output::one(format, &details.text(now), &details)?)
}

/// Changes one host and shows it, or many and lists them.
async fn change(
    hosts: &HostAdmin,
    format: Format,
    which: HostsArg,
    change: Change,
) -> Result<(), Failure> {
    let now = hosts.ports.clock.now();
    // Checked before any host is changed.
    if let Change::Pause(Some(until)) = change
        && until <= now
    {
        return Err(HostError::from(PauseError::new(until, now)).into());
    }
    let HostsArg { host, fleet } = which;
    match host {
        HostOrInput::Host(host) => {
            let view = change.apply(hosts, &HostKey::new(fleet, host)).await?;
            show(format, view, now)
        }
        HostOrInput::Input => {
            let change = async |key: &HostKey| Ok(HostRow::new(change.apply(hosts, key).await?));
            for_each(format, now, &fleet, change).await
        }
    }
}

async fn forget(hosts: &HostAdmin, format: Format, which: HostsArg) -> Result<(), Failure> {
    let HostsArg { host, fleet } = which;
    let forget = async |key: &HostKey| {
        hosts.forget(key).await?;
        Ok(Forgotten {
            forgotten: key.host.to_string(),
            fleet: key.fleet.to_string(),
        })
    };
    match host {
        HostOrInput::Host(host) => {
            let key = HostKey::new(fleet, host);
            let row = forget(&key).await?;
            let text = format!("forgot {key}; its next beat registers it again");
            Ok(output::one(format, &text, &row)?)
        }
        HostOrInput::Input => for_each(format, hosts.ports.clock.now(), &fleet, forget).await,
    }
}

#[derive(Serialize)]
struct Forgotten {
    forgotten: String,
    fleet: String,
}

impl Row for Forgotten {
    const HEAD: &'static [&'static str] = &["FORGOTTEN", "FLEET"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.forgotten.clone(), self.fleet.clone()]
    }
}

/// Runs `operation` on each host that standard input names, and prints the results. An unknown host does not stop it;
/// a failing store does.
async fn for_each<T: Row>(
    format: Format,
    now: Timestamp,
    fleet: &Fleet,
    operation: impl AsyncFn(&HostKey) -> Result<T, HostError>,
) -> Result<(), Failure> {
    let names = names()?.into_iter();
    let keys: Vec<_> = names
        .map(|host| HostKey::new(fleet.clone(), host))
        .collect();
    each(format, now, &keys, operation).await
}

/// Runs `operation` on each of these, and prints the results, as [`for_each`] does.
async fn each<T, R: Row>(
    format: Format,
    now: Timestamp,
    items: &[T],
    operation: impl AsyncFn(&T) -> Result<R, HostError>,
) -> Result<(), Failure> {
    let of = items.len();
    let mut failed = 0;
    let mut pages = Pages::new(format);
    for (done, item) in items.iter().enumerate() {
        match operation(item).await {
            Ok(row) => pages.page(&[row], now)?,
            Err(HostError::Port(error)) => {
                output::remark(&format!("stopped after {done} of {of} hosts"));
                return Err(error.into());
            }
            Err(error) => {
                failed += 1;
                output::remark(&format!("hb: {error}"));
            }
        }
    }
    pages.end()?;
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::InPart {
        failed,
        of,
        what: "hosts",
    })
}

/// All names are read, and checked, before the first host is changed. Empty lines and lines that start with `#` are
/// skipped.
fn names() -> Result<Vec<HostId>, Failure> {
    let mut names = Vec::new();
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let wrong = |cause: String| Failure::Input {
            source_name: format!("line {number} of standard input"),
            cause,
        };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            let name = name.parse();
            names.push(name.map_err(|error: HostIdError| wrong(error.to_string()))?);
        }
    }
    Ok(names)
}
