//! `opendata vector`, at the store and through a server, and the same words over HTTP.

use serde_json::{Value, json};

use super::harness::Place;
use super::intake::packages;

const FILE: &str = "version: 1
store: {url: file:./data, local_durability: operating_system}
nodes:
  n:
    instances:
      events: log
      docs:
        system: vector
        config:
          schema:
            vectors: {embedding: {dims: 2, metric: l2}}
            attributes: {lang: string, year: i64, at: timestamp}
            texts: {body: {stemming: english}}
            sparse: {weights: {}}
";

/// A folder with a vector database of a few documents.
fn place() -> Place {
    let place = Place::empty();
    std::fs::write(place.path().join("opendata.yaml"), FILE).unwrap();
    assert_eq!(place.serve().terminate(), 0);
    let out = place.ok(&[
        "vector",
        "upsert",
        r#"{"id": "a", "embedding": [1, 0], "lang": "en", "year": 1990, "body": "red foxes"}"#,
        r#"{"id": "b", "embedding": [0.9, 0.1], "lang": "de", "year": 2000, "body": "a fox"}"#,
        r#"{"id": "c", "embedding": [0, 1], "lang": "en", "year": 2010, "at": "2026-01-31T12:00:00Z"}"#,
    ]);
    assert!(out.starts_with("wrote 3 documents at position "), "{out}");
    place
}

fn ids(results: &Value) -> Vec<&str> {
    results["hits"].as_array().unwrap().iter().map(|hit| hit["document"]["id"].as_str().unwrap()).collect()
}

#[test]
fn documents_are_written_read_changed_and_deleted() {
    let place = place();
    let found = place.json(&["vector", "get", "a", "c", "--select", "embedding,at"]);
    assert_eq!(found[0]["document"], json!({"id": "a", "embedding": [1.0, 0.0]}));
    assert_eq!(found[1]["document"], json!({"id": "c", "embedding": [0.0, 1.0], "at": 1_769_860_800_000i64}));

    let version = place.json(&["vector", "get", "a"])[0]["version"].to_string();
    let condition = format!("a={version}");
    place.ok(&["vector", "patch", r#"{"id": "a", "lang": null, "year": 1991}"#, "--if-version", &condition]);
    let err = place.fails(5, &["vector", "patch", r#"{"id": "a", "year": 1992}"#, "--if-version", &condition]);
    assert!(err.contains("version differs, document=a"), "{err}");
    let found = place.json(&["vector", "get", "a"]);
    assert_eq!(found[0]["document"], json!({"id": "a", "embedding": [1.0, 0.0], "year": 1991, "body": "red foxes"}));
    place.ok(&["vector", "upsert", r#"{"id": "new"}"#, "--if-version", "new=none"]);
    place.fails(5, &["vector", "upsert", r#"{"id": "new"}"#, "--if-version", "new=none"]);

    // A wrong document refuses all of them, and is named.
    let err = place.fails(3, &["vector", "upsert", r#"{"id": "x"}"#, r#"{"id": "y", "embedding": [1]}"#]);
    assert!(err.contains("document y: wrong number of dimensions, field=embedding"), "{err}");
    let scanned: Vec<Value> = place.json(&["vector", "scan", "--select", "id"]);
    let scanned: Vec<&str> = scanned.iter().map(|one| one["document"]["id"].as_str().unwrap()).collect();
    assert_eq!(scanned, ["a", "b", "c", "new"]);
    assert_eq!(place.ok(&["vector", "count", "--filter", "year >= 2000"]), "2\n");

    assert!(place.ok(&["vector", "delete", "--filter", "year < 2005"]).starts_with("deleted 2 documents"));
    place.ok(&["vector", "delete", "new", "nobody"]);
    assert_eq!(place.ok(&["vector", "count"]), "1\n");
    let err = place.run(&["vector", "get", "c", "a"]);
    assert_eq!(err.code, 4, "{}", err.err);
    assert!(err.out.contains("\"en\"") && err.err.contains("documents=[a]"), "{}{}", err.out, err.err);
    // The past is there.
    place.fails(3, &["vector", "count", "--filter", "year <"]);
    place.ok(&["checkpoint", "create", "before"]);
    place.ok(&["vector", "delete", "c"]);
    assert_eq!(place.ok(&["vector", "count"]), "0\n");
    assert_eq!(place.ok(&["vector", "count", "--at", "before"]), "1\n");
}

#[test]
fn searches_say_the_same_at_the_store_through_the_server_and_over_http() {
    let place = place();
    let query = json!({
        "nearest": {"field": "embedding", "vector": [1, 0]}, "words": {"field": "body", "text": "fox"},
        "filter": {"attribute": "year", "lt": 2005}, "limit": 2, "select": ["lang"], "explain": true,
    });
    let here = place.json(&["vector", "search", "--query", &query.to_string()]).remove(0);
    let server = place.serve();
    let over_http = server.json("POST", "/v1/vector/docs/search", &query.to_string());
    let through = place.json(&["--server", &server.url, "vector", "search", "--query", &query.to_string()]).remove(0);
    for results in [&here, &over_http, &through] {
        assert_eq!(results["hits"], here["hits"]);
        assert_eq!((ids(results), &results["explain"]["matching"]), (vec!["a", "b"], &json!(2)));
        assert_eq!(results["hits"][0]["document"], json!({"id": "a", "lang": "en"}));
    }
    let args = ["--near", "embedding=[0, 1]", "--filter", "lang = 'en'", "--exact", "--limit", "1"];
    let found = place.json(&[&["--server", &server.url, "vector", "search"], &args[..]].concat());
    assert_eq!(ids(&found[0]), ["c"]);
    let table = place.ok(&[&["--server", &server.url, "vector", "search"], &args[..]].concat());
    assert!(table.contains("c ") && table.contains("lang=\"en\""), "{table}");
    let grouped =
        place.json(&["--server", &server.url, "vector", "search", "--near", "embedding=[1,0]", "--group-by", "lang"]);
    assert_eq!(ids(&grouped[0]), ["a", "b"]);

    for (word, body, expected) in [
        ("search", json!({"nearest": {"field": "embedding", "vector": [1]}}), (400, "invalid")),
        ("search", json!({"neerest": {}}), (400, "invalid")),
        ("search", json!({"filter": "year ="}), (400, "invalid")),
        ("upsert", json!([{"id": "x", "embedding": [1, 2]}, {"id": ""}]), (400, "invalid")),
        ("delete", json!({}), (400, "invalid")),
        ("patch", json!({"id": "nobody", "year": 1}), (404, "not_found")),
    ] {
        let (status, kind) = server.refused("POST", &format!("/v1/vector/docs/{word}"), &body.to_string());
        assert_eq!((status, kind.as_str()), expected, "{word} {body}");
    }
    assert_eq!(server.refused("GET", "/v1/vector/docs/documents/nobody", "").0, 404);
    assert_eq!(server.refused("POST", "/v1/vector/events/count", "").0, 400);
    let one = server.json("GET", "/v1/vector/docs/documents/a", "");
    assert_eq!(one["document"]["year"], 1990);
    let stats = server.json("GET", "/v1/vector/docs/stats", "");
    let field = &stats["fields"]["embedding"];
    assert_eq!((&stats["documents"], &field["tombstones"], &field["storage"]), (&json!(3), &json!(0), &json!("f32")));
    let table = place.ok(&["--server", &server.url, "vector", "stats"]);
    assert!(table.contains("tombstones") && !table.contains("recall"), "{table}");
    // Three vectors that are all scanned exactly.
    let sampled = server.json("GET", "/v1/vector/docs/stats?sample=3", "");
    assert_eq!(sampled["fields"]["embedding"]["sampled_recall"], 1.0);
    for at in [&["--server", &server.url][..], &[]] {
        let table = place.ok(&[at, &["vector", "stats", "--sample-recall"]].concat());
        assert!(table.contains("sampled_recall"), "{table}");
    }
    assert_eq!(server.refused("GET", "/v1/vector/docs/stats?sample=0", "").0, 400);
}

#[test]
fn sparse_vectors_wholes_and_pages_work_over_http() {
    let place = place();
    let server = place.serve();
    let parts: Vec<Value> = (0..30)
        .map(|n| {
            let weights = json!({"indices": [n % 3, 100], "values": [1.0, f64::from(n)]});
            json!({"id": format!("p{n:02}"), "embedding": [n, n % 5], "lang": format!("w{}", n / 10), "weights": weights})
        })
        .collect();
    server.json("POST", "/v1/vector/docs/upsert", &Value::from(parts).to_string());
    let search = |body: Value| server.json("POST", "/v1/vector/docs/search", &body.to_string());
    let sparse =
        search(json!({"sparse": {"field": "weights", "vector": {"indices": [100, 1], "values": [1, 50]}}, "limit": 2}));
    assert_eq!(ids(&sparse), ["p28", "p25"]);
    assert_eq!(sparse["hits"][0]["score"], 78.0);
    let wholes = search(json!({
        "max_sim": {"field": "embedding", "vectors": [[0, 0], [29, 4]], "parent": "lang"}, "effort": "exact", "filter": "lang prefix 'w'",
    }));
    // Of w1 one part is 10 away from each query vector; of the others one is far from either.
    assert_eq!(ids(&wholes)[0], "p10");
    assert_eq!(wholes["hits"].as_array().unwrap().len(), 3);

    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page =
            json!({"nearest": {"field": "embedding", "vector": [3, 3]}, "limit": 8, "paged": true, "cursor": cursor});
        let page = search(page);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        // What is written meanwhile does not move the pages.
        server.json("POST", "/v1/vector/docs/upsert", &json!({"id": "p00", "embedding": [3, 3]}).to_string());
        match page.get("next") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 33);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 33, "no result came twice");
    let late = json!({"nearest": {"field": "embedding", "vector": [3, 3]}, "cursor": "1.8.0.1"});
    assert_eq!(server.refused("POST", "/v1/vector/docs/search", &late.to_string()).0, 409);
}

#[test]
fn a_commit_writes_documents_and_records_together_or_not_at_all() {
    let place = place();
    let server = place.serve();
    let body = |document: Value, version: Value| {
        json!({"operations": [
            {"instance": "events", "append": {"stream": "s", "payload": "x"}},
            {"instance": "docs", "if_version": {"id": "d", "version": version}, "upsert": [document], "delete": {"ids": ["a"]}},
        ]})
        .to_string()
    };
    let wrong = body(json!({"id": "d", "embedding": [1]}), Value::Null);
    assert_eq!(server.refused("POST", "/v1/commit", &wrong).0, 400);
    let late = body(json!({"id": "d"}), json!(77));
    assert_eq!(server.refused("POST", "/v1/commit", &late).0, 409);
    let records = server.json("GET", "/v1/log/events/records", "");
    assert_eq!(records["records"].as_array().unwrap().len(), 0);
    let answer = server.json("POST", "/v1/commit", &body(json!({"id": "d", "embedding": [1, 1]}), Value::Null));
    assert_eq!(
        (&answer["receipts"]["docs"]["versions"][0]["id"], &answer["receipts"]["docs"]["deleted"]),
        (&json!("d"), &json!(1))
    );
    assert_eq!(server.json("POST", "/v1/vector/docs/count", "")["documents"], 3);
}

#[test]
fn imports_report_each_wrong_row_and_write_the_others() {
    let place = place();
    let rows: Vec<String> = (0..2500)
        .map(|n| match n {
            7 => "not json".to_owned(),
            1200 => json!({"id": "wrong", "embedding": [1.0]}).to_string(),
            1300 => json!({"id": "wronger", "colour": 1}).to_string(),
            _ => json!({"id": format!("{n:05}"), "embedding": [n, 1], "year": n}).to_string(),
        })
        .collect();
    std::fs::write(place.path().join("rows.jsonl"), rows.join("\n")).unwrap();
    let check = |ended: super::harness::Ended| {
        assert_eq!(ended.code, 3, "{}", ended.err);
        let out: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!((&out["written"], &out["refused"]), (&json!(2497), &json!(3)));
        let report = std::fs::read_to_string(place.path().join("report.jsonl")).unwrap();
        let mut report: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        report.sort_by_key(|row| row["row"].as_u64());
        let refused: Vec<_> = report.iter().map(|row| (row["row"].as_u64().unwrap(), row["id"].as_str())).collect();
        assert_eq!(refused, [(8, None), (1201, Some("wrong")), (1301, Some("wronger"))]);
        assert!(report[1]["message"].as_str().unwrap().contains("wrong number of dimensions"));
    };
    let args = ["--json", "vector", "import", "rows.jsonl", "--report", "report.jsonl", "--batch", "400"];
    check(place.run(&args));
    assert_eq!(place.ok(&["vector", "count", "--filter", "year < 1000"]), "999\n");
    let ended = place.run(&["vector", "import", "rows.jsonl", "--progress"]);
    assert!(ended.err.contains("import: 2500 done"), "{}", ended.err);
    // Again, through a server: nothing doubles.
    let server = place.serve();
    check(place.run(&[&["--server", &server.url], &args[..]].concat()));
    assert_eq!(server.json("POST", "/v1/vector/docs/count", "")["documents"], 2500);
}

#[test]
fn matrices_of_numpy_are_imported() {
    let place = place();
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend([1f32, 0.0, f32::NAN, 0.0, 5.0, 6.0].iter().flat_map(|number| number.to_le_bytes()));
    std::fs::write(place.path().join("words.npy"), bytes).unwrap();
    std::fs::write(place.path().join("words.txt"), "one\ntwo\nthree\n").unwrap();
    let ended = place.run(&["vector", "import", "words.npy", "--ids", "words.txt"]);
    assert_eq!(ended.code, 3);
    assert!(ended.out.contains("row 2: document two: not a finite number"), "{}", ended.out);
    assert_eq!(place.json(&["vector", "get", "three"])[0]["document"], json!({"id": "three", "embedding": [5.0, 6.0]}));
    let server = place.serve();
    assert_eq!(place.run(&["--server", &server.url, "vector", "import", "words.npy"]).code, 3);
    assert_eq!(server.json("GET", "/v1/vector/docs/documents/2", "")["document"]["embedding"], json!([5.0, 6.0]));
}

/// A small file that pyarrow wrote.
const PARQUET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/documents.parquet");

#[test]
fn files_of_parquet_are_imported() {
    let place = place();
    let columns = "url=id,emb=embedding,lang,year,at,weights,body";
    let ended = place.run(&["vector", "import", PARQUET]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("no such field in the schema for a column"), "{}", ended.err);
    let import = ["vector", "import", PARQUET, "--columns", columns];
    assert_eq!(place.ok(&import), "wrote 7 documents\n");
    let check = |document: &Value| {
        let expected = json!({
            "id": "p004", "embedding": [4.0, 2.0], "lang": "en", "year": 1994, "at": 1_769_860_804_000i64,
            "body": "a red fox 4", "weights": {"indices": [1, 100], "values": [1.0, 4.0]},
        });
        assert_eq!(*document, expected);
    };
    check(&place.json(&["vector", "get", "p004"])[0]["document"]);
    // The year of p003 is null.
    assert_eq!(place.ok(&["vector", "count", "--filter", "not year exists"]), "1\n");
    let server = place.serve();
    server.json("POST", "/v1/vector/docs/delete", &json!({"ids": ["p004"]}).to_string());
    place.ok(&[&["--server", &server.url], &import[..]].concat());
    check(&server.json("GET", "/v1/vector/docs/documents/p004", "")["document"]);
}

/// What pyarrow writes with each compression and encoding comes in as what it was, and is the same as its JSON lines.
#[test]
fn what_pyarrow_writes_is_read_as_it_was() {
    let packages = ["pyarrow"];
    let Some(python) = packages::python("vector::what_pyarrow_writes_is_read_as_it_was", "pyarrow", &packages) else {
        return;
    };
    let place = place();
    let script = r#"
import json, pyarrow as pa, pyarrow.parquet as pq, random
random.seed(7)
n = 1000
rows = [{"id": f"r{i:05}", "embedding": [random.randint(-99, 99) / 4, random.randint(-99, 99) / 4],
         "lang": None if i % 11 == 0 else random.choice(["en", "de", "fr"]), "year": random.randint(1900, 2100),
         "at": 1700000000000 + i, "body": " ".join(random.choices(["red", "fox", "dog"], k=i % 5)),
         "weights": {"indices": sorted(random.sample(range(50), i % 4)), "values": [random.randint(1, 9) / 2.0] * (i % 4)}} for i in range(n)]
schema = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float64())), ("lang", pa.string()), ("year", pa.int16()),
    ("at", pa.timestamp("us", tz="UTC")), ("body", pa.large_string()),
    ("weights", pa.struct([("indices", pa.list_(pa.int64())), ("values", pa.list_(pa.float32()))]))])
table = pa.Table.from_pylist([{**row, "at": row["at"] * 1000} for row in rows], schema=schema)
for name, options in {"snappy": {}, "gzip": {"compression": "gzip", "use_dictionary": False}, "none": {"compression": "none", "data_page_version": "2.0"},
                      "zstd": {"compression": "zstd", "row_group_size": 300}}.items():
    pq.write_table(table, f"{name}.parquet", **options)
pq.write_table(table, "brotli.parquet", compression="brotli")
with open("rows.jsonl", "w") as lines:
    for row in rows:
        lines.write(json.dumps({name: value for name, value in row.items() if value is not None}) + "\n")
"#;
    let ended = std::process::Command::new(python).args(["-c", script]).current_dir(place.path()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let everything = |place: &Place| {
        let found = place.json(&["vector", "scan", "--limit", "10000", "--select", "everything"]);
        found.iter().map(|found| found["document"].clone()).collect::<Vec<_>>()
    };
    place.ok(&["vector", "import", "rows.jsonl"]);
    let expected = everything(&place);
    assert_eq!(expected.len(), 1003);
    for name in ["snappy", "gzip", "none", "zstd"] {
        place.ok(&["vector", "delete", "--filter", "year >= 1900"]);
        let ended = place.run(&["vector", "import", &format!("{name}.parquet"), "--progress"]);
        assert_eq!(ended.code, 0, "{name}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains("import: 1000 done"), "{}", ended.err);
        assert_eq!(
            everything(&place),
            expected.iter().filter(|document| document["id"].as_str() > Some("d")).cloned().collect::<Vec<_>>(),
            "{name}"
        );
    }
    let ended = place.run(&["vector", "import", "brotli.parquet"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("the Parquet file cannot be read"), "{}", ended.err);
}
