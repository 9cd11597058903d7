//! A deployed stage: its tables in the first region, its topics in all of them.

use std::sync::Arc;

use hb_aws::{Clients, Profile, SnsSubscriptions, SnsTopic, Stage, TopicArn, find_stage};
use hb_domain::{Region, Timestamp};
use hb_service::admin::{Auditor, RegionalTopic};
use hb_service::doctor::{Doctor, Expectations, Finding, programs};
use hb_service::ports::Ports;
use hb_service::system::{SystemClock, SystemIds};

use super::{Backend, Topics};
use crate::exit::Failure;

pub(super) struct Deployed {
    stage: Stage,
    profile: Profile,
    clients: Clients,
    /// Empty means all regions of the stage.
    regions: Vec<String>,
}

impl Backend {
    /// Sends no request to AWS yet.
    pub(super) async fn deployed(
        name: &str,
        profile: Option<&str>,
        regions: Vec<String>,
    ) -> Result<Self, Failure> {
        let stage = Stage::parse(name).map_err(|error| Failure::Stage(error.to_string()))?;
        for region in &regions {
            region
                .parse::<Region>()
                .map_err(|error| Failure::Stage(format!("region {region}: {error}")))?;
        }
        let profile = Profile::load(profile, regions.first().map(String::as_str)).await;
        let profile = profile.map_err(|error| Failure::Stage(error.to_string()))?;
        let region = profile.region().parse::<Region>();
        let region = region
            .map_err(|error| Failure::Stage(format!("region {}: {error}", profile.region())))?;
        let clients = profile.clients(region.as_str());
        let ports = hb_aws::ports(&clients, &stage, Arc::new(SystemClock), Arc::new(SystemIds));
        Ok(Self {
            auditor: Arc::new(Auditor::new(&ports, Arc::new(profile.identity()))),
            ports,
            region,
            // SNS supports all protocols that a command can name.
            supports: |_| Ok(()),
            topics: Topics::Deployed(Box::new(Deployed {
                stage,
                profile,
                clients,
                regions,
            })),
        })
    }
}

/// The findings of `hb doctor` in each region of the stage.
pub(crate) async fn examine(
    name: &str,
    profile: Option<&str>,
    regions: Vec<String>,
    now: Timestamp,
) -> Result<Vec<Finding>, Failure> {
    let Backend {
        topics: Topics::Deployed(stage),
        region: home,
        ..
    } = Backend::deployed(name, profile, regions).await?
    else {
        return Ok(Vec::new());
    };
    let found = find_stage(&stage.clients, &stage.stage).await.ok();
    let regions = match &found {
        Some(found) if stage.regions.is_empty() => found.regions.clone(),
        _ if stage.regions.is_empty() => vec![home.to_string()],
        _ => stage.regions.clone(),
    };
    let several = regions.len() > 1;
    let (mut all, mut swept) = (Vec::new(), Vec::new());
    for region in regions {
        let clients = stage.profile.clients(&region);
        let mut findings = hb_aws::examine(&clients, &stage.stage).await;
        let topic = found.as_ref().map(|found| found.topic.in_region(&region));
        let home = region.parse::<Region>().ok();
        if let (Some(topic), Some(home)) = (topic, home) {
            let doctor = over(&clients, &stage.stage, topic, home.clone());
            findings.extend(doctor.examine(now).await);
            // That it cannot be read is a finding already.
            let last = doctor.ports.system.last_sweep(&home).await.ok().flatten();
            swept.extend(last.map(|last| (region.clone(), last)));
        }
        let named = |finding: Finding| {
            let target = if several {
                format!("{region} ")
            } else {
                String::new()
            };
            Finding {
                thing: target + &finding.thing,
                ..finding
            }
        };
        all.extend(findings.into_iter().map(named));
    }
    all.extend(programs(&swept));
    Ok(all)
}

fn over(clients: &Clients, stage: &Stage, topic: TopicArn, region: Region) -> Doctor {
    let ports = hb_aws::ports(clients, stage, Arc::new(SystemClock), Arc::new(SystemIds));
    Doctor {
        ports: Ports {
            subscriptions: Arc::new(SnsSubscriptions::new(clients, stage).at(topic)),
            ..ports
        },
        expectations: Expectations::deployed(region),
    }
}

impl Deployed {
    /// The topics of all regions, found through the table of the ledger. No request goes to a topic here: one that does
    /// not answer fails in the operation that needs it, for its region alone.
    pub(super) async fn topics(&self) -> Result<Vec<RegionalTopic>, Failure> {
        let found = find_stage(&self.clients, &self.stage).await?;
        let regions = if self.regions.is_empty() {
            found.regions
        } else {
            self.regions.clone()
        };
        let topic = |name: String| {
            let region: Region = name
                .parse()
                .map_err(|error| Failure::Stage(format!("region {name}: {error}")))?;
            let (clients, arn) = (self.profile.clients(&name), found.topic.in_region(&name));
            Ok(RegionalTopic {
                region,
                topic: Arc::new(SnsTopic::new(&clients, &self.stage).at(arn.clone())),
                subscriptions: Arc::new(SnsSubscriptions::new(&clients, &self.stage).at(arn)),
            })
        };
        regions.into_iter().map(topic).collect()
    }
}
