//! A bounded run of what the fuzz targets run: random bytes, and stored rows with damage.

use opendata_core::key::KeyRange;
use opendata_core::slate::{At, SlateReader};
use opendata_vector::{AttributeType, Config, Document, Metric, Vector, VectorField};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, seeds};

#[path = "../../fuzz/entries.rs"]
mod entries;

/// Some damage: other bytes, bytes less or bytes more.
fn damage(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len().max(1));
        match random.random_range(0..4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.random()),
            2 => bytes.extend((0..random.random_range(0..9)).map(|_| random.random::<u8>())),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
        }
    }
}

#[test]
fn random_bytes_are_no_record_and_no_filter_and_nothing_panics() {
    for seed in seeds(1, 4) {
        println!("seed {seed}");
        random_bytes(&mut StdRng::seed_from_u64(seed));
    }
}

fn random_bytes(random: &mut StdRng) {
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.random_range(0..60)).map(|_| random.random()).collect();
        entries::records(&bytes);
        entries::texts(&bytes);
        // With a layout byte that is known, more of it is read.
        entries::records(&[&[random.random_range(1..3u8)], &bytes[..]].concat());
    }
    for text in ["a = 1 and (b in (1, 2.5) or not c prefix 'x\\n')", "a in 1..=5 or `in` exists", "1f.8.4010.7"] {
        for _ in 0..2000 {
            let mut bytes = text.as_bytes().to_vec();
            damage(random, &mut bytes);
            entries::texts(&bytes);
        }
    }
}

#[tokio::test]
async fn damaged_rows_are_errors_and_nothing_panics() {
    let config = Config { tail_rows: 64, cell_rows: 32, ..Config::default() };
    let config = config
        .vector("v", VectorField::new(4, Metric::L2))
        .sparse("s")
        .attribute("kind", AttributeType::String)
        .attribute("year", AttributeType::I64)
        .text("body", opendata_vector::TextField::default());
    let bed = Bed::new(config).await;
    let mut random = StdRng::seed_from_u64(22);
    bed.commit(|op| {
        for n in 0..300i64 {
            let vector = [(); 4].map(|()| random.random_range(-1f32..1.0));
            let document = Document::new(format!("{n:03}")).vector("v", vector).attribute("year", n);
            let document = document.sparse("s", [(n as u32 % 5, 1.0)].into_iter().collect());
            op.upsert(document.attribute("kind", if n % 2 == 0 { "even" } else { "odd" }).text("body", "red fox"));
        }
    })
    .await
    .unwrap();
    bed.commit(|op| (0..40).for_each(|n| _ = op.delete(format!("{n:03}")))).await.unwrap();
    bed.slate.maintain().await.unwrap();
    bed.slate.flush().await.unwrap();
    let reader = SlateReader::builder(&bed.store, "slate").register::<Vector>().open(At::Latest).await.unwrap();
    let rows = reader.inspect(KeyRange::prefix(&[0x02]), 10_000).await.unwrap();
    let tags: std::collections::BTreeSet<u8> = rows.iter().map(|found| found.row.key[8]).collect();
    assert!(tags.len() >= 12, "rows of every kind: {tags:x?}");
    let times = 6 * seeds(1, 4).len();
    for found in &rows {
        entries::record(&found.row.key, &found.row.value);
        for _ in 0..times {
            let mut value = found.row.value.to_vec();
            damage(&mut random, &mut value);
            entries::record(&found.row.key, &value);
            let mut key = found.row.key.to_vec();
            damage(&mut random, &mut key);
            entries::record(&key, &found.row.value);
        }
    }
}
