//! `hb host watch`: a live table in the terminal, the worst first.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use hb_domain::{Fleet, State, Timestamp, human_duration};
use hb_service::admin::{HostAdmin, HostView};
use hb_service::ports::PortResult;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use tokio::sync::mpsc;

use crate::exit::Failure;

/// The number of hosts that are kept, so that a fleet of any size fits in memory.
const KEPT: usize = 1_000;

#[derive(Clone, Debug)]
struct Watched {
    /// The worst is 0.
    rank: u8,
    last: Option<Timestamp>,
    name: String,
    state: State,
    deadline: Option<Timestamp>,
}

impl Watched {
    fn of(view: &HostView) -> Self {
        let rank = match view.state {
            State::Missing => 0,
            State::Failing => 1,
            State::Up => 2,
            State::Expected => 3,
            State::Paused => 4,
            State::Forgotten => 5,
        };
        let last = view.heartbeat.as_ref().map(|beats| beats.last);
        Self {
            rank,
            last,
            name: view.key.short(),
            state: view.state,
            deadline: view.deadline,
        }
    }
}

/// All hosts at one instant.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    at: Timestamp,
    worst: Vec<Watched>,
    counts: BTreeMap<&'static str, usize>,
    problem: Option<String>,
}

/// Watches until `q`, Esc or Ctrl-C.
pub(super) async fn run(
    hosts: &HostAdmin,
    fleet: Option<Fleet>,
    every: Duration,
) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::NotATerminal);
    }
    let mut snapshot = load(hosts, fleet.as_ref()).await?;
    let mut events = events();
    let mut terminal = ratatui::try_init()?;
    let result = async {
        let (mut first, mut ticks) = (0_usize, tokio::time::interval(every));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            first = first.min(snapshot.worst.len().saturating_sub(1));
            terminal.draw(|frame| draw(frame, &snapshot, first))?;
            tokio::select! {
                _ = ticks.tick() => match load(hosts, fleet.as_ref()).await {
                    Ok(now) => snapshot = now,
                    // The last snapshot stays on the screen, with the error below it.
                    Err(error) => snapshot.problem = Some(error.to_string()),
                },
                event = events.recv() => match event {
                    None => return Ok(()),
                    Some(event) => match react(&event, first) {
                        Some(row) => first = row,
                        None => return Ok(()),
                    },
                },
            }
        }
    }
    .await;
    ratatui::restore();
    result
}

/// The first row to show after an event; `None` quits.
fn react(event: &Event, first: usize) -> Option<usize> {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press | KeyEventKind::Repeat,
        ..
    }) = event
    else {
        return Some(first);
    };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => None,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => None,
        KeyCode::Down | KeyCode::Char('j') => Some(first.saturating_add(1)),
        KeyCode::Up | KeyCode::Char('k') => Some(first.saturating_sub(1)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(first.saturating_add(20)),
        KeyCode::PageUp => Some(first.saturating_sub(20)),
        KeyCode::Home => Some(0),
        _ => Some(first),
    }
}

/// Keys and resizes, read by a thread of their own because reading blocks. It ends with the process.
fn events() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Loads all hosts, and keeps the worst.
async fn load(hosts: &HostAdmin, fleet: Option<&Fleet>) -> PortResult<Snapshot> {
    let mut snapshot = Snapshot {
        at: hosts.ports.clock.now(),
        ..Snapshot::default()
    };
    let mut listing = hosts.listing(None).await?;
    let unreadable = listing.unreadable_receivers().first();
    snapshot.problem =
        unreadable.map(|item| format!("the receiver record {} is unreadable", item.key));
    while let Some((views, unreadable)) = listing.next_page().await? {
        for view in views
            .iter()
            .filter(|view| fleet.is_none_or(|fleet| view.key.fleet == *fleet))
        {
            *snapshot.counts.entry(view.state.as_str()).or_default() += 1;
            snapshot.worst.push(Watched::of(view));
        }
        if let Some(item) = unreadable.first() {
            snapshot.problem = Some(format!("the record of {} is unreadable", item.key));
        }
        if snapshot.worst.len() > 2 * KEPT {
            keep_worst(&mut snapshot.worst);
        }
    }
    keep_worst(&mut snapshot.worst);
    Ok(snapshot)
}

fn keep_worst(hosts: &mut Vec<Watched>) {
    // Within a state the longest silence comes first.
    hosts.sort_by(|a, b| (a.rank, a.last, &a.name).cmp(&(b.rank, b.last, &b.name)));
    hosts.truncate(KEPT);
}

fn style(state: State) -> Style {
    // The state is shown as a word, too.
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return Style::new();
    }
    match state {
        State::Missing => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        State::Failing => Style::new().fg(Color::Yellow),
        State::Up => Style::new().fg(Color::Green),
        State::Expected | State::Paused | State::Forgotten => {
            Style::new().add_modifier(Modifier::DIM)
        }
    }
}

/// Draws a snapshot, from the row `first` on. A narrow terminal loses the deadline first.
fn draw(frame: &mut Frame, snapshot: &Snapshot, first: usize) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let counts: Vec<_> = ["missing", "failing", "up", "paused"]
        .iter()
        .map(|word| format!("{} {word}", snapshot.counts.get(word).unwrap_or(&0)))
        .collect();
    frame.render_widget(Line::from(counts.join("  ")).style(Modifier::BOLD), head);
    let wide = body.width >= 64;
    let cells = |host: &Watched| {
        let state = Cell::from(host.state.as_str()).style(style(host.state));
        let ago = host.last.map_or_else(
            || "-".to_owned(),
            |last| seconds(snapshot.at.since(last)) + " ago",
        );
        let due = host.deadline.map_or_else(
            || "-".to_owned(),
            |deadline| {
                if deadline > snapshot.at {
                    format!("in {}", seconds(deadline.since(snapshot.at)))
                } else {
                    format!("{} ago", seconds(snapshot.at.since(deadline)))
                }
            },
        );
        let short = [state, Cell::from(host.name.clone())];
        Row::new(
            short
                .into_iter()
                .chain([Cell::from(ago)])
                .chain(wide.then(|| Cell::from(due))),
        )
    };
    let mut widths = vec![
        Constraint::Length(8),
        Constraint::Fill(1),
        Constraint::Length(16),
    ];
    widths.extend(wide.then_some(Constraint::Length(16)));
    let titles = ["STATE", "HOST", "LAST BEAT"]
        .into_iter()
        .chain(wide.then_some("DEADLINE"));
    let table = Table::new(snapshot.worst.iter().skip(first).map(cells), widths)
        .header(Row::new(titles).style(Modifier::BOLD));
    frame.render_widget(table, body);
    let foot_text = match &snapshot.problem {
        Some(problem) => format!("{}  {problem}", snapshot.at),
        None => format!("{}  q quits, arrows scroll", snapshot.at),
    };
    frame.render_widget(Paragraph::new(foot_text), foot);
}

/// In whole seconds, because milliseconds flicker.
fn seconds(duration: Duration) -> String {
    human_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_769_882_400_000 + seconds * 1_000).unwrap()
    }

    fn snapshot() -> Snapshot {
        let host = |rank, name: &str, state, last| Watched {
            rank,
            last: Some(at(last)),
            name: name.to_owned(),
            state,
            deadline: Some(at(last + 600)),
        };
        let mut worst = vec![
            host(2, "web-02", State::Up, 950),
            host(3, "lab/db", State::Paused, 10),
            host(0, "web-01", State::Missing, 300),
            host(1, "backup", State::Failing, 900),
            host(0, "web-00", State::Missing, 0),
        ];
        keep_worst(&mut worst);
        let counts = BTreeMap::from([("missing", 2), ("up", 1), ("failing", 1), ("paused", 1)]);
        Snapshot {
            at: at(1_000),
            worst,
            counts,
            problem: None,
        }
    }

    fn drawn(width: u16, height: u16, snapshot: &Snapshot, first: usize) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, snapshot, first)).unwrap();
        let text = terminal.backend().to_string();
        text.lines()
            .map(|line| line.trim_matches('"').trim_end())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn shows_counts_and_the_worst_hosts_first() {
        insta::assert_snapshot!(drawn(70, 8, &snapshot(), 0), @"
        2 missing  1 failing  1 up  1 paused
        STATE    HOST                        LAST BEAT        DEADLINE
        missing  web-00                      16 min 40 s ago  6 min 40 s ago
        missing  web-01                      11 min 40 s ago  1 min 40 s ago
        failing  backup                      1 min 40 s ago   in 8 min 20 s
        up       web-02                      50 s ago         in 9 min 10 s
        paused   lab/db                      16 min 30 s ago  6 min 30 s ago
        2026-01-31T18:16:40Z  q quits, arrows scroll
        ");
    }

    #[test]
    fn a_narrow_terminal_shows_state_name_and_last_beat() {
        insta::assert_snapshot!(drawn(36, 6, &snapshot(), 1), @"
        2 missing  1 failing  1 up  1 paused
        STATE    HOST       LAST BEAT
        missing  web-01     11 min 40 s ago
        failing  backup     1 min 40 s ago
        up       web-02     50 s ago
        2026-01-31T18:16:40Z  q quits, arrow
        ");
    }

    #[test]
    fn draws_on_a_terminal_of_any_size() {
        for (width, height) in [(1, 1), (2, 2), (5, 3), (10, 1), (300, 2)] {
            drawn(width, height, &snapshot(), 9);
        }
        let failed = Snapshot {
            problem: Some("table ledger is unavailable".to_owned()),
            ..snapshot()
        };
        assert!(drawn(80, 4, &failed, 0).ends_with("table ledger is unavailable"));
    }

    #[test]
    fn keys_scroll_and_quit() {
        let press = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert_eq!(react(&press(KeyCode::Char('q'), none), 3), None);
        assert_eq!(
            react(&press(KeyCode::Char('c'), KeyModifiers::CONTROL), 3),
            None
        );
        assert_eq!(react(&press(KeyCode::Char('c'), none), 3), Some(3));
        assert_eq!(react(&press(KeyCode::Down, none), 3), Some(4));
        assert_eq!(react(&press(KeyCode::Up, none), 0), Some(0));
        assert_eq!(react(&Event::Resize(80, 24), 3), Some(3));
    }
}
