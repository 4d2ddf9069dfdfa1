use std::collections::BTreeSet;

use opendata_core::ErrorKind;
use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::Config;
use crate::document::Document;
use crate::search::Query;
use crate::system::Vector;

fn schema() -> Schema {
    Schema::default()
        .attribute("kind", AttributeType::String)
        .attribute("year", AttributeType::I64)
        .attribute("price", AttributeType::F64)
        .attribute("sold", AttributeType::Bool)
        .attribute("at", AttributeType::Timestamp)
        .attribute("tags", AttributeType::Strings)
}

const KINDS: [&str; 4] = ["", "ab", "abc", "b"];

fn document(random: &mut StdRng, id: usize) -> Document {
    let mut document = Document::new(id.to_string());
    let mut maybe = |name: &str, value: Value| {
        if random.random_bool(0.8) {
            document.attributes.insert(name.to_owned(), value);
        }
        random.random_range(0..4)
    };
    let kind = maybe("year", Value::I64(id as i64 % 5 - 2));
    let price = maybe("kind", KINDS[kind].into());
    let sold = maybe("price", Value::F64(price as f64 / 2.0 - 0.5));
    let tag = maybe("sold", Value::Bool(sold > 1));
    let at = maybe("tags", Value::Strings(vec![KINDS[tag].into(), "every".into()]));
    maybe("at", Value::Timestamp(opendata_core::Timestamp(at as i64)));
    document
}

fn filter(random: &mut StdRng, depth: usize) -> Filter {
    let comparisons = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];
    let comparison = comparisons[random.random_range(0..6)];
    let (kind, number) = (KINDS[random.random_range(0..4)], random.random_range(-3i64..4));
    match random.random_range(0..if depth > 0 { 12 } else { 9 }) {
        0 => Filter::compare("kind", comparison, kind),
        1 => Filter::compare("year", comparison, number),
        2 => Filter::compare("price", comparison, number as f64 / 2.0),
        3 => Filter::compare("at", comparison, number),
        4 => Filter::is_in("year", [number, 0]),
        5 => Filter::prefix("kind", kind),
        6 => Filter::contains("tags", kind),
        7 => Filter::contains("kind", kind),
        8 => Filter::exists(["kind", "tags", "sold"][random.random_range(0..3)]),
        9 => filter(random, depth - 1).and(filter(random, depth - 1)),
        10 => filter(random, depth - 1).or(filter(random, depth - 1)),
        _ => filter(random, depth - 1).not(),
    }
}

/// Bitmaps find what a look at each document finds.
#[tokio::test]
async fn bitmaps_agree_with_the_documents() {
    let seed = 11;
    let mut random = StdRng::seed_from_u64(seed);
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    let config = Config::new(schema());
    let slate = Slate::builder(&store, "s").settings(settings).system::<Vector>("v", config).open().await.unwrap();
    let handle = slate.get::<Vector>("v").unwrap();
    let mut documents = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let mut tx = slate.begin();
        for _ in 0..10 {
            let id = random.random_range(0..120);
            if random.random_bool(0.1) {
                tx.on(&handle).delete(id.to_string());
                documents.remove(&id);
            } else {
                let document = document(&mut random, id);
                tx.on(&handle).upsert(document.clone());
                documents.insert(id, document);
            }
        }
        tx.commit_with(Ack::Written).await.unwrap();
    }
    let reader = slate.view().on(&handle).unwrap();
    for round in 0..300 {
        let filter = filter(&mut random, 3);
        let expected: BTreeSet<String> = documents
            .iter()
            .filter(|(_, document)| {
                let stored = Stored { attributes: document.attributes.clone(), ..Stored::default() };
                filter.matches(&schema(), &stored).unwrap()
            })
            .map(|(id, _)| id.to_string())
            .collect();
        assert_eq!(
            reader.count(&filter).await.unwrap(),
            expected.len() as u64,
            "seed {seed}, round {round}: {filter:?}"
        );
        let query = Query::new().filter(filter.clone()).limit(1000);
        let hits = reader.search(&query).await.unwrap().hits;
        let found: BTreeSet<String> =
            hits.iter().map(|hit| String::from_utf8_lossy(&hit.document.id).into_owned()).collect();
        assert_eq!(found, expected, "seed {seed}, round {round}: {filter:?}");
    }
    slate.close().await.unwrap();
}

#[test]
fn a_filter_must_fit_the_schema() {
    let mut deep = Filter::exists("kind");
    for _ in 0..40 {
        deep = deep.not();
    }
    let wrong = [
        Filter::eq("colour", "red"),
        Filter::eq("year", "1999"),
        Filter::eq("price", f64::NAN),
        Filter::eq("tags", "a"),
        Filter::prefix("year", "1"),
        Filter::contains("year", 1i64),
        Filter::is_in("nothing", Vec::<i64>::new()),
        Filter::all().and(Filter::exists("colour")),
        deep,
    ];
    for filter in wrong {
        assert_eq!(filter.check(&schema()).unwrap_err().kind(), ErrorKind::Invalid, "{filter:?}");
    }
    assert!(Filter::lt("price", 3i64).check(&schema()).is_ok());
}
