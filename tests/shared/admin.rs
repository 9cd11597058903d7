//! The admin's commands and all their output, which must be the same on a local database and on a deployed stage.
//!
//! Read by the tests of both (`tests/system`, `tests/aws`) from `admin.json`, in which ids, keys and instants have names.

use serde::Deserialize;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The service that the commands administer.
pub(crate) trait Service {
    /// Runs `hb ARGS` on it, with this standard input.
    fn hb(&self, args: &[&str], stdin: &str) -> Ended;

    /// A beat of this host, now, with an interval of 10 minutes.
    fn beat(&self, fleet: &str, host: &str);
}

/// One command, and how it must end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// What it shows.
    what: String,
    /// Hosts that beat before, as FLEET/HOST.
    #[serde(default)]
    beats: Vec<String>,
    /// The arguments; `{name}` stands for what an earlier step gave.
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    /// The name of the key or subscription that it creates: `{name}` is its id, `{name.key}` the key.
    r#as: Option<String>,
    /// Whether the lines are compared in the order of their words: that of the ids is random.
    #[serde(default)]
    sorted: bool,
    #[serde(default)]
    code: i32,
    #[serde(default)]
    out: Vec<String>,
    #[serde(default)]
    err: Vec<String>,
}

/// What earlier steps gave: the text and its name.
type Names = Vec<(String, String)>;

/// Runs all steps, in their order.
pub(crate) fn run(service: &impl Service) {
    let steps: Vec<Step> = serde_json::from_str(include_str!("admin.json")).unwrap();
    let (mut names, mut differences) = (Names::new(), Vec::new());
    for step in steps {
        for beat in &step.beats {
            let (fleet, host) = beat.split_once('/').unwrap();
            service.beat(fleet, host);
        }
        let put = |text: &String| {
            names.iter().fold(text.clone(), |text, (value, name)| {
                text.replace(name, value)
            })
        };
        let args: Vec<_> = step.args.iter().map(put).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let ended = service.hb(&args, &put(&step.stdin));
        if let Some(name) = &step.r#as {
            learn(&mut names, name, ended.stdout.trim());
        }
        let (mut out, err) = (lines(&ended.stdout, &names), lines(&ended.stderr, &names));
        if step.sorted {
            out.sort();
        }
        if (ended.code, &out, &err) != (step.code, &step.out, &step.err) {
            differences.push(
                serde_json::json!({"what": step.what, "code": ended.code, "out": out, "err": err})
                    .to_string(),
            );
        }
    }
    assert!(
        differences.is_empty(),
        "unexpected results:\n{}",
        differences.join("\n")
    );
}

/// Remembers what a step made: a whole key, or an id.
fn learn(names: &mut Names, name: &str, made: &str) {
    if let Some(id) = made.strip_prefix("hbk_").and_then(|rest| rest.get(..10)) {
        names.push((made.to_owned(), format!("{{{name}.key}}")));
        names.push((id.to_owned(), format!("{{{name}}}")));
    } else if !made.is_empty() {
        names.push((made.to_owned(), format!("{{{name}}}")));
    }
}

/// The printed lines, with names for what differs each time, and without what only a local topic has (deliveries and
/// signed webhooks) and who did something.
fn lines(text: &str, names: &Names) -> Vec<String> {
    let line = |line: &str| {
        let mut line = names.iter().fold(line.to_owned(), |line, (value, name)| {
            line.replace(value, name)
        });
        line = cut(line, ",\"deliveries\":{", "}");
        if line.contains("\"act\":") {
            line = cut(line, "\"id\":\"", "\",");
            line = cut(line, "\"who\":\"", "\",");
        }
        line = cut(line, ",\"webhook\":{", "}");
        for region in ["local", "eu-west-1"] {
            line = line.replace(&format!("\"{region}\""), "\"REGION\"");
        }
        let line = without_instants(&line);
        line.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .trim_end_matches(',')
            .to_owned()
    };
    // A stage is not migrated.
    let is_secret = |line: &&str| line.starts_with("secret whsec_");
    text.lines()
        .filter(|line| !is_secret(line) && !line.contains("\"migrate\""))
        .map(line)
        .collect()
}

/// Without what stands from `begin` to `end`.
fn cut(text: String, begin: &str, end: &str) -> String {
    match text.split_once(begin) {
        Some((before, rest)) => format!(
            "{before}{}",
            rest.split_once(end).map_or("", |(_, after)| after)
        ),
        None => text,
    }
}

/// With TIME for instants and how far they are.
fn without_instants(text: &str) -> String {
    const LIKE: &str = "dddd-dd-ddTdd:dd:ddZ";
    let fits = |at: &str| {
        at.len() >= LIKE.len()
            && at.bytes().zip(LIKE.bytes()).all(|(b, like)| {
                if like == b'd' {
                    b.is_ascii_digit()
                } else {
                    b == like
                }
            })
    };
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        if fits(rest) {
            shown.push_str("TIME");
            rest = &rest[LIKE.len()..];
            if let Some(behind) = rest.strip_prefix(" (").and_then(|far| far.split_once(')')) {
                rest = behind.1;
            }
        } else {
            shown.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    shown
}
