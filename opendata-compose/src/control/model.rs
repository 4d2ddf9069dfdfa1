//! A model of the cut, the promotion, and splits and joins, explored exhaustively: every order in which processes, stores and clocks can act.
//!
//! The control log in it is the real [`State`](super::State) with its real rules, and whose turn it is and who may write is asked of the real
//! functions; slates and processes are reduced to what matters. Each planted bug must be found.

mod cut;
mod promote;
mod reshape;

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;

use opendata_core::{Result, Timestamp};

use super::{Entry, Said, State};

/// A system of states.
trait Model: Clone + Debug {
    /// What can happen next, with a name for each.
    fn steps(&self) -> Vec<(String, Self)>;

    /// What must hold in every state.
    fn check(&self) -> Result<(), String>;

    /// Whether this is where it shall come to.
    fn is_settled(&self) -> bool;
}

/// What was found.
#[derive(Debug)]
struct Explored {
    states: usize,
}

const MAX_STATES: usize = 200_000;

/// Visits every state that can be reached. The error tells the shortest way to where a check fails, or to a state from which it cannot
/// come to rest any more.
fn explore<M: Model>(start: M) -> Result<Explored, String> {
    let mut places = HashMap::from([(format!("{start:?}"), 0_usize)]);
    let mut seen: Vec<(M, Option<(usize, String)>)> = vec![(start, None)];
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut open = VecDeque::from([0]);
    while let Some(at) = open.pop_front() {
        let state = seen[at].0.clone();
        if let Err(broken) = state.check() {
            return Err(format!("{broken}\n{}", way(&seen, at)));
        }
        for (step, next) in state.steps() {
            let key = format!("{next:?}");
            let place = *places.entry(key).or_insert_with(|| {
                seen.push((next, Some((at, step))));
                before.push(Vec::new());
                open.push_back(seen.len() - 1);
                seen.len() - 1
            });
            before[place].push(at);
        }
        assert!(seen.len() < MAX_STATES, "the model has too many states");
    }
    // Liveness: from everywhere there is a way to rest.
    let mut live: Vec<bool> = seen.iter().map(|(state, _)| state.is_settled()).collect();
    let mut open: Vec<usize> = (0..seen.len()).filter(|at| live[*at]).collect();
    while let Some(at) = open.pop() {
        for from in &before[at] {
            if !std::mem::replace(&mut live[*from], true) {
                open.push(*from);
            }
        }
    }
    match live.iter().position(|live| !live) {
        Some(stuck) => Err(format!("it never comes to rest from here\n{}", way(&seen, stuck))),
        None => Ok(Explored { states: seen.len() }),
    }
}

fn way<M: Model>(seen: &[(M, Option<(usize, String)>)], mut at: usize) -> String {
    let mut steps = vec![format!("{:?}", seen[at].0)];
    while let Some((from, step)) = &seen[at].1 {
        steps.push(step.clone());
        at = *from;
    }
    steps.reverse();
    steps.join("\n")
}

/// Says something, if the rules allow it. All times are one: deadlines are steps of their own.
fn say(state: &State, said: Said) -> Option<State> {
    let mut next = state.clone();
    let entry = Entry { version: 1, id: String::new(), at: Timestamp(0), by: String::new(), said };
    next.apply(&entry).ok()?;
    Some(next)
}
