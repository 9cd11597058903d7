//! `hb subscription`.

use std::time::Duration;

use clap::Subcommand;
use hb_domain::{Fleet, HostPrefix, Kind, Protocol, Severity};

use super::{duration, one_of};

#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// Subscribe an endpoint, in every region. An existing subscription stays as it is. A new webhook of one machine gets a
    /// secret that signs its notices, which is shown once.
    Add {
        /// How notices are delivered; sms and sqs on a deployed stage only.
        #[arg(value_parser = one_of(addable()))]
        protocol: Protocol,
        /// Where to: an e-mail address, a phone number (+15550100123), a URL, or the ARN of a queue.
        endpoint: String,
        /// Only notices of this fleet.
        #[arg(long)]
        fleet: Option<Fleet>,
        /// Only these kinds: registered, missing, failing, recovered, slowed; separated by commas.
        #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
        kinds: Vec<Kind>,
        /// Only these severities: critical (missing, failing), warning (missing, perhaps because the service was down;
        /// slowed), info (registered, recovered); separated by commas.
        #[arg(long = "severity", value_name = "SEVERITY", value_delimiter = ',')]
        severities: Vec<Severity>,
        /// Only hosts whose name starts with this, up to a delimiter: restaurant-17/ for those of a site; may be repeated. On
        /// AWS it ends with a slash, and digests list the hosts of other sites as well.
        #[arg(long = "host-prefix", value_name = "P")]
        host_prefixes: Vec<HostPrefix>,
        /// Let a webhook of one machine lead to link-local addresses and to metadata services of clouds.
        #[arg(long)]
        allow_private: bool,
    },
    /// List all subscriptions, their confirmation and their deliveries.
    List,
    /// Confirm a subscription with the token that was sent to its endpoint.
    Confirm {
        // Parsed later, because clap would print a wrong one.
        /// The token, or the whole link that holds it.
        #[arg(long)]
        token: String,
    },
    /// Send a test notice, marked as one, to all subscriptions whose filter matches.
    Test {
        /// The fleet that it is about.
        #[arg(long, default_value = "main")]
        fleet: Fleet,
        /// Its kind.
        #[arg(long, default_value = "missing")]
        kind: Kind,
    },
    /// Give a webhook of one machine a new secret and show it, once. The old one signs as well until the overlap ends.
    RotateSecret {
        /// The subscription's id, or its endpoint.
        #[arg(value_name = "ID|ENDPOINT")]
        which: String,
        /// How long the old secret signs as well; 1s if it has leaked.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
        overlap: Duration,
    },
    /// Remove a subscription and its pending deliveries, in every region.
    Remove {
        /// The subscription's id, or its endpoint.
        #[arg(value_name = "ID|ENDPOINT")]
        which: String,
    },
}

/// The console is that of `hb serve`, which always has it.
fn addable() -> impl Iterator<Item = Protocol> {
    let is_addable = |protocol: &Protocol| *protocol != Protocol::Console;
    Protocol::ALL.into_iter().filter(is_addable)
}
