//! Breadth-first search over all states that can be reached, and the shortest way to the first bad one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a search goes through.
pub(crate) trait Model {
    type State: Clone + Hash;
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;
    /// All that can happen next.
    fn next(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;
    /// What is wrong in this state.
    fn wrong(&self, state: &Self::State) -> Option<String>;
    /// Whether nothing is left to be done: some such state can be reached from every state.
    fn is_settled(&self, state: &Self::State) -> bool;
}

/// How much was looked at.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) settled: usize,
    /// Steps from the start to the farthest state.
    pub(crate) depth: usize,
}

/// States by their fingerprints, with the way they were first reached.
struct Seen {
    places: HashMap<u128, u32>,
    /// The state before, and which of its successors this one is.
    from: Vec<(u32, u16)>,
    /// All pairs of a state and one that it leads to.
    edges: Vec<(u32, u32)>,
    settled: Vec<bool>,
}

/// 128 bits: among a hundred million states two share one with a chance of 1 in 10^22.
fn fingerprint(state: &impl Hash) -> u128 {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, state).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// Goes through all states.
///
/// # Errors
///
/// What is wrong, with the shortest way there.
pub(crate) fn search<M: Model>(model: &M) -> Result<Extent, String> {
    let start = model.start();
    let mut seen = Seen {
        places: HashMap::from([(fingerprint(&start), 0)]),
        from: vec![(0, 0)],
        edges: Vec::new(),
        settled: vec![model.is_settled(&start)],
    };
    let (mut depth, mut level) = (0, vec![(0, start)]);
    loop {
        let mut following = Vec::new();
        for (place, state) in level {
            for (nth, (_, next)) in (0..).zip(model.next(&state)) {
                let new =
                    u32::try_from(seen.from.len()).map_err(|_| "too many states".to_owned())?;
                let known = *seen.places.entry(fingerprint(&next)).or_insert(new);
                seen.edges.push((place, known));
                if known != new {
                    continue;
                }
                seen.from.push((place, nth));
                if let Some(wrong) = model.wrong(&next) {
                    return Err(format!("{wrong}\n{}", seen.way(model, new)));
                }
                seen.settled.push(model.is_settled(&next));
                following.push((new, next));
            }
        }
        if following.is_empty() {
            break;
        }
        (depth, level) = (depth + 1, following);
    }
    if let Some(lost) = seen.never_settled() {
        return Err(format!(
            "from here nothing more can settle\n{}",
            seen.way(model, lost)
        ));
    }
    let settled = seen.settled.iter().filter(|settled| **settled).count();
    Ok(Extent {
        states: seen.from.len(),
        transitions: seen.edges.len(),
        settled,
        depth,
    })
}

impl Seen {
    /// The steps from the start to `place`, one a line.
    fn way<M: Model>(&self, model: &M, place: u32) -> String {
        let (mut turns, mut at) = (Vec::new(), place);
        while at != 0 {
            let (before, nth) = self.from[at as usize];
            turns.push(nth);
            at = before;
        }
        let (mut lines, mut state) = (Vec::new(), model.start());
        for nth in turns.into_iter().rev() {
            let Some((step, next)) = model.next(&state).into_iter().nth(usize::from(nth)) else {
                break;
            };
            lines.push(format!("{:>4}  {step:?}", lines.len() + 1));
            state = next;
        }
        lines.join("\n")
    }

    /// The first state from which no settled one can be reached.
    fn never_settled(&self) -> Option<u32> {
        let mut edges = self.edges.clone();
        edges.sort_unstable_by_key(|(_, to)| *to);
        let (mut good, mut open) = (self.settled.clone(), Vec::new());
        open.extend(
            (0..)
                .zip(&self.settled)
                .filter(|(_, settled)| **settled)
                .map(|(place, _): (u32, _)| place),
        );
        while let Some(place) = open.pop() {
            let first = edges.partition_point(|(_, to)| *to < place);
            for (from, _) in edges[first..].iter().take_while(|(_, to)| *to == place) {
                if !std::mem::replace(&mut good[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        (0..)
            .zip(good)
            .find(|(_, good)| !good)
            .map(|(place, _)| place)
    }
}
