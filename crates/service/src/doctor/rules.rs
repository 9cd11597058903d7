//! What is a finding, and how bad: functions of what was read and an instant.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use hb_domain::{
    Entry, Key, Receiver, ReceiverHealth, Scope, Subscription, SubscriptionId, SubscriptionState,
    Timestamp, human_duration, human_time,
};

use super::{Expectations, Finding, Verdict};
use crate::ports::{CompletedSweep, Tally, Unreadable};

/// Keys that end within this are told: two weeks to bring another one to a fleet.
const SOON: Duration = Duration::from_hours(14 * 24);
/// A notice that waits longer is stuck: more than an echo, some pauses and a sweep take.
const STUCK: Duration = Duration::from_mins(10);
/// Clocks that follow a time service differ by less.
const SKEWED: Duration = Duration::from_secs(10);
/// AWS refuses requests that were signed by a clock this far off (AWS General Reference, "Signature Version 4").
const REFUSED: Duration = Duration::from_mins(5);
/// So many names are told; of the others the number.
const NAMES: usize = 5;

/// How the clock of a service stands to ours.
#[must_use]
pub fn clock_skew(theirs: Timestamp, ours: Timestamp) -> Finding {
    let skew = theirs.since(ours).max(ours.since(theirs));
    if skew <= SKEWED {
        return Finding::ok("clock", "as the service's");
    }
    let whose = if theirs > ours { "ahead of" } else { "behind" };
    let cause = format!(
        "the service's clock is {} {whose} the one here",
        human_duration(skew)
    );
    let next = "let both machines follow a time service, such as chrony or systemd-timesyncd";
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
            "none was ever completed: nobody is watched",
            usual.revive,
        );
    };
    if last.ended.since(now) > SKEWED {
        let cause = format!(
            "the last one ended at {}, which is still to come",
            last.ended
        );
        return Finding::problem(
            "sweep",
            cause,
            "set the clock here, or that of the machine that sweeps",
        );
    }
    let age = now.since(last.ended);
    let cause = format!(
        "the last one ended {} ago and saw {} hosts",
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

pub(super) fn receiver(
    receiver: Option<&Receiver>,
    usual: &Expectations,
    now: Timestamp,
) -> Vec<Finding> {
    let Some(receiver) = receiver else {
        return vec![Finding::problem(
            "canaries",
            "none was ever heard",
            usual.revive,
        )];
    };
    let heard = |at: Timestamp| format!("the last one was heard {} ago", ago(now.since(at)));
    let finding = match receiver.health(now, &usual.canaries) {
        ReceiverHealth::Healthy => Finding::ok("canaries", heard(receiver.heard.unwrap_or(now))),
        ReceiverHealth::Stale(Some(at)) => {
            Finding::warning("canaries", heard(at), "look again in a minute")
        }
        ReceiverHealth::Stale(None) => {
            Finding::problem("canaries", "none was ever heard", usual.revive)
        }
        ReceiverHealth::Down(at) => {
            let cause = format!("{}: beats are probably not heard either", heard(at));
            Finding::problem("canaries", cause, usual.revive)
        }
    };
    let holds = receiver.holds.iter().map(|(fleet, since)| {
        let cause = format!(
            "those of fleet {fleet} are held since {}",
            human_time(*since, now)
        );
        Finding::problem(
            "notices",
            cause,
            "so many are silent that the receiver may be at fault: see to it first",
        )
    });
    std::iter::once(finding).chain(holds).collect()
}

pub(super) fn notices(open: &[Entry], revive: &str, now: Timestamp) -> Finding {
    let pending: Vec<_> = open
        .iter()
        .filter(|entry| entry.pending.is_some())
        .collect();
    let decided = |entry: &Entry| entry.history.last().map_or(now, |transition| transition.at);
    let stuck: Vec<_> = pending
        .iter()
        .filter(|entry| now.since(decided(entry)) > STUCK)
        .collect();
    let Some(oldest) = stuck.iter().map(|entry| decided(entry)).min() else {
        return Finding::ok(
            "notices",
            format!("{} are on their way, none for long", pending.len()),
        );
    };
    let attempts = stuck
        .iter()
        .filter_map(|entry| Some(entry.pending.as_ref()?.attempt))
        .max();
    let cause = format!(
        "{} are stuck, the oldest for {}, at up to {} attempts: {}",
        stuck.len(),
        ago(now.since(oldest)),
        attempts.unwrap_or(0),
        names(stuck.iter().map(|entry| &entry.key)),
    );
    Finding::problem("notices", cause, revive)
}

pub(super) fn subscriptions(
    subscriptions: &[Subscription],
    states: &BTreeMap<SubscriptionId, SubscriptionState>,
    tally: &BTreeMap<SubscriptionId, Tally>,
) -> Vec<Finding> {
    const THING: &str = "subscriptions";
    if subscriptions.is_empty() {
        let next = "`hb subscription add email ADDRESS`, or https with the URL of a webhook";
        return vec![Finding::warning(
            THING,
            "there are none: no notice reaches anybody",
            next,
        )];
    }
    let mut findings = Vec::new();
    for Subscription { id, endpoint, .. } in subscriptions {
        // The address of a webhook is a secret: none is shown.
        let who = format!("{id} ({})", endpoint.protocol());
        match states.get(id) {
            Some(SubscriptionState::Pending) => {
                let next = "whoever is there has to confirm; `hb subscription add` with the same address asks again";
                findings.push(Finding::warning(
                    THING,
                    format!("{who} is not confirmed and gets nothing"),
                    next,
                ));
            }
            Some(SubscriptionState::Gone) => {
                let next =
                    "`hb subscription remove` it, and add it again if somebody is to be told there";
                findings.push(Finding::problem(
                    THING,
                    format!("{who} is not known to the topic any more"),
                    next,
                ));
            }
            Some(SubscriptionState::Confirmed) | None => {}
        }
        let Some(Tally {
            due,
            dead,
            last_error,
            ..
        }) = tally.get(id)
        else {
            continue;
        };
        let error = last_error
            .as_ref()
            .map(|error| format!("; last error: {error}"))
            .unwrap_or_default();
        if *dead > 0 {
            let cause = format!("{dead} notices to {who} were given up{error}");
            let next = "mend the endpoint, then remove the subscription and add it again";
            findings.push(Finding::problem(THING, cause, next));
        } else if *due > 0 && last_error.is_some() {
            let cause = format!("{due} notices to {who} wait to be tried again{error}");
            findings.push(Finding::warning(
                THING,
                cause,
                "see to the endpoint; they are tried for 24 h",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            THING,
            format!("{}, none in trouble", subscriptions.len()),
        ));
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
        let cause = "there is no live one that can send: every beat is refused";
        findings.push(Finding::problem(
            THING,
            cause,
            "`hb key create NAME` makes one",
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
            "make new ones with `hb key rotate` and bring them to the machines",
        ));
    }
    if !ended.is_empty() {
        let cause = format!(
            "{} expired in the last 14 d: {}",
            ended.len(),
            named(&ended)
        );
        let next = "machines that still use them are refused: see `hb host list --status missing`";
        findings.push(Finding::warning(THING, cause, next));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            THING,
            format!("{live} can send, none ends within 14 d"),
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
    let next = "they count for nothing: restore them from a backup, or remove them";
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
