//! One life of `hb serve`: its sweeps, canaries and courier, as `crates/cli/src/serve.rs` starts them.

use std::sync::Arc;
use std::time::Duration;

use hb_delivery::Courier;
use hb_service::ports::DeliveryQueue;
use hb_service::{Canaries, Sweep, SweepSettings};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::hosts::Itself;
use super::process::Process;
use super::receivers::Network;

/// The defaults of `hb serve`, but for the waits of groups.
const SWEEP_EVERY: Duration = Duration::from_secs(20);
const CANARY_EVERY: Duration = Duration::from_secs(3);

/// Runs until the process is told to stop, and then until what is under way is done. To drop this kills the process.
pub(crate) async fn serve(process: Process, stop: watch::Receiver<bool>) {
    let ports = process.ports();
    let settings = SweepSettings {
        groups: process.machine.get().groups,
        ..SweepSettings::local()
    };
    let canaries = Canaries {
        caller: Arc::new(Itself(process.clone())),
        ports: ports.clone(),
        region: settings.region.clone(),
        fresh: settings.canaries.fresh,
    };
    let queue: Arc<dyn DeliveryQueue> = Arc::new(process.clone());
    let courier = Courier::new(
        queue,
        Arc::new(Network(process.clone())),
        ports.clock.clone(),
        ports.ids.clone(),
    );
    let (tried, first_canary) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(send_canaries(process, canaries, tried, stop.clone()));
    tasks.spawn(courier.run(on(stop.clone())));
    tasks.spawn(sweep(Sweep::new(ports, settings), first_canary, stop));
    while tasks.join_next().await.is_some() {}
}

/// Completes when it is so.
async fn on(mut signal: watch::Receiver<bool>) {
    let _ = signal.wait_for(|on| *on).await;
}

/// Until the first success, each missed canary counts as an outage: the process has received nothing before it began.
async fn send_canaries(
    process: Process,
    mut canaries: Canaries,
    tried: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) {
    let fresh = std::mem::replace(&mut canaries.fresh, CANARY_EVERY + Duration::from_secs(1));
    let variant = process.machine.get().variant;
    canaries.fresh = variant.fresh(canaries.fresh);
    let mut ticks = interval(CANARY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = async {
            ticks.tick().await;
            canaries.send().await
        };
        let sent = tokio::select! {
            biased;
            () = on(stop.clone()) => return,
            sent = round => sent,
        };
        if sent.is_ok() {
            canaries.fresh = fresh;
        }
        let _ = tried.send(true);
    }
}

/// Never two at a time, and not before the first canary, which finds out for how long the service was down.
async fn sweep(sweep: Sweep, first_canary: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        () = on(stop.clone()) => return,
        () = on(first_canary) => {}
    }
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = on(stop.clone()) => return,
            _ = ticks.tick() => {}
        }
        // Whatever the outcome, the next one starts from the beginning.
        let _ = sweep.run().await;
    }
}
