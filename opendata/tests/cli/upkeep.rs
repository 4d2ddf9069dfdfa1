//! Looking after a joined composition: verify, the past, backfill, split and join, metrics, and what the file may say.

use std::time::Duration;

use serde_json::Value;

use super::joined::{Shop, eventually};

/// A shop with orders that were counted.
fn busy(orders: usize) -> (Shop, super::harness::Server, super::harness::Server) {
    let shop = Shop::new();
    shop.place.ok(&["apply"]);
    let (events, metrics) = (shop.own("events"), shop.own("metrics"));
    (1..=orders).for_each(|amount| shop.order(&events, amount));
    eventually("the metrics catch up", || shop.lag() == 0);
    (shop, events, metrics)
}

#[test]
fn verify_agrees_while_edges_run_and_names_what_was_planted() {
    let (shop, events, metrics) = busy(30);
    let told = shop.place.json(&["verify"]);
    let report = &told[0]["edges"][0];
    assert_eq!(
        (&told[0]["equal"], &report["verdict"], &report["records"]),
        (&true.into(), &"equal".into(), &30.into())
    );
    shop.place.ok(&["cut", "create", "good"]);
    assert!(shop.place.ok(&["verify", "sales", "--strict"]).contains("equal"));
    // A process hears of what another said when it looks at the control log again.
    eventually("the cut is counted", || {
        let (code, text) = events.request("GET", "/metrics", "", b"");
        code == 200 && text.contains("opendata_cuts{phase=\"committed\"} 1")
    });
    assert_eq!(metrics.terminate(), 0);

    // One order is counted twice, by hand.
    let ended = shop.place.run_with(&["--node", "metrics", "tsdb", "write", "--add"], b"sales_total{shop=\"s1\"} 4\n");
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended = shop.place.run(&["verify"]);
    assert_eq!(ended.code, 13, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("a sample") && ended.out.contains("sales_total{shop=\"s1\"} at "), "{}", ended.out);
    let ended = shop.place.run(&["--json", "verify"]);
    let told: Value = serde_json::from_str(ended.out.lines().next().unwrap()).unwrap();
    assert_eq!((ended.code, &told["edges"][0]["first"]["what"]), (13, &"sample".into()), "{told}");
    // The past is as good as it was.
    assert!(shop.place.ok(&["at", "good", "verify"]).contains("equal"));
    let sold = shop.place.json(&["--node", "metrics", "at", "good", "tsdb", "query", "sum(sales_total)"]);
    assert_eq!(sold[0]["data"]["result"][0]["value"][1], "465");
    assert!(shop.place.fails(4, &["at", "nonsense", "verify"]).contains("cuts=[good]"));
    assert!(shop.place.fails(3, &["at", "good", "apply"]).contains("cannot be read in the past"));
    assert!(shop.place.fails(4, &["verify", "nonsense"]).contains("edges=[sales]"));
    assert_eq!(events.terminate(), 0);
}

#[test]
fn edges_and_cuts_are_counted_where_prometheus_looks() {
    let shop = Shop::new();
    shop.place.ok(&["apply"]);
    let all = shop.own_all();
    (1..=5).for_each(|amount| shop.order(&all, amount));
    assert_eq!(all.request("POST", "/v1/log/orders/streams/all", "", b"no order").0, 200);
    eventually("the metrics catch up", || shop.lag() == 0);
    shop.place.ok(&["cut", "create", "one"]);
    let read = || all.request("GET", "/metrics", "", b"").1;
    let has = |line: &str| read().lines().any(|found| found == line);
    eventually("the counters are there", || has("opendata_edge_records_total{edge=\"sales\",outcome=\"applied\"} 5"));
    for line in [
        "opendata_edge_records_total{edge=\"sales\",outcome=\"dead_lettered\"} 1",
        "opendata_edge_records_total{edge=\"sales\",outcome=\"filtered\"} 0",
        "opendata_edge_letters{edge=\"sales\"} 1",
        "opendata_edge_lag_records{edge=\"sales\"} 0",
        "opendata_edge_lag_seconds{edge=\"sales\"} 0",
        "opendata_edge_retries_total{edge=\"sales\"} 0",
        "opendata_edge_state{edge=\"sales\",state=\"running\"} 1",
        "opendata_edge_state{edge=\"sales\",state=\"failed\"} 0",
    ] {
        assert!(has(line), "{line} in {}", read());
    }
    eventually("the cut is counted", || has("opendata_cuts{phase=\"committed\"} 1"));
    shop.place.ok(&["pause", "sales"]);
    eventually("it stands still", || has("opendata_edge_state{edge=\"sales\",state=\"paused\"} 1"));
    assert_eq!(all.terminate(), 0);
}

#[test]
fn an_edge_is_backfilled_into_another_instance_and_not_reset_by_mistake() {
    let (shop, events, metrics) = busy(20);
    let refused = shop.place.fails(5, &["reset", "sales", "--start"]);
    assert!(refused.contains("would be there twice") && refused.contains("backfill"), "{refused}");
    let file = shop.place.path().join("opendata.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text
        .replace("{sales: tsdb}", "{sales: tsdb, anew: tsdb}")
        .replace("instance: sales}", "instance: anew}")
        .replace("payload.amount\"", "payload.amount * 10\"");
    std::fs::write(&file, changed).unwrap();
    let plan = shop.place.fails(3, &["plan"]);
    assert!(plan.contains("backfill it into another instance"), "{plan}");
    let done = shop.place.json(&["backfill", "sales"]);
    assert_eq!((&done[0]["edge"], &done[0]["applied"]), (&"sales".into(), &20.into()), "{done:?}");
    (21..=25).for_each(|amount| shop.order(&events, amount));
    eventually("the edge goes on", || shop.lag() == 0);
    let sold = |instance: &str| {
        let query = ["--node", "metrics", "tsdb", "query", "sum(sales_total)", "--instance", instance];
        shop.place.json(&query)[0]["data"]["result"][0]["value"][1].as_str().unwrap().to_owned()
    };
    assert_eq!((sold("anew"), sold("sales")), ("3250".to_owned(), "210".to_owned()));
    assert_eq!(shop.place.ok(&["plan"]), "nothing to change\n", "the file says what is");
    assert!(shop.place.ok(&["verify"]).contains("equal"));
    assert!(shop.place.fails(4, &["backfill", "sales", "--cancel"]).contains("no backfill"));
    assert_eq!((metrics.terminate(), events.terminate()), (0, 0));
}

#[test]
fn nodes_are_joined_and_split_while_their_owners_run() {
    let (shop, events, metrics) = busy(12);
    let joined = shop.place.json(&["join", "events", "metrics", "--into", "events"]);
    assert_eq!(joined[0]["nodes"].as_object().unwrap().len(), 1);
    let plan = shop.place.fails(3, &["plan"]);
    assert!(plan.contains("only a split or a join moves it") && plan.contains("node=events, file=metrics"), "{plan}");
    // Whoever owned a node owns what became of it, at the address that it has.
    eventually("an order is taken", || shop.sold_now(&events, br#"{"shop": "s0", "amount": 100}"#));
    let nodes = ["--node", "events"];
    let sum = || {
        let asked = shop.place.run(&[&["--json"], &nodes[..], &["tsdb", "query", "sum(sales_total)"]].concat());
        let told: Value = serde_json::from_str(asked.out.lines().next().unwrap_or("null")).unwrap_or_default();
        told["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    eventually("it is counted", || sum().as_deref() == Some("178"));
    assert!(shop.place.ok(&["verify"]).contains("equal"));
    let wrong = shop.place.fails(3, &["split", "events", "--into", "events=orders"]);
    assert!(wrong.contains("at least two"), "{wrong}");
    let wrong = shop.place.fails(3, &["split", "events", "--into", "events=orders", "--into", "metrics=sails"]);
    assert!(wrong.contains("instance=sails"), "{wrong}");
    let split = shop.place.json(&["split", "events", "--into", "events=orders", "--into", "metrics=sales"]);
    assert_eq!(split[0]["nodes"].as_object().unwrap().len(), 2);
    eventually("an order is taken", || shop.sold_now(&events, br#"{"shop": "s0", "amount": 22}"#));
    eventually("it is counted", || shop.lag() == 0 && shop.sold(&[]) == 200.0);
    assert_eq!(shop.ordered(&[]), 200.0);
    assert_eq!(shop.place.ok(&["plan"]), "nothing to change\n");
    assert!(shop.place.ok(&["verify"]).contains("equal"));
    let branches = shop.place.json(&["fork", "list"]).remove(0).to_string();
    assert!(branches.contains("former-1") && branches.contains("former-2"), "{branches}");
    drop((events, metrics));
}

#[test]
fn what_is_missing_before_the_first_run_is_told() {
    let shop = Shop::new();
    let append = ["--node", "events", "log", "append", "all", "an order"];
    assert!(shop.place.fails(4, &append).contains("make it as the file says with `opendata apply`"));
    shop.place.ok(&["apply"]);
    let told = shop.place.fails(4, &append);
    assert!(told.contains("`opendata run` makes it, node=events"), "{told}");
    assert_eq!(shop.own("events").terminate(), 0);
    shop.place.ok(&append);
}

#[test]
fn splits_and_joins_that_are_killed_are_cancelled_and_done_again() {
    let (shop, events, metrics) = busy(5);
    let nodes = || shop.place.json(&["status"])[0]["nodes"].as_array().unwrap().len();
    let join = ["join", "events", "metrics", "--into", "events"];
    let split = ["split", "events", "--into", "events=orders", "--into", "metrics=sales"];
    let mut expected = 15.0;
    for killed_after in [40, 80, 120, 160, 220, 300, 400] {
        let before = nodes();
        let wanted = if before == 2 { &join[..] } else { &split[..] };
        shop.place.kill_after(Duration::from_millis(killed_after), wanted);
        if !shop.place.json(&["status"])[0]["under_way"].is_null() {
            let status = shop.place.ok(&["status"]);
            assert!(status.contains("split or join of events") && status.contains("--cancel"), "{status}");
            let refused = shop.place.fails(5, wanted);
            assert!(refused.contains("until=") && refused.contains("cancelling"), "{refused}");
        }
        shop.place.ok(&["split", "--cancel"]);
        assert_eq!(shop.place.json(&["join", "--cancel"])[0]["given_up"], Value::Null);
        if nodes() == before {
            shop.place.ok(wanted);
        }
        eventually("an order is taken", || shop.sold_now(&events, br#"{"shop": "s0", "amount": 100}"#));
        expected += 100.0;
    }
    if nodes() == 1 {
        shop.place.ok(&split);
    }
    eventually("it is counted", || shop.lag() == 0 && shop.sold(&[]) == expected);
    assert_eq!(shop.ordered(&[]), expected);
    assert!(shop.place.ok(&["verify"]).contains("equal"));
    drop((events, metrics));
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line_and_what_was_meant() {
    let shop = Shop::new();
    let file = shop.place.path().join("opendata.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let lines = |text: &str| text.lines().position(|line| line.contains("from: {")).unwrap() + 1;
    for (from, to, expected) in [
        ("from: {node: events", "from: {node: evnts", "did you mean `events`?"),
        ("instance: orders}", "instance: order}", "did you mean `orders`?"),
        ("to: {node: metrics", "to: {node: metric", "did you mean `metrics`?"),
        ("instance: orders}", "instanc: orders}", "did you mean `instance`?"),
        ("kind: add", "kind: ad", "did you mean `add`?"),
        ("to_metrics:", "to_metric:", "did you mean `to_metrics`?"),
        (
            "node: events, instance: orders",
            "node: metrics, instance: sales",
            "an edge reads a log, and `sales` is a tsdb",
        ),
        ("node: metrics, instance: sales", "node: events, instance: orders", "`orders` is a log"),
        ("\"payload.amount\"", "\"payload.amount +\"", "to_metrics"),
        ("name: sales_total", "name: sales-total", "must match"),
        (
            "edges:\n",
            "edges:\n  - {id: sales, from: {node: events, instance: orders}, to: {node: metrics, instance: sales}, transform: [{to_metrics: {metrics: [{name: x, kind: count, window: {length_ms: 5}}]}}]}\n",
            "two edges have the same id",
        ),
        ("root: shop", "root: shop\ncuts: {every_s: 0}", "every second at most"),
        ("root: shop", "rooot: shop", "did you mean `root`?"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        std::fs::write(&file, &text).unwrap();
        let said = shop.place.fails(3, &["validate"]);
        let place = said.split("opendata.yaml:").nth(1).unwrap_or_else(|| panic!("no place: {said}"));
        let line: usize = place.split(':').next().unwrap().parse().unwrap();
        assert!(said.contains(expected), "{to}: {said}");
        // The line that is named has the mistake in it, or begins what it is in.
        let there = text.lines().nth(line - 1).unwrap();
        let word = to.lines().last().unwrap().split(['{', '}', ' ', '"', ':']).rfind(|word| word.len() > 1).unwrap();
        assert!(there.contains(word) || line >= lines(&text) - 1, "{to}: {said}");
    }
    let schema: Value = serde_json::from_str(&shop.place.ok(&["schema"])).unwrap();
    assert!(schema["$defs"]["Edge"]["properties"]["transform"].is_object());
}

#[test]
fn a_cut_goes_to_another_store_and_comes_back_as_a_composition_of_its_own() {
    let (shop, events, metrics) = busy(20);
    shop.place.ok(&["cut", "create", "good"]);
    shop.order(&events, 1000);
    let said = shop.place.ok(&["export", "good", "--to", "file:./backup", "--as", "safe"]);
    assert!(said.contains("copied 2 nodes") && said.contains("root safe"), "{said}");
    assert_eq!((events.terminate(), metrics.terminate()), (0, 0));
    // Nothing is made of a name that was mistyped.
    let said = shop.place.fails(4, &["import", "good", "--from", "file:./bakcup", "--from-root", "safe"]);
    assert!(said.contains("there is no such folder") && !shop.place.path().join("bakcup").exists(), "{said}");
    let said = shop.place.fails(4, &["import", "god", "--from", "file:./backup", "--from-root", "safe", "--as", "x"]);
    assert!(said.contains("cuts=[good]"), "{said}");

    std::fs::remove_dir_all(shop.place.path().join("data")).unwrap();
    shop.place.ok(&["import", "good", "--from", "file:./backup", "--from-root", "safe", "--as", "shop"]);
    std::fs::remove_dir_all(shop.place.path().join("backup")).unwrap();
    assert_eq!((shop.sold(&[]), shop.ordered(&[])), (210.0, 210.0));
    let all = shop.own_all();
    shop.order(&all, 5);
    eventually("the metrics go on", || shop.sold(&[]) == 215.0);
    assert!(shop.place.ok(&["verify"]).contains("equal"));
    assert_eq!(all.terminate(), 0);
}

#[test]
fn every_command_of_a_composition_teaches_itself() {
    let shop = Shop::new();
    for command in [
        "validate", "plan", "apply", "run", "status", "lag", "explain", "pause", "resume", "reset", "backfill",
        "verify", "restore", "promote", "split", "join", "at", "export", "wait", "import", "schema", "fork", "cut",
        "dlq",
    ] {
        let help = shop.place.ok(&[command, "--help"]);
        assert!(help.contains("Examples:") && help.contains(&format!("opendata {command}")), "{command}: {help}");
    }
    for (group, commands) in [
        ("dlq", &["list", "replay", "drop"][..]),
        ("cut", &["create", "list", "tag", "release"]),
        ("fork", &["create", "list", "discard"]),
    ] {
        for command in commands {
            assert!(shop.place.ok(&[group, command, "--help"]).contains("Usage: opendata"), "{group} {command}");
        }
    }
}
