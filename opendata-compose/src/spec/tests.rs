use super::*;

fn composition(nodes: &[&str], edges: &[(&str, &str)]) -> Composition {
    let node = || NodeSpec { path: None, instances: BTreeMap::from([("l".to_owned(), InstanceSpec::of("log"))]) };
    Composition {
        nodes: nodes.iter().map(|name| ((*name).to_owned(), node())).collect(),
        edges: edges.iter().map(|(from, to)| EdgeSpec::new(&format!("{from}-{to}"), (from, "l"), (to, "l"))).collect(),
        cuts: None,
    }
}

#[test]
fn every_sink_stands_before_its_sources_except_for_edges_that_close_a_cycle() {
    let diamond = composition(&["a", "b", "c", "d"], &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]);
    assert_eq!(diamond.sinks_first(), (["d", "b", "c", "a"].map(str::to_owned).to_vec(), vec![]));
    let cycle = composition(&["a", "b", "c"], &[("a", "b"), ("b", "c"), ("c", "a"), ("b", "b")]);
    assert_eq!(cycle.sinks_first(), (["c", "b", "a"].map(str::to_owned).to_vec(), vec!["c-a".to_owned()]));
}

#[test]
fn random_graphs_have_such_an_order() {
    use proptest::prelude::*;
    proptest!(|(pairs in proptest::collection::btree_set((0_usize..6, 0_usize..6), 0..20))| {
        let names = ["a", "b", "c", "d", "e", "f"];
        let edges: Vec<_> = pairs.iter().map(|(from, to)| (names[*from], names[*to])).collect();
        let spec = composition(&names, &edges);
        let (order, feedback) = spec.sinks_first();
        prop_assert_eq!(order.len(), names.len());
        let place = |node: &str| order.iter().position(|found| found == node).unwrap();
        for edge in &spec.edges {
            let (from, to) = (edge.from.node.as_str(), edge.to.node.as_deref().unwrap());
            prop_assert!(from == to || feedback.contains(&edge.id) || place(to) < place(from));
        }
    });
}

#[test]
fn an_edge_that_ends_nowhere_is_refused_with_what_there_is() {
    let mut spec = composition(&["a", "b"], &[("a", "b")]);
    spec.validate().unwrap();
    spec.edges[0].to.node = Some("x".to_owned());
    let error = spec.validate().unwrap_err().to_string();
    assert!(error.contains("to=x") && error.contains("nodes=[a, b]"), "{error}");
    let mut spec = composition(&["a", "b"], &[("a", "b"), ("a", "b")]);
    assert!(spec.validate().unwrap_err().to_string().contains("same id"));
    spec.edges.pop();
    spec.nodes.get_mut("a").unwrap().instances.insert("l".to_owned(), InstanceSpec::of("tsdb"));
    assert!(spec.validate().unwrap_err().to_string().contains("reads from a log"));
    assert!(composition(&["_a"], &[]).validate().is_err());
}
