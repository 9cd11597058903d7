//! The rules of findings: functions of what was read and the time.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use hb_domain::{
    Entry, Fleet, FleetSettings, HostId, Key, Message, Phase, Receiver, ReceiverHealth, Scope,
    State, Subscription, SubscriptionId, SubscriptionState, Timestamp, human_duration, human_time,
};

use super::{Expectations, Finding, Verdict};
use crate::ports::{CONSOLE, CompletedSweep, Tally, Unreadable};

/// A warning this long before a key expires: two weeks to distribute another one to a fleet.
const SOON: Duration = Duration::from_hours(14 * 24);
/// A notice that waits longer is stuck: more than an echo, some retries and a sweep take.
const STUCK: Duration = Duration::from_mins(10);
/// Clocks that follow a time service differ by less.
const SKEWED: Duration = Duration::from_secs(10);
/// AWS refuses requests that were signed by a clock this far off (AWS General Reference, "Signature Version 4").
const REFUSED: Duration = Duration::from_mins(5);
/// Given up longer ago, a delivery is news no more: a week, so that one of a Friday is still shown on Monday.
const DEAD_SHOWN: Duration = Duration::from_hours(7 * 24);
/// Most names in a finding; the others are counted.
const NAMES: usize = 5;

const SUBSCRIPTIONS: &str = "subscriptions";

/// Compares the clock of a service with ours.
#[must_use]
pub fn clock_skew(theirs: Timestamp, ours: Timestamp) -> Finding {
    let skew = theirs.since(ours).max(ours.since(theirs));
    if skew <= SKEWED {
        return Finding::ok("clock", "agrees with the service's");
    }
    let whose = if theirs > ours { "ahead of" } else { "behind" };
    let cause = format!(
        "the service's clock is {} {whose} this machine's",
        human_duration(skew)
    );
    let next = "synchronize both machines with a time service, such as chrony or systemd-timesyncd";
    let finding = Finding::warning("clock", cause, next);
    Finding {
        verdict: if skew < REFUSED {
            Verdict::Warning
        } else {
            Verdict::Problem
        },
        ..finding
    }
}

pub(super) fn sweep(
    last: Option<&CompletedSweep>,
    usual: &Expectations,
    now: Timestamp,
) -> Finding {
    let Some(last) = last else {
        return Finding::problem(
            "sweep",
            "no sweep has ever completed: silent hosts are not detected",
            usual.revive,
        );
    };
    if last.ended.since(now) > SKEWED {
        let cause = format!(
            "the last one was recorded at {}, which is in the future: a clock was wrong then, or this one is now",
            last.ended
        );
        let next = "check this machine's clock; if it is right, the next sweep corrects the record";
        return Finding::problem("sweep", cause, next);
    }
    let age = now.since(last.ended);
    let cause = format!(
        "the last one ended {} ago and scanned {} hosts",
        ago(age),
        last.hosts
    );
    if age > usual.sweep_gone {
        Finding::problem("sweep", cause, usual.revive)
    } else if age > usual.sweep_late {
        Finding::warning("sweep", cause, usual.revive)
    } else {
        Finding::ok("sweep", cause)
    }
}

/// Compares the programs that swept last in the regions of a stage; `None` while none did.
#[must_use]
pub fn programs(swept: &[(String, CompletedSweep)]) -> Option<Finding> {
    const THING: &str = "program";
    let name = |sweep: &CompletedSweep| match &*sweep.program {
        "" => "an earlier version".to_owned(),
        program => program.to_owned(),
    };
    let first = name(&swept.first()?.1);
    if swept.iter().all(|(_, sweep)| name(sweep) == first) {
        return Some(Finding::ok(THING, first));
    }
    let each: Vec<_> = swept
        .iter()
        .map(|(region, sweep)| format!("{} in {region}", name(sweep)))
        .collect();
    let next = "deploy the region with the older one: build once, then deploy both";
    let cause = format!("the regions differ: {}", each.join(", "));
    Some(Finding::warning(THING, cause, next))
}

pub(super) fn receiver(
    receiver: Option<&Receiver>,
    usual: &Expectations,
    now: Timestamp,
) -> Vec<Finding> {
    let Some(receiver) = receiver else {
        return vec![Finding::problem(
            "canaries",
            "none was ever received",
            usual.revive,
        )];
    };
    let last = |at: Timestamp| format!("the last one was received {} ago", ago(now.since(at)));
    let finding = match receiver.health(now, &usual.canaries) {
        ReceiverHealth::Healthy => Finding::ok("canaries", last(receiver.heard.unwrap_or(now))),
        ReceiverHealth::Stale(Some(at)) => {
            Finding::warning("canaries", last(at), "run this again in a minute")
        }
        ReceiverHealth::Stale(None) => {
            Finding::problem("canaries", "none was ever received", usual.revive)
        }
        ReceiverHealth::Down(at) => {
            let cause = format!("{}: beats probably do not arrive either", last(at));
            Finding::problem("canaries", cause, usual.revive)
        }
    };
    let holds = receiver.holds.iter().map(|(fleet, since)| {
        let cause = format!(
            "notices of fleet {fleet} have been held since {}",
            human_time(*since, now)
        );
        Finding::problem(
            "notices",
            cause,
            "check the receiver first: so many hosts are silent that it may be at fault",
        )
    });
    std::iter::once(finding).chain(holds).collect()
}

/// Whether a notice waits for longer than its group, or than a delivery takes.
fn is_stuck(entry: &Entry, settings: &BTreeMap<Fleet, FleetSettings>, now: Timestamp) -> bool {
    let Some((pending, last)) = entry.pending.as_ref().zip(entry.history.last()) else {
        return false;
    };
    let settings = settings.get(&entry.key.fleet).copied().unwrap_or_default();
    match pending.phase {
        // Another sweep may take the turn of the group, and end before it sends.
        Phase::Pending { not_before } if pending.is_untouched() => {
            let group = settings.wait() + 2 * settings.interval();
            now.since(not_before.max(last.at)) > group + STUCK
        }
        _ => now.since(last.at) > STUCK,
    }
}

pub(super) fn notices(
    open: &[Entry],
    settings: &BTreeMap<Fleet, FleetSettings>,
    revive: &str,
    now: Timestamp,
) -> Finding {
    let pending: Vec<_> = open
        .iter()
        .filter(|entry| entry.pending.is_some())
        .collect();
    let decided = |entry: &Entry| entry.history.last().map_or(now, |transition| transition.at);
    let stuck: Vec<_> = pending
        .iter()
        .filter(|entry| is_stuck(entry, settings, now))
        .collect();
    let Some(oldest) = stuck.iter().map(|entry| decided(entry)).min() else {
        return Finding::ok("notices", format!("{} pending, none stuck", pending.len()));
    };
    let attempts = stuck
        .iter()
        .filter_map(|entry| Some(entry.pending.as_ref()?.attempt))
        .max();
    let cause = format!(
        "{} stuck, the oldest for {}, after up to {} attempts: {}",
        stuck.len(),
        ago(now.since(oldest)),
        attempts.unwrap_or(0),
        names(stuck.iter().map(|entry| &entry.key)),
    );
    Finding::problem("notices", cause, revive)
}

/// What the server says of its machine's clock.
pub(super) fn clock(open: &[Entry]) -> Option<Finding> {
    let entry = open
        .iter()
        .find(|entry| entry.key.host == HostId::clock() && entry.state == State::Failing)?;
    let last = entry.history.last()?;
    let said = last.message.as_ref().map_or("it stepped", Message::as_str);
    Some(Finding::warning(
        "server's clock",
        said,
        "check the time service of the server's machine, such as `chronyc tracking` or `timedatectl`",
    ))
}

pub(super) fn subscriptions(
    subscriptions: &[Subscription],
    states: &BTreeMap<SubscriptionId, SubscriptionState>,
    tally: Option<&BTreeMap<SubscriptionId, Tally>>,
    now: Timestamp,
) -> Vec<Finding> {
    if subscriptions.is_empty() {
        let next = "run `hb subscription add email ADDRESS`, or `https` with the URL of a webhook";
        return vec![Finding::warning(
            SUBSCRIPTIONS,
            "there are none: notices are not sent to anyone",
            next,
        )];
    }
    let mut findings = Vec::new();
    for Subscription {
        id,
        endpoint,
        webhook,
        ..
    } in subscriptions
    {
        // The address of a webhook is a secret, so no address is shown.
        let who = format!("{id} ({})", endpoint.protocol());
        match states.get(id) {
            Some(SubscriptionState::Pending) => {
                let next = "its owner must confirm; `hb subscription add` with the same address asks again";
                findings.push(Finding::warning(
                    SUBSCRIPTIONS,
                    format!("{who} is not confirmed and receives nothing"),
                    next,
                ));
            }
            Some(SubscriptionState::Gone) => {
                let next = "remove it with `hb subscription remove`, and add it again if it should receive notices";
                findings.push(Finding::problem(
                    SUBSCRIPTIONS,
                    format!("the topic no longer knows {who}"),
                    next,
                ));
            }
            Some(SubscriptionState::Confirmed) | None => {}
        }
        let Some(tally) = tally else { continue };
        if endpoint.protocol().is_webhook() && webhook.secret().is_none() {
            let cause = format!("{who} is not signed: an earlier version added it");
            let next = format!(
                "`hb subscription rotate-secret {id}` makes a secret; its receiver verifies with it"
            );
            findings.push(Finding::warning(SUBSCRIPTIONS, cause, next));
        }
        let tally = tally.get(id).into_iter();
        findings.extend(tally.flat_map(|tally| deliveries(&who, tally, now)));
    }
    let console = tally.zip(CONSOLE.parse().ok());
    let console = console.and_then(|(tally, id)| tally.get(&id)).into_iter();
    findings.extend(console.flat_map(|tally| deliveries("the console", tally, now)));
    if findings.is_empty() {
        let more = match tally {
            Some(_) => "",
            None => {
                "; SNS counts failed deliveries in the metric NumberOfNotificationsFailed of the topic"
            }
        };
        findings.push(Finding::ok(
            SUBSCRIPTIONS,
            format!("{}, without problems{more}", subscriptions.len()),
        ));
    }
    findings
}

/// What fails now, and what was given up lately.
fn deliveries(who: &str, tally: &Tally, now: Timestamp) -> Vec<Finding> {
    let Tally {
        due,
        dead,
        last_dead,
        failing_since,
        next_try,
        last_error,
        ..
    } = tally;
    let error = last_error
        .as_ref()
        .map(|error| format!("; last error: {error}"))
        .unwrap_or_default();
    let mut findings = Vec::new();
    if let Some(at) = last_dead.filter(|at| now.since(*at) < DEAD_SHOWN) {
        let cause = format!(
            "notices to {who} given up in the last 30 d: {dead}, the last one {} ago{error}",
            ago(now.since(at))
        );
        let next = "fix the endpoint and try it with `hb subscription test`: what was given up is not sent again";
        findings.push(Finding::problem(SUBSCRIPTIONS, cause, next));
    }
    if let Some(since) = failing_since {
        let next_try = next_try.filter(|next| *next > now);
        let next_try = next_try.map_or("now".to_owned(), |next| {
            format!("in {}", ago(next.since(now)))
        });
        let cause = format!(
            "delivery to {who} has failed for {}; notices that wait: {due}, next try {next_try}{error}",
            ago(now.since(*since)),
        );
        let next = "fix the endpoint; each notice is retried for 24 h";
        findings.push(Finding::warning(SUBSCRIPTIONS, cause, next));
    }
    findings
}

pub(super) fn keys(keys: &[Key], now: Timestamp) -> Vec<Finding> {
    const THING: &str = "keys";
    let live = keys
        .iter()
        .filter(|key| key.is_live(now) && key.scope == Scope::Ingest)
        .count();
    let mut findings = Vec::new();
    if live == 0 {
        let cause = "no active key can send beats: every beat is refused";
        findings.push(Finding::problem(
            THING,
            cause,
            "create one with `hb key create NAME`",
        ));
    }
    let ends = |key: &&Key| key.expires.filter(|_| key.revoked.is_none());
    let within = |at: Timestamp, from: Timestamp| at.since(from) <= SOON && at >= from;
    let ending: Vec<_> = keys
        .iter()
        .filter(|key| ends(key).is_some_and(|at| within(at, now)))
        .collect();
    let ended: Vec<_> = keys
        .iter()
        .filter(|key| ends(key).is_some_and(|at| at < now && within(now, at)))
        .collect();
    let named = |keys: &[&Key]| names(keys.iter().map(|key| format!("{} ({})", key.id, key.name)));
    if !ending.is_empty() {
        let cause = format!("{} expire within 14 d: {}", ending.len(), named(&ending));
        findings.push(Finding::warning(
            THING,
            cause,
            "create successors with `hb key rotate` and install them on the machines",
        ));
    }
    if !ended.is_empty() {
        let cause = format!(
            "{} expired in the last 14 d: {}",
            ended.len(),
            named(&ended)
        );
        let next = "machines that still use them are refused: run `hb host list --status missing`";
        findings.push(Finding::warning(THING, cause, next));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            THING,
            format!("{live} can send beats, none expires within 14 d"),
        ));
    }
    findings
}

pub(super) fn unreadable(table: &str, unreadable: &[Unreadable]) -> Vec<Finding> {
    let Some(Unreadable { key, cause }) = unreadable.first() else {
        return Vec::new();
    };
    let cause = format!(
        "{} stored items cannot be read, the first is {key}: {cause}",
        unreadable.len()
    );
    let next = "they are ignored: restore them from a backup, or remove them";
    vec![Finding::problem(table, cause, next)]
}

fn ago(age: Duration) -> String {
    human_duration(Duration::from_secs(age.as_secs()))
}

/// The first names, and how many more there are.
fn names<T: Display>(all: impl ExactSizeIterator<Item = T>) -> String {
    let more = all.len().saturating_sub(NAMES);
    let first: Vec<_> = all.take(NAMES).map(|name| name.to_string()).collect();
    if more == 0 {
        first.join(", ")
    } else {
        format!("{} and {more} more", first.join(", "))
    }
}
