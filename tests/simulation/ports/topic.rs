use async_trait::async_trait;
use hb_domain::{About, HostKey, Notice, Publication};
use hb_service::ports::{Echo, Echoes, Page, PortResult, Topic};

use super::SimulatedPorts;
use crate::faults::Fault;
use crate::invariants;
use crate::world::{Accepted, Message, World};

/// How long a received message is hidden from other receivers: SQS's default.
const VISIBILITY_TIMEOUT: i64 = 30_000;

#[async_trait]
impl Topic for SimulatedPorts {
    async fn publish(&self, notice: &Notice) -> Publication {
        self.call("topic.publish").await;
        let ended = {
            let mut world = self.world.get();
            world.ended |= world.now > world.lives_until;
            world.ended
        };
        if ended {
            // The executor drops the process.
            std::future::pending::<()>().await;
        }
        let lost = {
            let mut world = self.world.get();
            if world.strikes(Fault::Refused) {
                return Publication::Refused("simulated".to_owned());
            }
            if world.strikes(Fault::UnknownNotAccepted) {
                return Publication::Unknown("simulated".to_owned());
            }
            accept(&mut world, self, notice);
            world.strikes(Fault::AcceptedReplyLost)
        };
        self.reply("topic.publish accepted").await;
        if lost {
            Publication::Unknown("simulated".to_owned())
        } else {
            Publication::Accepted
        }
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

/// The topic accepts a notice.
fn accept(world: &mut World, ports: &SimulatedPorts, notice: &Notice) {
    let region = &ports.region;
    let late = world.strikes(Fault::EchoLate);
    let lost = !late && world.strikes(Fault::EchoLost);
    let wait = if late {
        world.rng.i64(1_000..900_000)
    } else {
        world.rng.i64(20..900)
    };
    let echo = (!lost).then_some(world.now + wait);
    let subject = notice.subject();
    let attempt = notice.attempt;
    if let Some(at) = echo {
        let times = if world.strikes(Fault::EchoAgain) {
            2
        } else {
            1
        };
        for _ in 0..times {
            world.receipts += 1;
            let receipt = world.receipts.to_string();
            let (region, subject) = (region.clone(), subject.clone());
            world.echoes.push(Message {
                region,
                visible: at,
                subject,
                attempt,
                receipt,
            });
        }
    }
    let transitions = match &notice.about {
        About::Host(host) => {
            vec![(
                HostKey::new(notice.fleet.clone(), host.host_id.clone()),
                host.epoch,
            )]
        }
        About::Digest(members) => members
            .iter()
            .map(|member| {
                (
                    HostKey::new(notice.fleet.clone(), member.host.clone()),
                    member.epoch,
                )
            })
            .collect(),
    };
    let accepted = Accepted {
        subject,
        attempt,
        transitions,
        region: region.clone(),
        process: ports.process,
        at: world.now,
        echo,
    };
    world.say(|| {
        format!(
            "{region}: the topic accepts {:?} {}, attempt {attempt}",
            notice.kind,
            notice.about_whom()
        )
    });
    invariants::accepted(world, notice, accepted);
}

#[async_trait]
impl Echoes for SimulatedPorts {
    async fn receive(&self, thorough: bool) -> PortResult<Page<Echo>> {
        self.call("echoes.receive").await;
        let mut world = self.world.get();
        let now = world.now;
        if world.strikes(Fault::EchoQueueFails) {
            world.echoes_unread.insert(self.region.clone(), now);
            return Err(Self::unavailable("queue echo"));
        }
        if !thorough && world.strikes(Fault::EchoShortPoll) {
            world.echoes_unread.insert(self.region.clone(), now);
            return Ok(Page::default());
        }
        let here = |message: &&mut Message| message.region == self.region && message.visible <= now;
        let mut items = Vec::new();
        for message in world.echoes.iter_mut().filter(here).take(10) {
            message.visible = now + VISIBILITY_TIMEOUT;
            items.push(Echo {
                subject: message.subject.clone(),
                attempt: message.attempt,
                receipt: message.receipt.clone(),
            });
        }
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.call("echoes.acknowledge").await;
        let mut world = self.world.get();
        if world.strikes(Fault::EchoQueueFails) {
            return Err(Self::unavailable("queue echo"));
        }
        let (done, left) = std::mem::take(&mut world.echoes)
            .into_iter()
            .partition::<Vec<_>, _>(|message| receipts.contains(&message.receipt));
        world.echoes = left;
        let now = world.now;
        for message in done {
            world
                .echoed
                .entry((message.subject, message.attempt))
                .or_insert(now);
        }
        Ok(())
    }
}
