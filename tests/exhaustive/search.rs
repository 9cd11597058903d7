//! Breadth-first search over all reachable states, and the shortest path to the first bad one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A system to search.
pub(crate) trait Model {
    type State: Clone + Hash;
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;
    /// All possible next steps.
    fn next(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;
    /// The invariant that this state violates.
    fn wrong(&self, state: &Self::State) -> Option<String>;
    /// Whether nothing is left to do: such a state must be reachable from every state.
    fn is_settled(&self, state: &Self::State) -> bool;
}

/// The size of a search.
#[derive(Debug)]
pub(crate) struct Extent {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) settled: usize,
    /// Steps to the farthest state.
    pub(crate) depth: usize,
}

/// States by their fingerprints, with the step that first reached each.
struct Seen {
    places: HashMap<u128, u32>,
    /// For each state its predecessor, and which successor of that it is.
    from: Vec<(u32, u16)>,
    /// All pairs of a state and a successor.
    edges: Vec<(u32, u32)>,
    settled: Vec<bool>,
}

/// 128 bits: among a hundred million states, the chance that two collide is 1 in 10^22.
pub(crate) fn fingerprint(state: &impl Hash) -> u128 {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, state).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

/// Searches all states.
///
/// # Errors
///
/// The violated invariant, with the shortest path to it.
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
                    return Err(format!("{wrong}\n{}", seen.path(model, new)));
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
            "no settled state can be reached from here\n{}",
            seen.path(model, lost)
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
    /// The steps from the start to `place`, one per line.
    fn path<M: Model>(&self, model: &M, place: u32) -> String {
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

    /// The first state from which no settled one is reachable.
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
