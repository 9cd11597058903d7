//! `hb serve`: the whole service on this machine.

mod canary;
mod descriptors;
mod first_key;
mod listener;
mod log;
mod printer;
mod watchers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hb_delivery::{ConsoleSender, Courier, SendError, Senders, SmtpSender, WebhookSender};
use hb_domain::{Incarnation, Kind, Notice, Region, Timestamp};
use hb_http::{App, Program};
use hb_service::ports::IngestPorts;
use hb_service::{
    CachePolicy, Canaries, Refusals, Sweep, SweepError, SweepReport, SweepSettings, Troubles,
};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use listener::tls::Certificates;

use crate::args::Serve;
use crate::backend::{Backend, Local};
use crate::command::data;
use crate::exit::Failure;
use crate::output::{self, Format};
use printer::{Printer, Printers};
use watchers::{Ping, Watchers};

/// Short, because a look at the local database is cheap and a revoked key must be refused soon.
const KEYS_FRESH: Duration = Duration::from_secs(2);

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn run(dir: PathBuf, format: Format, serve: Serve) -> Result<(), Failure> {
    let printers = Printers::start().map_err(Failure::Runtime)?;
    log::start(format, printers.err.clone());
    let descriptors = descriptors::for_connections();
    let senders = Arc::new(senders(&serve, format, printers.out.clone())?);
    let ping = serve.ping_url.as_deref().map(Ping::to).transpose()?;
    let certificates = certificates(&serve)?;
    let (prepared, database, local) = Local::create(&dir).await?;
    if let Some(done) = data::done(&prepared) {
        tracing::info!("{done}");
    }
    let local = local.serve().await;
    let listening = |source| Failure::Listen {
        address: serve.listen,
        source,
    };
    let listener = listener::bind(serve.listen).map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    first_key::ensure(&local, format, address, &dir, &printers.out).await?;
    let queue = local.queue();
    let backend = local.backend;
    let clock = backend.ports.clock.clone();
    let ids = backend.ports.ids.clone();
    let courier = Courier::new(queue, senders, clock.clone(), ids);

    let troubles = Arc::new(Troubles::default());
    let refusals = Arc::<Refusals>::default();
    let watchers = Arc::new(Watchers::new(troubles.clone(), clock.clone()));
    if let Some(ping) = ping {
        tokio::spawn(watchers.pings(ping));
    }
    let shut_out = listener::ShutOut::default();
    let to_listener = listener::Settings {
        router: router(
            &backend,
            database,
            &serve,
            troubles.clone(),
            refusals.clone(),
        ),
        tls: certificates.clone(),
        trusted_proxies: serve.trust_proxy,
        shut_out: shut_out.clone(),
        descriptors,
        troubles: troubles.clone(),
        clock: clock.clone(),
    };
    let scheme = certificates.as_ref().map_or("http", |_| "https");
    let follow = certificates
        .clone()
        .map(|certificates| tokio::spawn(certificates.follow(hangup)));
    let way = canary::Way {
        address,
        public: serve.public_url,
        shut_out,
        certificates,
    };
    let settings = SweepSettings {
        program: hb_version::PROGRAM.to_owned(),
        hb: command(&dir),
        ..SweepSettings::local()
    };
    let canaries = canaries(&backend, way, &dir, &settings);
    let sweep = Sweep::new(backend.ports, settings);
    let (stop, stopped) = watch::channel(false);
    let (tried, heard) = watch::channel(false);
    let canaries = canary::send_every(canaries, clock, troubles.clone(), tried, stopped.clone());
    let canaries = tokio::spawn(canaries);
    let courier = tokio::spawn(courier.run(on(stopped.clone())));
    let sweeper = tokio::spawn(sweep_every(
        serve.sweep_every,
        sweep,
        troubles,
        refusals.clone(),
        watchers.clone(),
        heard,
        stopped,
    ));
    let err = printers.err.clone();
    err.offer(&format!("listening on {scheme}://{address}"));
    tracing::info!(
        "data folder {}, a sweep every {:?}",
        dir.display(),
        serve.sweep_every
    );

    watchers.ready(serve.sweep_every);
    let stop_listener = async {
        signal().await;
        // Those that are cut off would be logged as failed.
        canaries.abort();
    };
    listener::serve(listener, to_listener, stop_listener).await;
    watchers.stopping();
    tokio::spawn(exit_on_signal(err));
    follow.iter().for_each(tokio::task::JoinHandle::abort);
    // No more beats arrive; a sweep and deliveries under way are finished.
    let _ = stop.send(true);
    let _ = tokio::join!(sweeper, courier);
    // Of the minute that is not over.
    refusals.log(Timestamp::MAX);
    tracing::info!("stopped");
    Ok(())
}

/// Ends the process at the second signal.
async fn exit_on_signal(err: Printer) {
    signal().await;
    tracing::warn!("second signal: stopping at once; unfinished work is done after the next start");
    err.finish();
    std::process::exit(130);
}

/// The command by which people on this machine call the service of the folder `dir`, for a shell.
fn command(dir: &Path) -> String {
    let path = dir.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(plain) {
        format!("hb --data-dir {path}")
    } else {
        format!("hb --data-dir '{}'", path.replace('\'', r"'\''"))
    }
}

/// The server's own beats, which take this way.
fn canaries(backend: &Backend, way: canary::Way, dir: &Path, settings: &SweepSettings) -> Canaries {
    let caller = canary::HttpCaller::new(way, dir, Arc::new(backend.keys()));
    Canaries {
        caller: Arc::new(caller),
        ports: backend.ports.clone(),
        region: settings.region.clone(),
        fresh: settings.canaries.fresh,
    }
}

/// What answers requests.
fn router(
    backend: &Backend,
    database: Option<Incarnation>,
    serve: &Serve,
    troubles: Arc<Troubles>,
    refusals: Arc<Refusals>,
) -> hb_http::Router {
    let keys_fresh = CachePolicy {
        positive: KEYS_FRESH,
        negative: KEYS_FRESH,
        ..CachePolicy::default()
    };
    hb_http::router(App {
        database,
        program: Some(Program {
            version: hb_version::VERSION,
            commit: hb_version::COMMIT,
        }),
        refusals,
        ..App::new(
            IngestPorts::from(&backend.ports),
            Region::local(),
            keys_fresh,
            serve.rate_limit.0,
            troubles,
        )
    })
}

fn senders(serve: &Serve, format: Format, out: Printer) -> Result<Senders, Failure> {
    let print = move |notice: &Notice| {
        let text = format!("{} {} [{}]", notice.at, notice.text(), notice.id);
        let line = output::shown(format, &text, &notice.json()).map_err(SendError::new)?;
        if out.offer(&line) {
            return Ok(());
        }
        Err(SendError::new("standard output is full: nobody reads it"))
    };
    let smtp = match (&serve.smtp_url, &serve.smtp_from) {
        (Some(url), Some(from)) => Some(SmtpSender::new(url, from)),
        (Some(_), None) => return Err(Failure::Smtp("--smtp-from is missing".to_owned())),
        (None, _) => None,
    };
    let internal = |error: SendError| Failure::Internal(error.to_string());
    Ok(Senders {
        console: ConsoleSender::new(print),
        webhook: WebhookSender::new().map_err(internal)?,
        smtp: smtp
            .transpose()
            .map_err(|error| Failure::Smtp(error.to_string()))?,
    })
}

/// Sweeps every `period`, never two at a time, until it is stopped. Waits for the first canary, which finds out for how
/// long the service was down.
async fn sweep_every(
    period: Duration,
    sweep: Sweep,
    troubles: Arc<Troubles>,
    refusals: Arc<Refusals>,
    watchers: Arc<Watchers>,
    first_canary: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
) {
    tokio::select! {
        () = on(stopped.clone()) => return,
        () = on(first_canary) => {}
    }
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = on(stopped.clone()) => return,
            _ = ticks.tick() => {}
        }
        let result = sweep.run().await;
        refusals.log(sweep.ports.clock.now());
        log_sweep(&result, &troubles);
        if result.is_ok() {
            watchers.swept();
        }
    }
}

/// Logs the counts of a sweep, if it did anything, and each error once per cause.
fn log_sweep(result: &Result<SweepReport, SweepError>, troubles: &Troubles) {
    const ACTIVITY: &str = "sweeping";
    let report = match result {
        Ok(report) => report,
        Err(SweepError { report, source }) => {
            troubles.failed(ACTIVITY, source, report.ended);
            report
        }
    };
    for trouble in &report.troubles {
        troubles.failed(ACTIVITY, trouble, report.ended);
    }
    if result.is_ok() && report.troubles.is_empty() {
        troubles.worked(ACTIVITY, report.ended);
    }
    let SweepReport {
        began,
        ended,
        hosts,
        decided,
        withdrawn,
        accepted,
        ..
    } = report;
    let millis = ended.since(*began).as_millis();
    if decided.total() + withdrawn + accepted > 0 {
        tracing::info!(
            hosts,
            registered = decided[Kind::Registered],
            missing = decided[Kind::Missing],
            failing = decided[Kind::Failing],
            recovered = decided[Kind::Recovered],
            slowed = decided[Kind::Slowed],
            withdrawn,
            accepted,
            millis,
            "swept"
        );
    } else {
        tracing::debug!(hosts, millis, "swept");
    }
}

/// The certificates of the options, if there are any.
fn certificates(serve: &Serve) -> Result<Option<Certificates>, Failure> {
    let (Some(certificate), Some(key)) = (&serve.tls_cert, &serve.tls_key) else {
        return Ok(None);
    };
    let files = listener::tls::Files {
        certificate: certificate.clone(),
        key: key.clone(),
        client_roots: serve.tls_client_ca.clone(),
    };
    Certificates::load(files).map(Some).map_err(Failure::Tls)
}

/// Completes when it is time to stop.
async fn on(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Completes at SIGHUP.
async fn hangup() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut hangup) = signal(SignalKind::hangup()) {
            hangup.recv().await;
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Completes at SIGINT or SIGTERM.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        );
        if let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_readers_names_the_folder_as_a_shell_reads_it() {
        let of = |path: &str| command(Path::new(path));
        assert_eq!(of("/var/lib/hb-1"), "hb --data-dir /var/lib/hb-1");
        assert_eq!(of("/my $data"), "hb --data-dir '/my $data'");
        assert_eq!(of("/it's"), r"hb --data-dir '/it'\''s'");
    }
}
