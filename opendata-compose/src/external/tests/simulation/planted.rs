//! The simulation must be able to fail: each bug here was made on purpose, and some seed finds it.

use super::{End, run, seeds};
use crate::planted::{Bug, plant};

const MOST: u64 = 30;

/// Runs seeds until one finds the bug, and says what it found. The one that found it before comes first.
fn found(bug: Bug, (first, end): (u64, End), words: &[&str]) {
    let _planted = plant(bug);
    let mut others = Vec::new();
    for seed in std::iter::once(first).chain(seeds(MOST)) {
        if let Some(wrong) = run(seed, super::STEPS, end).wrong {
            if words.iter().any(|words| wrong.contains(words)) {
                println!("{bug:?}: seed {seed}: {wrong}");
                return;
            }
            println!("{bug:?}: seed {seed} has found something else: {wrong}");
            others.push(format!("seed {seed}: {wrong}"));
        }
    }
    panic!("no seed has found {bug:?}; they found: {others:?}");
}

#[test]
fn a_cursor_outside_the_batch_is_found() {
    found(
        Bug::CursorApart,
        (1, End::AtRest),
        &["shall be the fold", "is not the fold", "applied, filtered, refused", "the letters are"],
    );
}

#[test]
fn sources_before_sinks_in_an_instant_cut_are_found() {
    found(Bug::SourcesFirst, (2, End::OnlyCuts), &["does not fit together", "the cursor lies outside the source"]);
}

#[test]
fn reading_what_is_not_durable_is_found() {
    found(
        Bug::ReadsUndurable,
        (12, End::AtRest),
        &[
            "the cursor lies outside the source",
            "is not the fold",
            "shall be the fold",
            "applied, filtered, refused",
            "in the end",
        ],
    );
}

#[test]
fn a_sweep_that_ignores_the_deadline_is_found() {
    found(Bug::SweepsEarly, (0, End::AtRest), &["was aborted by somebody else before its deadline"]);
}

#[test]
fn a_promotion_that_does_not_see_what_applications_wrote_beside_edges_is_found() {
    found(Bug::DirectUnseen, (1, End::OnlyForks), &["what was acknowledged is not there"]);
}

#[test]
fn a_rebase_that_leaves_out_what_came_between_two_attempts_is_found() {
    found(Bug::RebaseCounts, (0, End::OnlyForks), &["what was acknowledged is not there", "a record was lost"]);
}

#[test]
fn a_fork_that_speaks_to_the_outside_is_found() {
    found(Bug::ForkTells, (0, End::OnlyForks), &["what was written in a fork is outside"]);
}

#[test]
fn a_split_or_join_of_nodes_that_are_still_written_is_found() {
    found(Bug::CopiesUnfenced, (0, End::OnlyShapes), &["what was acknowledged is not there", "a record was lost"]);
}

#[test]
fn a_split_or_join_that_forgets_where_edges_stand_is_found() {
    found(Bug::ForgetsCursors, (0, End::OnlyShapes), &["is not the fold", "shall be the fold"]);
}

#[test]
fn a_node_that_stays_retired_after_a_split_or_join_came_to_nothing_is_found() {
    found(Bug::StaysRetired, (0, End::OnlyShapes), &["is not opened again"]);
}

#[test]
fn a_sweep_of_what_an_undecided_split_or_join_makes_is_found() {
    found(Bug::SweepsUndecided, (0, End::OnlyShapes), &["is not opened again", "cannot be read", "never decided"]);
}

/// What finds bugs finds none where none was planted.
fn nothing_is_found(end: End, by_default: u64) {
    for seed in seeds(by_default) {
        let begun = std::time::Instant::now();
        let run = run(seed, super::STEPS / 2, end);
        println!("OPENDATA_SEED={seed}: {} lines of trace in {:?}", run.trace.len(), begun.elapsed());
        assert_eq!(run.wrong, None, "OPENDATA_SEED={seed}");
    }
}

#[test]
fn without_a_bug_nothing_is_found_by_cuts_or_forks_alone() {
    nothing_is_found(End::OnlyCuts, 1);
    nothing_is_found(End::OnlyForks, 1);
}

#[test]
fn without_a_bug_nothing_is_found_by_splits_and_joins_alone() {
    nothing_is_found(End::OnlyShapes, 4);
}
