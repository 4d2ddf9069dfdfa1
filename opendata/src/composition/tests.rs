use std::path::Path;

use super::*;

const SHORT: &str =
    "version: 1\nstore: file:./data\nnodes:\n  main:\n    instances:\n      events: log\n      usage: tsdb\n";

fn parse(text: &str) -> Result<Composition> {
    Composition::parse(text, "opendata.yaml", Path::new("/somewhere"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text).expect_err("a wrong file");
    assert_eq!(error.kind(), opendata_core::ErrorKind::Invalid);
    assert!(error.message().starts_with(expected), "{}", error.message());
}

#[test]
fn short_and_full_say_the_same() {
    let short = parse(SHORT).unwrap();
    let full = parse(
        "version: 1\nstore:\n  url: file:./data\n  local_durability: fsync\nnodes:\n  main:\n    path: main\n    settings: {}\n    instances:\n      events: {system: log, config: {}}\n      usage: {config: {}, system: tsdb}\n",
    )
    .unwrap();
    let meaning = |it: &Composition| format!("{:?}", (&it.folder, &it.store, &it.nodes, &it.server));
    assert_eq!(meaning(&short), meaning(&full));
    let node = short.node(None).unwrap();
    assert_eq!((node.name.as_str(), node.path.as_str()), ("main", "main"));
    let systems: Vec<_> = node.instances.iter().map(|(name, spec)| (name.as_str(), spec.system())).collect();
    assert_eq!(systems, [("events", "log"), ("usage", "tsdb")]);
}

#[test]
fn settings_reach_the_instance_in_either_order() {
    for instance in ["{system: log, config: {chunk_bytes: 4096}}", "{config: {chunk_bytes: 4096}, system: log}"] {
        let text = SHORT.replace("events: log", &format!("events: {instance}"));
        let composition = parse(&text).unwrap();
        match &composition.node(None).unwrap().instances["events"].config {
            SystemConfig::Log(config) => assert_eq!(config.chunk_bytes, 4096),
            SystemConfig::Tsdb(_) | SystemConfig::Vector(_) => panic!("a log"),
        }
    }
}

#[test]
fn a_vector_instance_has_its_schema_in_the_file() {
    let schema = "{vectors: {embedding: {dims: 3, metric: l2, storage: f16}}, attributes: {lang: string}, texts: {body: {stemming: english}}}";
    let vector =
        |schema: &str| SHORT.replace("usage: tsdb", &format!("docs: {{system: vector, config: {{schema: {schema}}}}}"));
    let composition = parse(&vector(schema)).unwrap();
    let SystemConfig::Vector(config) = &composition.node(None).unwrap().instances["docs"].config else {
        panic!("a vector database")
    };
    assert_eq!(config.schema.vectors["embedding"].dims, 3);
    refused(
        &vector("{vectors: {embedding: {dimensions: 3}}}"),
        "opendata.yaml:7:70: unknown field `dimensions`, did you mean `dims`?",
    );
    refused(&vector("{vectors: {embedding: {dims: 0}}}"), "opendata.yaml:7:13: instance docs: dimensions out of range");
}

#[test]
fn edges_are_held_against_the_schema_of_the_log_they_read() {
    let text = |fields: &str| {
        format!(
            r#"version: 1
store: "memory:"
nodes:
  events: {{instances: {{orders: {{system: log, schema: {{{fields}}}}}}}}}
  metrics: {{instances: {{sales: tsdb}}}}
edges:
  - id: sales
    from: {{node: events, instance: orders}}
    to: {{node: metrics, instance: sales}}
    transform:
      - filter: payload.amount > 0.0
      - to_metrics: {{metrics: [{{name: sales, kind: add, value: payload.amount, labels: {{shop: payload.shop.name}}}}]}}
"#
        )
    };
    let composition = parse(&text("amount: float64, shop: {name: string}, note: string?")).unwrap();
    let joint = composition.joint().unwrap();
    joint.validate().unwrap();
    assert!(joint.nodes["events"].instances["orders"].schema.is_some());
    refused(
        &text("amount: string, shop: {name: string}"),
        "opendata.yaml:11:9: edge sales: the expression of transform[0]",
    );
    refused(&text("amount: float64, shop: string"), "opendata.yaml:12:");
    refused(&text("amount: float65"), "opendata.yaml:4:");
    let misplaced = SHORT.replace("usage: tsdb", "usage: {system: tsdb, schema: {amount: int64}}");
    refused(&misplaced, "opendata.yaml:7:14: instance usage: only the records of a log have a schema");
}

#[test]
fn unknown_fields_are_found_with_what_was_meant() {
    refused(&SHORT.replace("nodes:", "node:"), "opendata.yaml:3:1: unknown field `node`, did you mean `nodes`?");
    refused(
        &SHORT.replace("    instances:", "    instnces:"),
        "opendata.yaml:5:5: unknown field `instnces`, did you mean `instances`?",
    );
    refused(
        &SHORT.replace("events: log", "events: {system: log, config: {chunk_byte: 1}}"),
        "opendata.yaml:6:38: unknown field `chunk_byte`, did you mean `chunk_bytes`?",
    );
    refused(
        &SHORT.replace("events: log", "events: {sytem: log}"),
        "opendata.yaml:6:16: unknown field `sytem`, did you mean `system`?",
    );
    refused(
        &SHORT.replace("store: file:./data", "store: {uri: file:./data}"),
        "opendata.yaml:2:9: unknown field `uri`, did you mean `url`?",
    );
    refused(
        &SHORT.replace("  main:\n", "  main:\n    settings: {flush_intervall_ms: 5}\n"),
        "opendata.yaml:5:16: unknown field `flush_intervall_ms`, did you mean `flush_interval_ms`?",
    );
}

#[test]
fn wrong_values_are_found_where_they_stand() {
    refused(
        &SHORT.replace("usage: tsdb", "usage: tsbd"),
        "opendata.yaml:7:14: unknown system `tsbd`, did you mean `tsdb`?",
    );
    refused(
        &SHORT.replace("usage: tsdb", "usage: {system: tsbd}"),
        "opendata.yaml:7:23: unknown value `tsbd`, did you mean",
    );
    refused(&SHORT.replace("version: 1", "version: 2"), "opendata.yaml:1:10: this program reads version 1");
    refused(&SHORT.replace("file:./data", "data"), "opendata.yaml:2:8: a store is a URL");
    refused(
        &SHORT.replace("file:./data", "flie:./data"),
        "opendata.yaml:2:8: unknown kind of store `flie`, did you mean `file`?",
    );
    refused("version: 1\nstore: file:./data\nnodes: {}\n", "opendata.yaml:3:8: a composition has at least one node");
    refused(&SHORT.replace("version: 1\n", ""), "opendata.yaml:2:1: field `version` is missing");
    refused(&SHORT.replace("usage", "events"), "opendata.yaml:7:7: `events` stands here twice");
    refused(
        &SHORT.replace("events: log", "events: {system: log, config: {chunk_bytes: 1}}"),
        "opendata.yaml:6:15: instance events: log setting out of range, setting=chunk_bytes",
    );
    refused(&SHORT.replace("events: log", "events: {config: {x: 1}, system: log}"), "opendata.yaml:6:");
    refused(
        &format!("{SHORT}server: {{default_tsdb: events}}\n"),
        "opendata.yaml:8:9: server.default_tsdb: there is no",
    );
    refused(&SHORT.replace("  main:\n", "  main:\n    settings: 5\n"), "opendata.yaml:5:15: expected fields here");
    refused(&SHORT.replace("  main:", "  a/b:"), "opendata.yaml:5:5: a node's name is made of");
    refused("version: [", "opendata.yaml:1:");
}

#[test]
fn an_error_shows_the_line() {
    let error = parse(&SHORT.replace("usage: tsdb", "usage: tsbd")).unwrap_err();
    let expected = "opendata.yaml:7:14: unknown system `tsbd`, did you mean `tsdb`? (there are: log, tsdb, vector)\n   |\n 7 |       usage: tsbd\n   |              ^";
    assert_eq!(error.message(), expected);
}

#[test]
fn what_init_writes_can_be_read() {
    for store in ["file:./data", "file:/var/lib/my data", "s3://bucket/prefix", "memory:"] {
        let text = template::render(store, "billing");
        let composition = parse(&text).unwrap();
        let node = composition.node(Some("billing")).unwrap();
        assert_eq!(node.path, "billing");
        assert_eq!(node.instances.len(), 2);
        assert!(format!("{:?}", composition.store).contains(store), "{store}");
    }
    // What stands in comments must be right as well once the marks are taken off.
    let text = template::render("file:./data", "billing");
    let told: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if ["path:", "settings:", "  flush_interval_ms"].iter().any(|known| rest.starts_with(known)) => {
                format!("    {rest}\n")
            }
            Some(rest) if ["server:", "  listen:", "  default_tsdb:"].iter().any(|known| rest.starts_with(known)) => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let composition = parse(&told).unwrap();
    assert_eq!(composition.server.listen.as_deref(), Some("127.0.0.1:8080"));
    assert_eq!(composition.server.default_tsdb.as_deref(), Some("usage"));
}

#[test]
fn a_relative_folder_is_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let composition = Composition::parse(SHORT, "opendata.yaml", folder.path()).unwrap();
    composition.prepare(None, None, None).unwrap();
    assert!(folder.path().join("data").is_dir());
}

#[test]
fn every_example_is_in_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    assert!(examples.len() >= 4);
    for example in examples {
        let composition = Composition::read(&example).unwrap();
        if composition.is_joined() {
            opendata_compose::systems::Systems::default().validate(&composition.joint().unwrap()).unwrap();
        } else {
            assert!(!composition.node(None).unwrap().instances.is_empty(), "{}", example.display());
        }
    }
}

/// The document about edges: a whole file, and edges that fit into it.
#[test]
fn what_the_document_about_edges_shows_is_valid() {
    let document = include_str!("../../../docs/edges.md");
    let blocks: Vec<(&str, &str)> = document
        .split("```yaml")
        .skip(1)
        .filter_map(|block| block.split("```").next()?.split_once('\n'))
        .map(|(kind, text)| (kind.trim(), text))
        .collect();
    let (whole, edges): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|(kind, _)| kind.is_empty());
    assert!(whole.len() == 1 && edges.len() >= 4);
    let base = whole[0].1;
    parse(base).unwrap().joint().unwrap().validate().unwrap();
    for (_, edge) in edges {
        let item =
            edge.lines().enumerate().map(|(line, text)| format!("  {} {text}\n", if line == 0 { '-' } else { ' ' }));
        let text = base.replace("\ncuts:", &format!("\n{}cuts:", item.collect::<String>()));
        parse(&text).unwrap().joint().unwrap().validate().unwrap();
    }
}
