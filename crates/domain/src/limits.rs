//! Every bound of the system, with its reason.

use std::time::Duration;

/// Longest `hostId`, in characters: fits a fully qualified name (253 by RFC 1035 is rare) with a job's path.
pub const HOST_ID_CHARS: usize = 200;
/// Longest fleet name, in characters: it appears in subjects of at most 100.
pub const FLEET_CHARS: usize = 32;
/// Longest region name, in characters. AWS's longest today is 14 (`ap-southeast-1`).
pub const REGION_CHARS: usize = 32;
/// Longest name of an API key, in characters: one column of a table.
pub const KEY_NAME_CHARS: usize = 64;
/// Most host prefixes of one API key: each beat is compared with all of them.
pub const KEY_HOST_PREFIXES: usize = 20;
/// Most hosts of a key that says nothing else: a large site; a fleet with more has several keys, so that one that leaks
/// does not name them all.
pub const KEY_HOSTS: u32 = 10_000;
/// Fewest hosts that a key may be limited to. A key for fewer has their names as its prefixes; and a key with fewer hosts
/// is never counted on AWS, where each count is a write.
pub const KEY_HOSTS_MIN: u32 = 10;
/// From this share of its hosts on, in percent, people are notified that a key is nearly full.
pub const KEY_HOSTS_ALARM_PERCENT: u64 = 80;
/// Beats a second of a key unless the service is told otherwise: all hosts of a full key, every 10 s.
pub const KEY_BEATS_PER_SECOND: u32 = 1_000;
/// How many seconds of beats a key may send at once: cron starts all machines of a site in the same second.
pub const KEY_BURST_SECONDS: u32 = 10;
/// Requests a second without a valid key that an address may send before it is asked to wait.
pub const REFUSALS_PER_SECOND: u32 = 10;
/// Most bytes that authenticated keys may take in memory: more than 200,000 keys.
pub const KEY_CACHE_BYTES: usize = 64 << 20;
/// Shortest interval: below it, network jitter looks like silence.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest interval: a yearly job, also in a leap year, with its grace.
pub const INTERVAL_MAX: Duration = Duration::from_hours(400 * 24);
/// From so many times the interval that people know on, they are notified that a host has raised it: a key that leaked
/// could hide a silence so. Less is what an admin of the host changes every day.
pub const INTERVAL_RAISE: u64 = 10;
/// The interval of a beat without one.
pub const INTERVAL_DEFAULT: Duration = Duration::from_mins(10);
/// Longest message of a beat, in bytes; what is longer is cut, never refused.
pub const MESSAGE_BYTES: usize = 1024;
/// Longest body of a request, in bytes: more than a job prints whose whole output is sent.
pub const BODY_BYTES: usize = 256 * 1024;
/// Up to this length, in bytes, any number of bodies is read at a time; few others are, so that they take little memory.
pub const SMALL_BODY_BYTES: usize = 4096;
/// How many longer ones are read at a time: 16 MiB.
pub const LARGE_BODIES: usize = 64;
/// Most unknown fields that the answer to a beat names.
pub const IGNORED_FIELDS: usize = 10;
/// Transitions that a ledger entry keeps: enough to see what became of a host, small enough to swap as a whole.
pub const HISTORY: usize = 8;
/// Transitions that it keeps of the last [`FLAPPING_WITHIN`]: enough to count how often a host flaps until
/// [`FLAPPING_STEADIEST`] is reached.
pub const HISTORY_FLAPPING: usize = 16;
/// A host that went missing so often within [`FLAPPING_WITHIN`] flaps: twice is a restart that went wrong.
pub const FLAPPING: u32 = 3;
/// How far back it is counted how often a host went missing.
pub const FLAPPING_WITHIN: Duration = Duration::from_hours(1);
/// For how long a host that flaps must beat before people are notified that it recovered; twice as long each time.
pub const FLAPPING_STEADY: Duration = Duration::from_mins(2);
/// The longest such time: half of [`FLAPPING_WITHIN`], so that a host which flaps on is still known to.
pub const FLAPPING_STEADIEST: Duration = Duration::from_mins(30);
/// Longest subject of an e-mail, in characters. SNS wants fewer than 100, printable ASCII
/// (Amazon SNS API reference, `Publish`, parameter `Subject`).
pub const SUBJECT_CHARS: usize = 99;
/// Longest SMS text, in bytes: 140 bytes are one message (Amazon SNS developer guide, "Publishing to a mobile
/// phone"), and ASCII is safe in both alphabets.
pub const SMS_BYTES: usize = 140;
/// Longest one-line text of a notice, in characters, so that a message from a host cannot flood a screen.
pub const TEXT_CHARS: usize = 300;
/// Largest rendering of a notice, in bytes (Amazon SNS quotas: 256 KiB a message).
pub const NOTICE_BYTES: usize = 256 * 1024;
/// Longest endpoint of a subscription, in bytes: the customary limit of a URL.
pub const ENDPOINT_BYTES: usize = 2048;
/// Secrets of a webhook that still sign beside the newest: each adds 48 bytes to a header, and more than two rotations
/// within a day are mistakes.
pub const WEBHOOK_SECRETS: usize = 3;
/// How long a delivery is retried before it counts as failed.
pub const DELIVERY_FOR: Duration = Duration::from_hours(24);
/// How much of the time without a try counts as a part of that: neither a step of the clock nor a server that was stopped
/// for a day ends a delivery that was hardly tried.
pub const DELIVERY_UNTRIED: Duration = Duration::from_hours(12);
/// How long a delivery that fails keeps later notices about its hosts waiting: an outage of the receiver that is
/// shorter disturbs no order, and longer nobody should wait for news because of one notice that is always refused.
pub const DELIVERY_FIRST_FOR: Duration = Duration::from_mins(10);
/// Tries of a delivery whose answer says that no further try will succeed, such as 404.
pub const FINAL_TRIES: u32 = 3;
/// Pause after such an answer. A proxy in front of a receiver that is being replaced gives one for a minute or two.
pub const FINAL_PAUSE: Duration = Duration::from_mins(2);
/// First pause between two tries.
pub const PAUSE_FIRST: Duration = Duration::from_secs(2);
/// Longest pause between two tries: a recovered endpoint gets its notices within it.
pub const PAUSE_LONGEST: Duration = Duration::from_mins(5);
/// How far a stored instant may lie in the future before only a wrong clock can have written it. Clocks that follow a
/// time service differ by less than a second, and no request lives this long, so that a late write is never mistaken
/// for a wrong one.
pub const FUTURE_SKEW: Duration = Duration::from_mins(1);
/// How far the wall clock may differ from the time of the process before that is a step: more than a leap second.
pub const STEP_ABOVE: Duration = Duration::from_secs(2);
/// How long a step of the wall clock must last before the process follows it: a time service that corrects itself takes
/// less, and a clock that is set right after the start of the machine is followed soon.
pub const STEP_FOR: Duration = Duration::from_mins(1);
/// How long after a step of the wall clock operators still see that it happened: longer than the longest sweep period,
/// and long enough that a clock that keeps stepping causes one notice, not one for each step.
pub const STEP_SHOWN: Duration = Duration::from_mins(65);
/// How long before the last completed sweep a first beat still counts as news, for copies that lag behind.
pub const NEWS_MARGIN: Duration = Duration::from_mins(2);
/// How long the first notice of a quiet group waits for others: the registers of a site whose line is cut miss their
/// deadlines one after the other. Alertmanager's default (Prometheus documentation, "Alerting configuration", `group_wait`).
pub const GROUP_WAIT: Duration = Duration::from_secs(30);
/// How far two messages of a group are apart. Alertmanager's default (likewise, `group_interval`).
pub const GROUP_INTERVAL: Duration = Duration::from_mins(5);
/// How far two reminders of a fleet are apart: people see once a day what is still missing.
pub const REPEAT_INTERVAL: Duration = Duration::from_hours(24);
/// The longest that an admin may set any of them.
pub const GROUP_LONGEST: Duration = Duration::from_hours(30 * 24);
/// Longest note of an admin, in characters.
pub const NOTE_CHARS: usize = 200;
/// Longest name of a tag, in characters.
pub const TAG_CHARS: usize = 32;
/// Most tags of a host: they stand in each of its notices.
pub const TAGS: usize = 10;
/// Candidates of a kind that a sweep keeps at a time, with their beats: about 5 MB. The others are scanned again when
/// these are settled.
pub const CANDIDATES: usize = 20_000;
/// Most records that are read or swapped one after the other without a look at the time: about 2 s of a function with
/// little memory. DynamoDB reads up to 100 in one call (Amazon DynamoDB API reference, `BatchGetItem`).
pub const BATCH: usize = 25;
/// Most new hosts that a process remembers as settled, twice over: 18 MB each.
pub const SETTLED_HOSTS: usize = 1 << 20;
/// Most hosts of a digest, so that a power cut of 10,000 is 5 messages.
pub const DIGEST_HOSTS: usize = 2_000;
/// Most bytes of a digest's list of hosts as JSON: with the texts around it below [`NOTICE_BYTES`], and below the 400 KB
/// of an item in DynamoDB (Amazon DynamoDB developer guide, "Quotas").
pub const DIGEST_BYTES: usize = 200 * 1024;
/// Longest reason of a failing host in a digest, in characters.
pub const REASON_CHARS: usize = 100;
/// Hosts, or sites, that the text of a digest names.
pub const DIGEST_NAMES: usize = 20;
/// Most sites whose hosts a sweep counts, some 8 MB of names; with more, texts do not say how many hosts a site has.
pub const SITES: usize = 100_000;
/// Most host prefixes of a filter: with each kind, each severity and the mark of a test, SNS takes no more. Its filter
/// policies have at most 150 combinations of values (Amazon SNS developer guide, "Filter policy constraints").
pub const FILTER_PREFIXES: usize = 9;
/// Most messages a second that a sweep sends. SNS deactivates an e-mail subscription above 10 (Amazon SNS quotas), two
/// sweeps may send at the same time, and messages that left a quarter of a second apart arrive closer at times.
pub const MESSAGES_PER_SECOND: u32 = 4;
/// Longest grace after a blackout, for hosts to beat again: one interval, so that a host that is well has sent its next
/// beat. Hosts with a longer interval, which are often watched by people on call, are reported after this, with the
/// blackout in the notice.
pub const GRACE: Duration = Duration::from_hours(1);
/// How many graces put off the deadline of a host at most, when blackouts follow each other within a grace: a host that is
/// silent is reported all the same, with the blackout in the notice.
pub const GRACES: u32 = 3;
/// Blackouts that are kept of a receiver, so that its record stays below 3 KB; beyond, the closest two become one.
pub const BLACKOUTS: usize = 64;
/// This many hosts of a fleet silent at once may be the receiver's fault, if they are also more than
/// [`BREAKER_PERCENT`] of it.
pub const BREAKER_HOSTS: u64 = 50;
/// Likewise, in percent of the fleet.
pub const BREAKER_PERCENT: u64 = 20;
/// This many hosts that miss their deadlines while no host at all is heard may mean that the machine has lost its
/// network. Fewer fall silent together for reasons of their own.
pub const NETWORK_HOSTS: usize = 3;
/// How long a host of one machine that seems missing waits for a beat of any other host, at most: time enough for others
/// to miss their deadlines as well. Not longer than its own interval.
pub const NETWORK_WAIT: Duration = Duration::from_mins(1);
/// How long notices that may be the receiver's fault are held. Also how long a host that became missing counts as one of
/// many that fall silent bit by bit.
pub const HOLD: Duration = Duration::from_mins(15);
/// Canaries that are sent at a time: they are in different partitions of the table, so that the oldest shows how far
/// the copies in other regions lag behind.
pub const CANARIES: u8 = 3;
/// A region from which nothing arrived for this long is no longer waited for.
pub const REGION_DEAD_AFTER: Duration = Duration::from_mins(5);
/// How long acts of admins are kept: a year, and the weeks until the report about it is written.
pub const AUDIT_KEPT: Duration = Duration::from_hours(400 * 24);
/// Names of keys that the record of an import has: what was imported is recognised, and the record stays small.
pub const AUDIT_NAMES: usize = 20;
/// Longest name of who did something, in characters: an ARN of IAM with the longest path (512) and name (64) fits, and a
/// name from the environment floods no screen.
pub const WHO_CHARS: usize = 640;
/// Longest id of a run, in characters: a UUID, and what a client puts around it.
pub const RUN_ID_CHARS: usize = 64;
/// Longest grace.
pub const GRACE_LONGEST: Duration = Duration::from_hours(30 * 24);
/// The grace of a schedule that says no other: time for a job to run. Healthchecks has the same (its documentation,
/// "Configuring checks", grace time).
pub const SCHEDULE_GRACE: Duration = Duration::from_hours(1);
/// How long before a time of its schedule a beat may come and still be that one: the clock of its host may be ahead.
pub const SCHEDULE_EARLY: Duration = Duration::from_mins(1);
/// What people know at least of how seldom a host beats which has a schedule: it may be one of office hours.
pub const SCHEDULE_GAP: Duration = Duration::from_hours(7 * 24);
/// Longest schedule of cron, in characters: lists of minutes and hours fit.
pub const SCHEDULE_CHARS: usize = 100;
/// Longest name of a time zone, in characters; the longest of IANA has 32 (`America/Argentina/ComodRivadavia`).
pub const ZONE_CHARS: usize = 40;
/// Most maintenance windows of a fleet, so that its record stays far below the 400 KB of an item in DynamoDB (Amazon DynamoDB
/// developer guide, "Quotas") and a sweep compares each host with few.
pub const WINDOWS: usize = 100;
/// Longest time for which a window is open; what takes longer is a pause.
pub const WINDOW_LONGEST: Duration = Duration::from_hours(30 * 24);
/// How long a window that is over still counts for hosts that have been silent since then.
pub const WINDOW_KEPT: Duration = Duration::from_hours(30 * 24);
/// How many times that a window was open are looked at: a year of one of each night.
pub const OPENINGS: usize = 400;
