//! `hb host`.

mod view;
mod watch;

use std::io::BufRead;

use hb_domain::{Fleet, HostId, HostKey, Interval, State, Timestamp};
use hb_service::admin::{HostAdmin, HostError, HostView};
use serde::Serialize;

use super::tell_unreadable;
use crate::args::{
    Format, HostArg, HostCommand, HostList, HostOrInput, HostsArg, IntervalArg, StateArg, Until,
};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Pages, Row};
use view::{HostDetails, HostRow};

/// What is done with a host.
#[derive(Clone, Copy)]
enum Change {
    Pause(Option<Timestamp>),
    Resume,
    Interval(Option<Interval>),
}

impl Change {
    async fn make(self, hosts: &HostAdmin, key: &HostKey) -> Result<HostView, HostError> {
        match self {
            Self::Pause(until) => hosts.pause(key, until).await,
            Self::Resume => hosts.resume(key).await,
            Self::Interval(interval) => hosts.set_interval(key, interval).await,
        }
    }
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
        HostCommand::Watch { fleet, every } => watch::run(hosts, fleet, every).await,
        HostCommand::Pause {
            hosts: which,
            until,
        } => {
            let until = until.map(|until| match until {
                Until::In(lasts) => now.plus(lasts),
                Until::At(at) => at,
            });
            change(hosts, format, which, Change::Pause(until)).await
        }
        HostCommand::Resume(which) => change(hosts, format, which, Change::Resume).await,
        HostCommand::Set {
            hosts: which,
            interval: IntervalArg(interval),
        } => change(hosts, format, which, Change::Interval(interval)).await,
        HostCommand::Forget(which) => forget(hosts, format, which).await,
    }
}

async fn list(hosts: &HostAdmin, format: Format, wanted: &HostList) -> Result<(), Failure> {
    let now = hosts.ports.clock.now();
    let mut left = wanted.limit.map_or(u64::MAX, std::num::NonZeroU64::get);
    let fits = |view: &HostView| {
        wanted
            .status
            .is_none_or(|status| view.state == state(status))
            && wanted
                .fleet
                .as_ref()
                .is_none_or(|fleet| view.key.fleet == *fleet)
            && wanted
                .prefix
                .as_ref()
                .is_none_or(|prefix| view.key.host.as_str().starts_with(prefix))
    };
    let mut listing = hosts.listing(wanted.after.as_ref()).await?;
    tell_unreadable("receiver", listing.unreadable_receivers());
    let mut pages = Pages::new(format);
    while let Some((views, unreadable)) = listing.next_page().await? {
        tell_unreadable("host", &unreadable);
        let mut views = views.into_iter().filter(fits);
        let rows: Vec<_> = views
            .by_ref()
            .take(left.try_into().unwrap_or(usize::MAX))
            .map(|view| HostRow::new(view, now))
            .collect();
        left = left.saturating_sub(rows.len().try_into().unwrap_or(u64::MAX));
        pages.page(&rows, now)?;
        if left == 0 {
            if let Some(last) = rows.last() {
                output::remark(&format!("there may be more: --after {}", last.key()));
            }
            break;
        }
    }
    Ok(pages.end::<HostRow>()?)
}

fn show(format: Format, view: HostView, now: Timestamp) -> Result<(), Failure> {
    tell_unreadable("receiver", &view.unreadable_receivers);
    let details = HostDetails::new(view, now);
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
    // A pause that is over before it begins is wrong before anything is asked.
    if let Change::Pause(Some(until)) = change
        && until <= now
    {
        return Err(HostError::from(hb_domain::PauseError::new(until, now)).into());
    }
    let HostsArg { host, fleet } = which;
    match host {
        HostOrInput::Host(host) => show(
            format,
            change.make(hosts, &HostKey::new(fleet, host)).await?,
            now,
        ),
        HostOrInput::Input => {
            let change =
                async |key: &HostKey| Ok(HostRow::new(change.make(hosts, key).await?, now));
            each(names()?, &fleet, change).print(format, now).await
        }
    }
}

async fn forget(hosts: &HostAdmin, format: Format, which: HostsArg) -> Result<(), Failure> {
    let HostsArg { host, fleet } = which;
    match host {
        HostOrInput::Host(host) => {
            let key = HostKey::new(fleet, host);
            hosts.forget(&key).await?;
            let row = Forgotten::of(&key);
            Ok(output::one(
                format,
                &format!("forgot {key}; its next beat registers it again"),
                &row,
            )?)
        }
        HostOrInput::Input => {
            let forget = async |key: &HostKey| {
                hosts.forget(key).await?;
                Ok(Forgotten::of(key))
            };
            each(names()?, &fleet, forget)
                .print(format, hosts.ports.clock.now())
                .await
        }
    }
}

/// A host that is gone.
#[derive(Serialize)]
struct Forgotten {
    forgotten: String,
    fleet: String,
}

impl Forgotten {
    fn of(key: &HostKey) -> Self {
        Self {
            forgotten: key.host.to_string(),
            fleet: key.fleet.to_string(),
        }
    }
}

impl Row for Forgotten {
    const HEAD: &'static [&'static str] = &["FORGOTTEN", "FLEET"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.forgotten.clone(), self.fleet.clone()]
    }
}

/// All names of standard input are read, and must be names, before anything is done. Empty lines and those that begin
/// with `#` are left out.
fn names() -> Result<Vec<HostId>, Failure> {
    let mut names = Vec::new();
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let wrong =
            |cause: String| Failure::Input(format!("line {number} of standard input"), cause);
        let line = line.map_err(|error| wrong(error.to_string()))?;
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(
                name.parse()
                    .map_err(|error: hb_domain::HostIdError| wrong(error.to_string()))?,
            );
        }
    }
    Ok(names)
}

/// Something that is done to many hosts, one after the other.
struct Each<'a, F> {
    names: Vec<HostId>,
    fleet: &'a Fleet,
    what: F,
}

fn each<T, F: AsyncFn(&HostKey) -> Result<T, HostError>>(
    names: Vec<HostId>,
    fleet: &Fleet,
    what: F,
) -> Each<'_, F> {
    Each { names, fleet, what }
}

impl<F> Each<'_, F> {
    /// Prints what it came to. A host that is unknown keeps nobody from the others; a store that fails does.
    async fn print<T: Row>(self, format: Format, now: Timestamp) -> Result<(), Failure>
    where
        F: AsyncFn(&HostKey) -> Result<T, HostError>,
    {
        let (of, mut failed, mut pages) = (self.names.len(), 0, Pages::new(format));
        for (done, host) in self.names.into_iter().enumerate() {
            match (self.what)(&HostKey::new(self.fleet.clone(), host)).await {
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
        pages.end::<T>()?;
        if failed > 0 {
            Err(Failure::InPart {
                failed,
                of,
                what: "hosts",
            })
        } else {
            Ok(())
        }
    }
}

fn state(status: StateArg) -> State {
    match status {
        StateArg::Up => State::Up,
        StateArg::Missing => State::Missing,
        StateArg::Failing => State::Failing,
        StateArg::Paused => State::Paused,
    }
}
