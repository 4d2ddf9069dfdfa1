use opendata_compose::vector::{Metric, VectorField};

use super::*;

/// Written by pyarrow 26: seven rows with the columns url, emb (a fixed-size list of floats), lang (dictionary), year (one is null), at
/// (nanoseconds), weights (a struct of lists), body, unused.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/documents.parquet");

fn schema() -> Schema {
    Schema::default()
        .vector("embedding", VectorField::new(2, Metric::L2))
        .attribute("lang", AttributeType::String)
        .attribute("year", AttributeType::F64)
        .attribute("at", AttributeType::Timestamp)
        .sparse("weights")
        .text("body", opendata_compose::vector::TextField::default())
}

fn open(path: &str, names: &[&str]) -> Result<Parquet> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Parquet::open(Path::new(path), schema(), &names)
}

const ALL: [&str; 7] = ["url=id", "emb=embedding", "lang", "year", "at", "weights", "body"];

async fn read(mut parquet: Parquet) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    loop {
        let rows = parquet.next().await?;
        if rows.is_empty() {
            return Ok(all);
        }
        all.extend(rows);
    }
}

#[tokio::test]
async fn columns_become_fields() {
    let rows = read(open(FILE, &ALL).unwrap()).await.unwrap();
    assert_eq!(rows.len(), 7);
    for (at, row) in rows.into_iter().enumerate() {
        let Row::Document(document) = row else { panic!("row {at}") };
        let n = at as f32;
        let mut expected = Document::new(format!("p{at:03}"))
            .vector("embedding", [n, n / 2.0])
            .attribute("lang", if at % 2 == 0 { "en" } else { "de" })
            .attribute("at", Timestamp(1_769_860_800_000 + at as i64 * 1000))
            .sparse("weights", SparseVector { indices: vec![at as u32 % 3, 100], values: vec![1.0, n] })
            .text("body", format!("a red fox {at}"));
        if at != 3 {
            expected = expected.attribute("year", 1990.0 + f64::from(n));
        }
        assert_eq!(document, expected);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said() {
    for (names, expected) in [
        (&[][..], "no such field in the schema for a column of the Parquet file"),
        (&["nothing"], "no such column, column=nothing"),
        (&["lang"], "exactly one column must be the id"),
        (&["url=id", "lang=id"], "exactly one column must be the id"),
        (&["url=id", "unused=colour"], "column=unused, field=colour"),
    ] {
        let error = open(FILE, names).err().unwrap();
        assert!(error.message().contains(expected), "{names:?}: {error}");
    }
    let rows = read(open(FILE, &["url=id", "body=embedding", "unused=year"]).unwrap()).await.unwrap();
    let Some(Row::Wrong(Some(id), error)) = rows.first() else { panic!() };
    assert_eq!(id.show(), "p000");
    assert!(error.message().contains("document p000: the column is of another type than the field, field=embedding"));
    // A number that is no whole number is no id.
    assert!(matches!(&read(open(FILE, &["unused=id"]).unwrap()).await.unwrap()[0], Row::Wrong(None, _)));
}

#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    let bytes = std::fs::read(FILE).unwrap();
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5a;
        if at % 3 == 0 {
            damaged.truncate(at);
        }
        std::fs::write(&path, damaged).unwrap();
        // Damage that hits a value goes unseen without checksums; none may end the program.
        let read = match open(path.to_str().unwrap(), &ALL) {
            Ok(parquet) => read(parquet).await,
            Err(error) => Err(error),
        };
        refused += usize::from(read.is_err());
    }
    assert!(refused > 100, "{refused}");
}
