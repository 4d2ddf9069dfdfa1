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
