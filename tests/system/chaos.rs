//! Three servers on one folder are killed (`kill -9`) at random moments, and every host is notified exactly once.
//!
//! `HB_CHAOS=60s cargo test -p hb-cli --test system chaos` is the long form, with 2,000 hosts. `HB_CHAOS_SEED` draws the
//! moments of an earlier run again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::support::{Received, Sandbox, Server, Webhook, beat_all, pulse, say, stopwatch, within};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--sweep-every", "1s"];
/// Longest life of a server, in milliseconds: some sweeps. The shortest ends before it listens.
const LIFE: u64 = 4_000;
/// How long the notices that killed servers left behind may take: their leases expire after 45 s at most.
const SETTLED: Duration = Duration::from_mins(5);
/// An interval that does not end during the test.
const LONG: u64 = 3_600_000;

/// The size of the test.
struct Extent {
    hosts: usize,
    kill_for: Duration,
    seed: u64,
    /// Whether to wait until the leases of killed servers expire.
    patient: bool,
}

impl Extent {
    fn set() -> Self {
        let seed = std::env::var("HB_CHAOS_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        match std::env::var("HB_CHAOS") {
            Ok(time) => Self {
                hosts: 2_000,
                kill_for: humantime::parse_duration(&time).unwrap(),
                seed,
                patient: true,
            },
            Err(_) => Self {
                hosts: 600,
                kill_for: Duration::from_secs(8),
                seed,
                patient: false,
            },
        }
    }
}

impl Extent {
    /// In milliseconds. Half of the hosts go missing at once, the others in waves, one each second, in turns large and
    /// small: each host of a small wave has its own notice.
    fn interval(&self, host: usize) -> u64 {
        const SMALL: usize = 4;
        let pairs = usize::try_from(self.kill_for.as_secs() / 2).unwrap().max(1);
        let (number, pair) = (host / 2, host / 2 % pairs);
        let wave = match host % 2 {
            0 => 0,
            _ if number < SMALL * pairs => 2 * pair + 1,
            _ => 2 * pair,
        };
        2_000 + 1_000 * wave as u64
    }
}

/// The running servers, and the logs of the killed ones.
#[derive(Default)]
struct Three {
    urls: Mutex<[Option<String>; 3]>,
    log: Mutex<Vec<String>>,
    /// For each kill whether it came in the middle of a digest.
    kills: Mutex<Vec<bool>>,
}

impl Three {
    /// One that listens.
    fn any(&self) -> Option<String> {
        fastrand::choice(
            self.urls
                .lock()
                .unwrap()
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>(),
        )
    }

    /// Sends beats of one more host from now on.
    fn keep_heard(self: &Arc<Self>, key: &str) {
        let servers = self.clone();
        tokio::spawn(pulse(key.to_owned(), move || servers.any()));
    }

    /// Starts and kills all of them repeatedly for `time`. Then none is left.
    async fn live(&self, sandbox: &Sandbox, extent: &Extent, time: Duration) {
        let began = stopwatch();
        let one = |number: usize| async move {
            let mut rng = Rng::with_seed(extent.seed.wrapping_add(number as u64));
            loop {
                let aimed = rng.bool();
                // What is aimed at may be some sweeps away.
                let life = if aimed { LIFE } else { rng.u64(20..LIFE) };
                let left = time.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return;
                }
                let life = Duration::from_millis(life).min(left);
                self.life(sandbox, number, life, aimed).await;
            }
        };
        tokio::join!(one(0), one(1), one(2));
    }

    /// Starts one and kills it after `life`, or, if `aimed`, in the middle of a digest of any server.
    async fn life(&self, sandbox: &Sandbox, number: usize, life: Duration, aimed: bool) {
        let mut server = Server::spawn(sandbox.hb(&SERVE));
        let serve = async {
            server.listening().await;
            self.urls.lock().unwrap()[number] = Some(server.url.clone());
            if !aimed {
                std::future::pending::<()>().await;
            }
            a_digest(sandbox).await;
        };
        let in_a_digest = tokio::time::timeout(life, serve).await.is_ok();
        server.kill();
        self.urls.lock().unwrap()[number] = None;
        self.kills.lock().unwrap().push(in_a_digest);
        self.log.lock().unwrap().extend(server.stderr());
    }

    /// Starts three that are not killed.
    async fn stay(&self, sandbox: &Sandbox) -> [Server; 3] {
        let start = || async { Server::start_by(sandbox.hb(&SERVE)).await };
        let servers: [Server; 3] = tokio::join!(start(), start(), start()).into();
        *self.urls.lock().unwrap() = servers.each_ref().map(|server| Some(server.url.clone()));
        servers
    }

    /// Kills those.
    fn end(&self, servers: [Server; 3]) {
        *self.urls.lock().unwrap() = Default::default();
        for mut server in servers {
            server.kill();
            self.kills.lock().unwrap().push(false);
            self.log.lock().unwrap().extend(server.stderr());
        }
    }
}

/// Completes when a digest is under way.
async fn a_digest(sandbox: &Sandbox) {
    let database = sandbox.database();
    let mut open = database
        .prepare("SELECT 1 FROM digests WHERE open = 1")
        .unwrap();
    while !open.exists([]).unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many rows a query counts.
fn number(sandbox: &Sandbox, sql: &str) -> i64 {
    sandbox
        .database()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

/// Whether all notices are delivered: none pending, no unfinished digest, no delivery under way.
fn is_settled(sandbox: &Sandbox) -> bool {
    let left = "SELECT (SELECT count(*) FROM ledger WHERE record ->> 'pending' IS NOT NULL)
        + (SELECT count(*) FROM digests WHERE open = 1) + (SELECT count(*) FROM lanes)";
    number(sandbox, left) == 0
}

/// Expires the leases of killed servers, which would take up to 45 s.
fn end_leases(sandbox: &Sandbox) {
    let sql = "UPDATE deliveries SET due = 0 WHERE state = 'due' AND owner IS NOT NULL";
    sandbox.database().execute(sql, []).unwrap();
}

/// The hosts that are missing in the ledger, notified or not.
fn claimed(sandbox: &Sandbox) -> BTreeSet<String> {
    let database = sandbox.database();
    let mut query = database
        .prepare("SELECT key FROM ledger WHERE record ->> 'state' = 'missing'")
        .unwrap();
    let keys = query
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(Result::unwrap);
    keys.map(|key| key.strip_prefix("main/").unwrap().to_owned())
        .collect()
}

/// Makes hosts beat again as soon as they are decided to be missing, whether notified or not.
async fn come_back(sandbox: &Sandbox, three: &Three, key: &str, hosts: &BTreeSet<String>) {
    let mut away = hosts.clone();
    while !away.is_empty() {
        let missing = claimed(sandbox);
        let back: Vec<_> = away.intersection(&missing).cloned().collect();
        beat_all(
            key,
            || three.any(),
            back.iter().map(|host| (host.as_str(), LONG)),
        )
        .await;
        away.retain(|host| !back.contains(host));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each of `hosts` has exactly one notice of `kind`, of which copies may have arrived.
fn assert_notified_once(webhook: &Webhook, kind: &str, hosts: &BTreeSet<String>) {
    let notices = webhook.notices(kind);
    let lost: Vec<_> = hosts
        .iter()
        .filter(|host| !notices.contains_key(*host))
        .collect();
    assert!(lost.is_empty(), "no {kind} notice: {lost:?}");
    let twice: Vec<_> = notices
        .iter()
        .filter(|(host, ids)| ids.len() != 1 || !hosts.contains(*host))
        .collect();
    assert!(twice.is_empty(), "not exactly one {kind} notice: {twice:?}");
}

fn assert_in_order(webhook: &Webhook) {
    let (missing, recovered) = (webhook.notices("missing"), webhook.notices("recovered"));
    for (host, ids) in recovered {
        let first = |ids: &std::collections::BTreeMap<String, usize>| *ids.values().min().unwrap();
        let silence = missing.get(&host).map(first);
        assert!(
            silence.is_some_and(|silence| silence < first(&ids)),
            "{host} recovered before it was missing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_under_random_kills_notify_once_per_host() {
    let extent = Extent::set();
    let began = stopwatch();
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let three = Arc::new(Three::default());
    say(&format!("chaos: HB_CHAOS_SEED={}", extent.seed));
    let first = Server::start_by(sandbox.hb(&SERVE)).await;
    sandbox.send_at_once();
    let key = first.first_key();
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    webhook.answer_within(Duration::from_millis(100));

    let hosts: Vec<_> = (0..extent.hosts).map(|i| format!("host-{i}")).collect();
    let interval = |i| extent.interval(i);
    let url = || Some(first.url.clone());
    beat_all(
        &key,
        url,
        hosts
            .iter()
            .enumerate()
            .map(|(i, host)| (host.as_str(), interval(i))),
    )
    .await;
    drop(first);
    three.keep_heard(&key);
    let all: BTreeSet<_> = hosts.iter().cloned().collect();
    let (back, away): (BTreeSet<_>, BTreeSet<_>) = all
        .iter()
        .cloned()
        .partition(|host| host.ends_with(['0', '3', '5']));

    let silence = async |time| {
        three.live(&sandbox, &extent, time).await;
        if !extent.patient {
            end_leases(&sandbox);
        }
        three.stay(&sandbox).await
    };
    let (servers, ()) = tokio::join!(
        silence(extent.kill_for),
        come_back(&sandbox, &three, &key, &back)
    );
    let notified = |kind: &'static str, hosts: &BTreeSet<String>| {
        let notices = webhook.notices(kind);
        (hosts.iter().all(|host| notices.contains_key(host)) && is_settled(&sandbox)).then_some(())
    };
    within(SETTLED, "every missing host", async || {
        notified("missing", &all)
    })
    .await;
    within(SETTLED, "those that came back", async || {
        notified("recovered", &back)
    })
    .await;
    assert_notified_once(&webhook, "missing", &all);
    assert_notified_once(&webhook, "recovered", &back);

    three.end(servers);
    let again = beat_all(
        &key,
        || three.any(),
        away.iter().map(|host| (host.as_str(), LONG)),
    );
    let (servers, ()) = tokio::join!(silence(extent.kill_for / 4), again);
    within(SETTLED, "every recovered host", async || {
        notified("recovered", &all)
    })
    .await;
    // Long enough for two more sweeps to send a notice again, if they did.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for kind in ["missing", "recovered"] {
        assert_notified_once(&webhook, kind, &all);
    }
    let registered = webhook.notices("registered");
    assert!(
        registered.values().all(|ids| ids.len() == 1),
        "{registered:?}"
    );
    assert_in_order(&webhook);
    three.end(servers);

    let log = three.log.lock().unwrap();
    let lines = |word: &str| {
        log.iter()
            .filter(|line| line.contains(word))
            .collect::<Vec<_>>()
    };
    assert!(lines("panicked").is_empty(), "{:?}", lines("panicked"));
    let received = webhook.received();
    let digests = received
        .iter()
        .filter(|received| received.is("missing") && received.notice["digest"] == true);
    assert!(digests.count() > 0, "no digest was sent");
    let kills = three.kills.lock().unwrap();
    assert!(
        kills.contains(&true),
        "no kill came in the middle of a digest"
    );
    print_summary(&received, &kills, began.elapsed());
    [lines("WARN"), lines("ERROR")]
        .concat()
        .into_iter()
        .for_each(|line| say(line));
}

fn print_summary(received: &[Received], kills: &[bool], time: Duration) {
    let count =
        |wanted: fn(&Received) -> bool| received.iter().filter(|received| wanted(received)).count();
    let ids: BTreeSet<_> = received
        .iter()
        .map(|received| &received.idempotency_key)
        .collect();
    let digests = count(|received| received.notice["digest"] == true);
    let again = count(|received| received.notice["attempt"] != 1);
    say(&format!(
        "chaos: {} kills, {} in the middle of a digest; {} messages, {digests} of them digests, {} copies, {again} of a second attempt; {time:.1?}",
        kills.len(),
        kills.iter().filter(|in_a_digest| **in_a_digest).count(),
        received.len(),
        received.len() - ids.len(),
    ));
}
