//! `hb subscription`.

use clap::{Subcommand, ValueEnum};
use hb_domain::{Fleet, Kind, Severity};

#[derive(Debug, Subcommand)]
pub(crate) enum SubscriptionCommand {
    /// Add somebody who is told, in every region. What listens already stays as it is.
    Add {
        /// How.
        #[arg(value_enum)]
        protocol: ProtocolArg,
        /// Where: an e-mail address, a phone number (+15550100123), a URL, or the ARN of a queue.
        endpoint: String,
        /// Only notices of this fleet.
        #[arg(long)]
        fleet: Option<Fleet>,
        /// Only these kinds: registered, missing, failing, recovered; separated by commas.
        #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
        kinds: Vec<Kind>,
        /// Only these severities: critical (missing, failing), info (registered, recovered); separated by commas.
        #[arg(long = "severity", value_name = "SEVERITY", value_delimiter = ',')]
        severities: Vec<Severity>,
    },
    /// Show all subscriptions, whether they are confirmed, and how their deliveries stand.
    List,
    /// Confirm a subscription with the token that was sent to its endpoint.
    Confirm {
        // Read later, because clap would show a wrong one.
        /// The token, or the whole link that holds it.
        #[arg(long)]
        token: String,
    },
    /// Send a test notice, marked as one, to all whose filter lets it through.
    Test {
        /// In the name of this fleet.
        #[arg(long, default_value = "main")]
        fleet: Fleet,
        /// As a notice of this kind.
        #[arg(long, default_value = "missing")]
        kind: Kind,
    },
    /// Remove a subscription in every region, and what it has not yet got.
    Remove {
        /// The subscription's id, or its endpoint.
        #[arg(value_name = "ID|ENDPOINT")]
        which: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProtocolArg {
    /// An e-mail.
    Email,
    /// A text message; on a deployed stage only.
    Sms,
    /// A POST to a URL in the clear.
    Http,
    /// A POST to a URL over TLS.
    Https,
    /// A message in an SQS queue; on a deployed stage only.
    Sqs,
}
