//! Delivers accepted notices from one machine to the console, by e-mail and by webhook: the courier works through a
//! [`DeliveryQueue`](hb_service::ports::DeliveryQueue), and a sender for each protocol reaches the endpoints.
//!
//! Nothing here decides when a host is missing or what a notice says, stores anything, prints, or asks for the time:
//! queue, clock and randomness are passed in.

mod client;
mod courier;
mod failing;
mod outcome;
mod sender;

pub use client::{chain, http_client};
pub use courier::Courier;
pub use sender::{
    ConsoleSender, Refusal, SendError, Sender, Senders, SmtpSender, SmtpSettingsError,
    UnsupportedError, WebhookSender, supported,
};
