use super::*;
use crate::control::PromotePolicy;
use crate::edge::EdgeSpec;
use crate::spec::{InstanceSpec, NodeSpec};
use opendata_core::{ErrorKind, Position};

/// A state that things are said to, one after the other.
struct Story {
    state: State,
    now: i64,
}

impl Story {
    /// Two nodes, `a` and `b`, and an edge from the one to the other.
    fn new() -> Self {
        let mut it = Self { state: State::default(), now: 0 };
        it.ok(Said::Create);
        it.ok(it.apply_spec(&spec()));
        it
    }

    fn say(&mut self, said: Said) -> Result<()> {
        self.now += 1;
        let entry = Entry { version: 1, id: String::new(), at: Timestamp(self.now), by: "test".into(), said };
        let before = self.state.clone();
        let text = Entry::decode("x", &entry.encode().unwrap()).unwrap();
        assert_eq!(text, entry, "an entry reads back as it was written");
        let said = self.state.apply(&entry);
        if said.is_err() {
            assert_eq!(self.state, before, "what is refused changes nothing");
        }
        said
    }

    fn ok(&mut self, said: Said) {
        self.say(said).unwrap();
    }

    fn refused(&mut self, said: Said) -> ErrorKind {
        self.say(said).unwrap_err().kind()
    }

    fn apply_spec(&self, spec: &Composition) -> Said {
        let nodes = spec.nodes.keys().map(|node| (node.clone(), format!("c/{node}"))).collect();
        let (spec, base) = (spec.clone(), self.state.next);
        Said::Apply {
            branch: MAIN.into(),
            spec,
            nodes,
            regenerate: BTreeMap::new(),
            generations: BTreeMap::new(),
            base,
        }
    }

    fn begin(&mut self, cut: &str, branch: &str) -> Result<()> {
        self.say(Said::CutBegin {
            cut: cut.into(),
            branch: branch.into(),
            mode: CutMode::Instant,
            deadline: Timestamp(1_000),
            expires: None,
            tags: vec![],
        })
    }

    fn members(&mut self, cut: &str) {
        for (node, path) in self.state.cuts[cut].nodes.clone() {
            self.ok(member(cut, &node, &path));
        }
    }

    fn committed(&mut self, cut: &str, branch: &str) {
        self.begin(cut, branch).unwrap();
        self.members(cut);
        self.ok(commit(cut, Some(5), 1, 9));
    }

    fn fork(&mut self, name: &str, cut: &str) {
        let nodes = ["a", "b"].map(|node| (node.to_owned(), format!("f/{name}/{node}"))).into();
        self.ok(Said::ForkBegin { fork: name.into(), cut: cut.into(), nodes, deadline: Timestamp(1_000) });
        self.ok(Said::ForkReady { fork: name.into() });
    }

    fn begin_promotion(&mut self, fork: &str) -> Result<()> {
        self.say(Said::PromoteBegin { fork: fork.into(), policy: PromotePolicy::Refuse, deadline: Timestamp(1_000) })
    }
}

fn spec() -> Composition {
    let node = || NodeSpec { path: None, instances: BTreeMap::from([("l".to_owned(), InstanceSpec::of("log"))]) };
    Composition {
        nodes: ["a", "b"].map(|name| (name.to_owned(), node())).into(),
        edges: vec![EdgeSpec::new("e", ("a", "l"), ("b", "l"))],
        cuts: None,
    }
}

fn member(cut: &str, node: &str, path: &str) -> Said {
    let member =
        CutMember { path: path.into(), slate: "s".into(), checkpoint: format!("cut-{cut}"), position: Position(9) };
    Said::CutMember { cut: cut.into(), node: node.into(), member }
}

fn commit(cut: &str, next: Option<u64>, trim: u64, head: u64) -> Said {
    let edge = CutEdge {
        generation: Some(0),
        next: next.map(Position),
        watermark: None,
        digest: "d".into(),
        trim: Position(trim),
        head: Position(head),
    };
    Said::CutCommit { cut: cut.into(), edges: [("e".to_owned(), edge)].into() }
}

#[test]
fn nothing_is_said_before_a_composition_is_created_and_it_is_created_once() {
    let mut it = Story { state: State::default(), now: 0 };
    assert_eq!(it.refused(Said::Pause { branch: MAIN.into(), edge: "e".into() }), ErrorKind::NotFound);
    it.ok(Said::Create);
    assert_eq!(it.refused(Said::Create), ErrorKind::Conflict);
}

#[test]
fn a_cut_is_committed_only_when_whole_and_only_if_its_edges_fit() {
    let mut it = Story::new();
    it.begin("c", MAIN).unwrap();
    assert_eq!(it.begin("d", MAIN).unwrap_err().kind(), ErrorKind::Conflict, "one at a time");
    assert_eq!(it.refused(commit("c", None, 0, 9)), ErrorKind::Conflict);
    it.ok(member("c", "b", "c/b"));
    assert_eq!(it.refused(member("c", "b", "c/b")), ErrorKind::Conflict);
    assert_eq!(it.refused(member("c", "a", "elsewhere")), ErrorKind::Conflict);
    assert_eq!(it.state.cuts["c"].phase, CutPhase::Held);
    it.ok(member("c", "a", "c/a"));
    assert_eq!(it.state.cuts["c"].phase, CutPhase::Cut);
    for (next, trim, head) in [(4, 5, 9), (11, 5, 9)] {
        assert_eq!(it.refused(commit("c", Some(next), trim, head)), ErrorKind::Conflict, "{next} in {trim}..={head}");
    }
    assert_eq!(it.refused(Said::CutCommit { cut: "c".into(), edges: BTreeMap::new() }), ErrorKind::Invalid);
    it.ok(commit("c", Some(10), 5, 9));
    assert_eq!(it.state.committed_cut("c").unwrap().edges["e"].next, Some(Position(10)));
    assert_eq!(it.refused(Said::CutAbort { cut: "c".into(), reason: String::new() }), ErrorKind::Conflict);
    assert_eq!(it.begin("c", MAIN).unwrap_err().kind(), ErrorKind::Conflict, "a name is used once");
}

#[test]
fn what_was_aborted_is_not_committed_and_what_was_released_is_not_used() {
    let mut it = Story::new();
    it.begin("c", MAIN).unwrap();
    it.members("c");
    it.ok(Said::CutAbort { cut: "c".into(), reason: "late".into() });
    assert_eq!(it.refused(commit("c", None, 0, 9)), ErrorKind::Conflict);
    it.committed("d", MAIN);
    it.fork("f", "d");
    assert_eq!(it.refused(Said::CutRelease { cut: "d".into() }), ErrorKind::Conflict, "a fork began there");
    it.ok(Said::Discard { fork: "f".into() });
    it.ok(Said::CutRelease { cut: "d".into() });
    assert!(it.state.committed_cut("d").is_err() && it.state.newest_cut(MAIN, Timestamp(99)).is_none());
}

#[test]
fn a_fork_keeps_names_and_generations_and_a_promotion_exchanges_it_with_main() {
    let mut it = Story::new();
    it.ok(Said::Reset { branch: MAIN.into(), edge: "e".into(), to: ResetTo::Start });
    it.committed("c", MAIN);
    it.fork("f", "c");
    assert_eq!(it.state.branches["f"].edges["e"].generation, 2);
    it.committed("g", "f");
    it.begin_promotion("f").unwrap();
    assert_eq!(it.begin_promotion("f").unwrap_err().kind(), ErrorKind::Conflict, "one at a time");
    assert_eq!(
        it.refused(Said::Own { branch: MAIN.into(), owner: "p".into(), nodes: vec!["a".into()] }),
        ErrorKind::Conflict
    );
    assert_eq!(it.begin("late", MAIN).unwrap_err().kind(), ErrorKind::Conflict, "main stands still");
    assert_eq!(it.refused(Said::Discard { fork: "f".into() }), ErrorKind::Conflict);
    it.ok(Said::PromoteCommit { fork: "f".into(), former: "old".into() });
    assert_eq!(it.state.branches[MAIN].nodes["a"], "f/f/a");
    assert_eq!((it.state.branches["old"].phase, &*it.state.branches["old"].nodes["a"]), (BranchPhase::Former, "c/a"));
    assert_eq!(it.state.branches[MAIN].base.as_ref().unwrap().branch, "old");
    assert_eq!((&*it.state.cuts["c"].branch, &*it.state.cuts["g"].branch), ("old", MAIN));
    assert!(it.state.promoted("f") && it.state.branch("f").is_err());
    assert_eq!(it.refused(Said::Pause { branch: "old".into(), edge: "e".into() }), ErrorKind::Conflict);
    assert_eq!(it.refused(Said::PromoteCommit { fork: "f".into(), former: "x".into() }), ErrorKind::Conflict);
}

#[test]
fn a_promotion_that_was_given_up_leaves_main_as_it_was() {
    let mut it = Story::new();
    it.committed("c", MAIN);
    it.fork("f", "c");
    let before = it.state.branches.clone();
    it.begin_promotion("f").unwrap();
    it.ok(Said::PromoteAbort { fork: "f".into(), reason: "moved".into() });
    assert_eq!(it.state.branches, before);
    assert_eq!(it.refused(Said::PromoteCommit { fork: "f".into(), former: "old".into() }), ErrorKind::Conflict);
    it.ok(Said::Own { branch: MAIN.into(), owner: "p".into(), nodes: vec!["a".into()] });
}

#[test]
fn an_edge_keeps_its_generation_when_it_is_taken_out_and_comes_back() {
    let mut it = Story::new();
    it.ok(Said::Reset { branch: MAIN.into(), edge: "e".into(), to: ResetTo::Tail });
    let without = Composition { edges: vec![], ..spec() };
    it.ok(it.apply_spec(&without));
    assert_eq!(it.refused(Said::Pause { branch: MAIN.into(), edge: "e".into() }), ErrorKind::NotFound);
    it.ok(it.apply_spec(&spec()));
    assert_eq!(it.state.branches[MAIN].edges["e"].generation, 2);
    let stale = it.apply_spec(&without);
    it.ok(Said::Pause { branch: MAIN.into(), edge: "e".into() });
    assert_eq!(it.refused(stale), ErrorKind::Conflict, "planned on an older state");
}

#[test]
fn a_node_keeps_its_slate() {
    let mut it = Story::new();
    let made = |slate: &str| Said::Made { branch: MAIN.into(), node: "a".into(), slate: slate.into() };
    it.ok(made("one"));
    it.ok(made("one"));
    assert_eq!(it.refused(made("two")), ErrorKind::Conflict);
}
