//! The receivers of notices: webhooks that refuse, hang, and take notices without an answer; and the console, which takes
//! everything.

use async_trait::async_trait;
use hb_delivery::{Refusal, SendError, Sender};
use hb_domain::{About, HostKey, Notice, SubscriptionId, Timestamp};
use hb_service::ports::{CONSOLE, Content, Delivery};

use super::deliveries;
use super::process::Process;
use super::troubles::Trouble;
use super::world::{Id, World, sleep};

/// How long the sender waits for an answer.
const TIMEOUT: i64 = 10_000;

/// How a receiver answers at present, whatever it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Accepts,
    Unavailable,
    Gone,
    Hangs,
}

/// How a receiver answers to a certain notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dislike {
    None,
    ForNow,
    Finally,
}

pub(crate) struct Receiver {
    pub(crate) mood: Mood,
    /// How many hosts of a digest it takes.
    pub(crate) hosts: usize,
}

/// A receiver took a notice.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) at: i64,
    /// The process that had sent it.
    pub(crate) life: u64,
    /// Whether that got the answer.
    pub(crate) answered: bool,
    pub(crate) notice: String,
}

/// The transitions that a notice is about.
pub(crate) fn transitions(notice: &Notice) -> Vec<Id> {
    let key = |host: &hb_domain::HostId| HostKey::new(notice.fleet.clone(), host.clone());
    match &notice.about {
        About::Host(host) => vec![(key(&host.host_id), host.epoch)],
        About::Digest(members) => members
            .iter()
            .map(|member| (key(&member.host), member.epoch))
            .collect(),
    }
}

/// The answer to a try.
enum Answer {
    Accepted,
    Refused(Refusal),
    /// None within the time, whether it was accepted or not.
    None,
}

impl World {
    /// What a receiver does with a notice.
    fn receive(&mut self, to: &SubscriptionId, notice: &Notice, life: u64) -> Answer {
        let (mood, hosts) = match self.receivers.get(to) {
            None => (Mood::Accepts, usize::MAX),
            Some(receiver) => (receiver.mood, receiver.hosts),
        };
        match mood {
            Mood::Accepts => {}
            Mood::Unavailable => return Answer::Refused(Refusal::Temporary),
            Mood::Gone => return Answer::Refused(Refusal::Final),
            Mood::Hangs => return Answer::None,
        }
        if notice.count() > hosts {
            self.note(Trouble::TooLarge.name());
            return Answer::Refused(Refusal::TooLarge);
        }
        match self.dislike(to, notice) {
            Dislike::Finally => return Answer::Refused(Refusal::Final),
            Dislike::ForNow if self.now() < self.liked_from => {
                return Answer::Refused(Refusal::Temporary);
            }
            Dislike::ForNow | Dislike::None => {}
        }
        self.say(|| {
            format!(
                "{to} takes {:?} of {} ({})",
                notice.kind,
                notice.about_whom(),
                notice.id
            )
        });
        deliveries::received(self, to, notice, life);
        if to.to_string() != CONSOLE && self.strikes(Trouble::AnswerLost) {
            return Answer::None;
        }
        Answer::Accepted
    }

    /// A notice for a receiver; a digest whose parts are sent one by one is one notice.
    pub(crate) fn whole(&self, to: &SubscriptionId, notice: &Notice) -> (SubscriptionId, String) {
        let of_digest = transitions(notice)
            .first()
            .and_then(|id| self.accepted.get(id));
        let identity =
            of_digest.map_or_else(|| notice.identity(), |(_, identity)| identity.clone());
        (to.clone(), identity)
    }

    pub(crate) fn known_dislike(&self, to: &SubscriptionId, notice: &Notice) -> Option<Dislike> {
        self.dislikes.get(&self.whole(to, notice)).copied()
    }

    /// Whether the receiver likes a notice is drawn once.
    fn dislike(&mut self, to: &SubscriptionId, notice: &Notice) -> Dislike {
        if let Some(known) = self.known_dislike(to, notice) {
            return known;
        }
        let drawn = if to.to_string() == CONSOLE {
            Dislike::None
        } else if self.strikes(Trouble::DislikesFinally) {
            Dislike::Finally
        } else if self.strikes(Trouble::DislikesForNow) {
            Dislike::ForNow
        } else {
            Dislike::None
        };
        self.dislikes.insert(self.whole(to, notice), drawn);
        drawn
    }

    /// Receivers change their moods.
    pub(crate) fn disturb_receivers(&mut self) {
        let all: Vec<_> = self.receivers.keys().cloned().collect();
        for id in all {
            let mood = if self.strikes(Trouble::Unavailable) {
                Mood::Unavailable
            } else if self.strikes(Trouble::Gone) {
                Mood::Gone
            } else if self.strikes(Trouble::Hangs) {
                Mood::Hangs
            } else if self.rng.u8(0..6) == 0 {
                Mood::Accepts
            } else {
                continue;
            };
            self.say(|| format!("{id}: {mood:?}"));
            self.receivers.get_mut(&id).unwrap().mood = mood;
        }
    }
}

/// The network between a process and the receivers.
pub(crate) struct Network(pub(crate) Process);

#[async_trait]
impl Sender for Network {
    async fn send(&self, delivery: &Delivery, _: Timestamp) -> Result<(), SendError> {
        let Process { machine, life, .. } = &self.0;
        let Content::Notice(notice) = &delivery.content else {
            return Err(SendError::new("not a notice"));
        };
        self.0.runs().await;
        machine.wait(5..50).await;
        let to = &delivery.subscription;
        let answer = machine.get().receive(to, notice, *life);
        if !matches!(answer, Answer::Accepted) {
            deliveries::refused(&mut machine.get(), to, notice);
        }
        self.0.call("hb serve: send").await;
        match answer {
            Answer::Accepted => {
                deliveries::answered(&mut machine.get(), to, notice);
                Ok(())
            }
            Answer::Refused(refusal) => Err(SendError::refused("simulated", refusal)),
            Answer::None => {
                sleep(TIMEOUT).await;
                self.0.runs().await;
                Err(SendError::new("no answer"))
            }
        }
    }
}
