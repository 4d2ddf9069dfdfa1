use std::fmt::Write;

use opendata_core::conformance::{Subject, check};
use opendata_core::key::{InstanceId, Prefix, SegmentId, SystemId};
use rand::Rng;
use rand::rngs::StdRng;
use roaring::RoaringBitmap;

use super::*;
use crate::cell::Frame;
use crate::cell::quantize::Code;
use crate::document::{Document, Patch, Scalar};
use crate::filter::Filter;
use crate::key::Keys;
use crate::postings;
use crate::reader::Select;
use crate::schema::{AttributeType, Metric, Storage, TextField, VectorField};
use crate::search::{Effort, Query, Results};
use crate::sparse::Weight;
use crate::text::Posting;

struct VectorSubject;

const WORDS: [&str; 5] = ["fox", "dog", "red", "quick", "lazy"];

fn document(random: &mut StdRng) -> Document {
    let mut document = Document::new(format!("id-{}", random.random_range(0..60)));
    let mut component = || random.random_range(-8i8..8);
    let (a, b) = ([component(), component(), component()], [component(), component()]);
    document = document.vector("a", a.map(f32::from)).vector("b", b.map(|v| f32::from(v) + 0.5));
    let text: Vec<&str> = (0..random.random_range(0..6)).map(|_| WORDS[random.random_range(0..5)]).collect();
    document.text("body", text.join(" ")).attribute("n", random.random_range(0i64..9))
}

impl Subject for VectorSubject {
    type System = Vector;

    fn config(&self) -> Config {
        let config = Config { tail_rows: 16, cell_rows: 8, ..Config::default() };
        config
            .vector("a", VectorField::new(3, Metric::L2))
            .vector("b", VectorField::new(2, Metric::Cosine).stored_as(Storage::F16))
            .attribute("n", AttributeType::I64)
            .text("body", TextField::default())
    }

    fn operation(&self, random: &mut StdRng, _step: u64) -> Op {
        let mut op = Op::default();
        for _ in 0..random.random_range(1..6) {
            op.upsert(document(random));
        }
        let id = format!("id-{}", random.random_range(0..60));
        match random.random_range(0..8) {
            0 => _ = op.delete(id),
            1 => {
                let document = document(random);
                let id = document.id.clone();
                op.upsert(document).patch(id, Patch::new().attribute("n", 8i64).vector("b", None));
            }
            2 => _ = op.delete_where(Filter::eq("n", random.random_range(0i64..9))),
            3 => _ = op.if_version(id, None),
            _ => {}
        }
        op
    }

    fn refused(&self, random: &mut StdRng) -> Op {
        let mut op = Op::default();
        op.upsert(document(random)).upsert(Document::new("x").vector("a", [1.0, 2.0]));
        op
    }

    async fn dump(&self, view: InstanceView<Vector>) -> Result<String> {
        let reader = Vector::reader(view);
        let mut text = String::new();
        for found in reader.scan(None, 1000, &Select::Everything).await? {
            let _ = writeln!(text, "{found:?}");
        }
        for n in 0..9i64 {
            let _ = writeln!(text, "n={n}: {}", reader.count(&Filter::eq("n", n)).await?);
        }
        let stats = reader.stats().await?;
        let _ = writeln!(text, "{:?} {} {}", stats.fields, stats.documents, stats.versions);
        for (field, vector) in [("a", vec![1.0, -2.0, 3.0]), ("b", vec![0.5, 0.1])] {
            for effort in [Effort::Exact, Effort::Normal, Effort::Cells(1)] {
                let query = Query::nearest(field, vector.clone()).effort(effort).select(Select::Id);
                let _ = writeln!(text, "{field} {effort:?}: {:?}", found(reader.search(&query).await?));
                let filtered = query.filter(Filter::lt("n", 5i64)).and_words([("body", 1.0)], "red fox", 1.0);
                let _ = writeln!(text, "{field} {effort:?} filtered: {:?}", found(reader.search(&filtered).await?));
            }
        }
        let _ = writeln!(text, "{:?}", found(reader.search(&Query::words("body", "red fox")).await?));
        Ok(text)
    }

    fn merges(&self, random: &mut StdRng) -> Vec<(Vec<u8>, Vec<Bytes>)> {
        let segment = SegmentId::CONTROL;
        let keys = Keys(Prefix { system: SystemId::VECTOR, version: 1, instance: InstanceId(1), segment });
        let count = random.random_range(1..6);
        let bitmaps = |random: &mut StdRng| {
            let mut bitmap = RoaringBitmap::new();
            let start = random.random_range(0..60_000u32);
            bitmap.insert_range(start..start + random.random_range(1..5000));
            bitmap.extend((0..random.random_range(0..5000)).map(|_| random.random_range(0..65_536)));
            record::encode_bitmap(&bitmap)
        };
        // Each commit adds ids that are newer than all before.
        let mut newest = 0;
        let mut postings = |random: &mut StdRng| {
            let all = (0..random.random_range(1..300)).map(|_| {
                newest += random.random_range(1..20u16);
                Posting { low: newest, occurrences: random.random_range(1..9), words: random.random_range(9..20) }
            });
            text::encode(&all.collect::<Vec<_>>())
        };
        let mut last = 0;
        let mut weights = |random: &mut StdRng| {
            let all = (0..random.random_range(1..300)).map(|_| {
                last += random.random_range(1..20u16);
                Weight { low: last, weight: random.random_range(-1f32..1.0) }
            });
            postings::encode(&all.collect::<Vec<_>>())
        };
        let frames = |random: &mut StdRng| {
            let mut frame = Frame::default();
            frame.push(random.random_range(0..9), &Code { bits: 8, bytes: vec![1, 2], ..Code::default() });
            Cell::of(frame).encode()
        };
        let pages = |random: &mut StdRng| {
            let low = random.random_range(0..16);
            page::encode([(low, random.random_bool(0.7).then(|| vec![low; 3]))])
        };
        vec![
            (keys.dead(0).to_vec(), (0..count).map(|_| bitmaps(random)).collect()),
            (keys.attr("n", &Scalar::I64(1), 0).to_vec(), (0..count).map(|_| bitmaps(random)).collect()),
            (keys.term("body", "fox", 0).to_vec(), (0..count).map(|_| postings(random)).collect()),
            (keys.sparse("s", 7, 0).to_vec(), (0..count).map(|_| weights(random)).collect()),
            (keys.cell("a", 1).to_vec(), (0..count).map(|_| frames(random)).collect()),
            (keys.docs(1).to_vec(), (0..count).map(|_| pages(random)).collect()),
            (keys.vec_page("a", 1).to_vec(), (0..count).map(|_| pages(random)).collect()),
        ]
    }
}

#[tokio::test]
async fn conforms() {
    for seed in 0..6 {
        check(&VectorSubject, seed).await;
    }
}

#[test]
fn records_that_are_never_merged_say_so() {
    let prefix = Prefix { system: SystemId::VECTOR, version: 1, instance: InstanceId(1), segment: SegmentId::CONTROL };
    assert!(Vector::merge(&Keys(prefix).counters(), None, &[Bytes::from_static(&[1])]).is_err());
}

/// What was found, without the cursor, which belongs to one slate's position.
fn found(results: Results) -> Results {
    Results { next: None, ..results }
}
