//! What is wrong with a document is an error that names it, and nothing of the transaction is done.

use opendata_core::ErrorKind;
use opendata_vector::{AttributeType, Config, Document, Filter, Metric, Query, Storage, VectorField};

use crate::bed::Bed;

#[tokio::test]
async fn a_wrong_document_is_named_and_nothing_is_written() {
    let config = Config { max_document_bytes: 4096, ..Config::default() }
        .vector("v", VectorField::new(2, Metric::Cosine))
        .vector("half", VectorField::new(1, Metric::L2).stored_as(Storage::F16))
        .attribute("year", AttributeType::I64)
        .attribute("price", AttributeType::F64)
        .attribute("kind", AttributeType::String)
        .text("body", opendata_vector::TextField::default());
    let bed = Bed::new(config).await;
    let bad = || Document::new("bad");
    let cases = [
        (bad().vector("v", [1.0]), "wrong number of dimensions, field=v, dims=1, expected=2"),
        (bad().vector("v", [1.0, f32::NAN]), "not a finite number, field=v, dimension=1"),
        (bad().vector("v", [0.0, 0.0]), "vector of length zero has no direction, field=v"),
        (bad().vector("half", [1e6]), "component too large, field=half, storage=F16"),
        (bad().vector("w", [1.0]), "no such vector field in the schema, field=w"),
        (bad().attribute("colour", "red"), "no such attribute in the schema, attribute=colour"),
        (bad().attribute("year", "1999"), "wrong type, attribute=year, type=String, expected=I64"),
        (bad().attribute("price", f64::NAN), "not a number, attribute=price"),
        (bad().attribute("kind", "x".repeat(2000)), "string too long, attribute=kind, limit_bytes=1024"),
        (bad().text("title", "x"), "no such text field in the schema, field=title"),
        (bad().text("body", "x".repeat(5000)), "document too large, document=bad"),
    ];
    for (document, message) in cases {
        let good = Document::new("good").vector("v", [1.0, 0.0]);
        let error = bed.commit(|op| _ = op.upsert(good).upsert(document)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(message) && error.message().contains("bad"), "{error}");
    }
    for id in [Vec::new(), vec![b'x'; 1025]] {
        let error = bed.commit(|op| _ = op.upsert(Document::new(id))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(bed.reader().stats().await.unwrap(), Bed::new(bed.config.clone()).await.reader().stats().await.unwrap());
    for query in [
        Query::nearest("v", [1.0]),
        Query::nearest("v", [0.0, 0.0]),
        Query::nearest("w", [1.0]),
        Query::words("kind", "x"),
        Query::new().filter(Filter::eq("colour", "red")),
        Query::new().limit(100_000),
        Query::new().group_by("colour", 1),
    ] {
        assert_eq!(bed.reader().search(&query).await.unwrap_err().kind(), ErrorKind::Invalid, "{query:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_reported_and_the_rest_is_written_if_asked() {
    let config =
        Config::default().vector("v", VectorField::new(2, Metric::Cosine)).attribute("year", AttributeType::I64);
    let bed = Bed::new(config).await;
    let mut tx = bed.slate.begin();
    let op = tx.on(&bed.docs);
    op.skip_invalid();
    op.upsert(Document::new("a").vector("v", [1.0, 0.0]));
    op.upsert(Document::new("b").vector("v", [f32::INFINITY, 0.0]));
    op.upsert(Document::new("c").vector("v", [0.0, 1.0]).attribute("year", 5));
    op.upsert(Document::new(""));
    op.patch("nobody", opendata_vector::Patch::new().attribute("year", 6));
    op.patch("c", opendata_vector::Patch::new().attribute("year", "six"));
    op.upsert(Document::new("d"));
    let commit = tx.commit().await.unwrap();
    let receipt = commit.receipt(&bed.docs).unwrap();
    let refused: Vec<_> = receipt.refused.iter().map(|one| (one.call, &one.id[..], one.kind)).collect();
    let (invalid, missing) = (ErrorKind::Invalid, ErrorKind::NotFound);
    assert_eq!(refused, [(1, &b"b"[..], invalid), (3, b"", invalid), (4, b"nobody", missing), (5, b"c", invalid)]);
    assert!(receipt.refused[0].message.contains("document b: not a finite number, field=v, dimension=0"));
    let written: Vec<_> = receipt.versions.iter().map(|(id, version)| (&id[..], version.0)).collect();
    assert_eq!(written, [(&b"a"[..], 0), (b"c", 1), (b"d", 2)], "what is refused takes no version");
    let reader = bed.reader();
    assert_eq!(reader.stats().await.unwrap().documents, 3);
    assert_eq!(reader.get("c").await.unwrap().unwrap().document.attributes["year"], 5.into());
    // Conditions are never left out.
    let mut tx = bed.slate.begin();
    tx.on(&bed.docs).skip_invalid().if_version("a", None).upsert(Document::new("e"));
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(bed.reader().get("e").await.unwrap().is_none());
}

#[test]
fn values_fit_attributes_where_nothing_is_lost() {
    use opendata_core::Timestamp;
    use opendata_vector::{Schema, Value};
    let schema = Schema::default()
        .attribute("price", AttributeType::F64)
        .attribute("at", AttributeType::Timestamp)
        .attribute("moments", AttributeType::Timestamps)
        .attribute("year", AttributeType::I64);
    let moment = Timestamp(1_769_860_800_000);
    assert_eq!(schema.fit("price", 5.into()).unwrap(), Value::F64(5.0));
    assert_eq!(schema.fit("at", "2026-01-31T12:00:00Z".into()).unwrap(), Value::Timestamp(moment));
    assert_eq!(schema.fit("at", 7.into()).unwrap(), Value::Timestamp(Timestamp(7)));
    assert_eq!(schema.fit("moments", Value::Strings(Vec::new())).unwrap(), Value::Timestamps(Vec::new()));
    for (attribute, value) in
        [("year", Value::F64(1.0)), ("at", "yesterday".into()), ("price", "5".into()), ("x", 1.into())]
    {
        assert_eq!(schema.fit(attribute, value).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
