//! Creates a key at the first start and shows how to use it, so that a new service can receive beats at once.

use std::io;
use std::net::SocketAddr;

use hb_domain::{Fleet, KeyName, Scope};
use hb_service::admin::KeyRequest;
use serde::Serialize;

use super::printer::Printer;
use crate::backend::Local;
use crate::command::key::NewKey;
use crate::exit::Failure;
use crate::output::{self, Format};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FirstKey {
    first_key: NewKey,
    crontab: String,
}

/// Creates a key for the fleet `main` if there are no keys, and shows it once, with a line for the crontab.
pub(crate) async fn ensure(
    local: &Local,
    format: Format,
    address: SocketAddr,
    out: &Printer,
) -> Result<(), Failure> {
    let created = local.backend.keys().draw_key(KeyRequest {
        name: KeyName::first(),
        scope: Scope::Ingest,
        fleet: Fleet::main(),
        host_prefixes: Vec::new(),
        expires_in: None,
    })?;
    if !local.create_first_key(&created.key).await? {
        return Ok(());
    }
    let key = NewKey::new(&created);
    // Clients cannot send to an unspecified address ("all addresses").
    let server = if address.ip().is_unspecified() {
        format!("NAME_OF_THIS_MACHINE:{}", address.port())
    } else {
        address.to_string()
    };
    let crontab = format!(
        r#"*/5 * * * * curl -fsS -m 10 --retry 5 -o /dev/null -H "x-api-key: {}" "http://{server}/v1/heartbeat/$(hostname)""#,
        key.key,
    );
    let text = format!(
        "The first API key, for fleet main. It is not shown again:\n\n  {}\n\nA line for the crontab of each machine:\n\n\
         {crontab}\n",
        key.key
    );
    let value = FirstKey {
        first_key: key,
        crontab,
    };
    out.offer(&output::shown(format, &text, &value).map_err(io::Error::from)?);
    Ok(())
}
