use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::Store;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::Config;
use crate::document::Document;
use crate::schema::{Metric, VectorField};

fn some(random: &mut StdRng, ids: std::ops::Range<usize>) -> Op {
    let mut op = Op::default();
    for id in ids {
        let vector: [f32; 8] = std::array::from_fn(|_| random.random_range(-1f32..1.0));
        op.upsert(Document::new(format!("{id:06}")).vector("v", vector));
    }
    op
}

/// Vectors that come while cells are made anew are put into them, but the cells were not made for them.
#[tokio::test]
async fn what_came_while_cells_were_made_anew_makes_them_anew_again() {
    let store = Store::from_url("memory:").unwrap();
    // Commits drain what is more than the tail may hold themselves.
    let config = Config { tail_rows: 32, tail_limit_rows: 32, cell_rows: 16, ..Config::default() };
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    let config = config.vector("v", VectorField::new(8, Metric::L2));
    let slate = Slate::builder(&store, "slate").system::<Vector>("docs", config).settings(settings);
    let slate = slate.open().await.unwrap();
    let docs = slate.get::<Vector>("docs").unwrap();
    let commit = async |op: Op| {
        let mut tx = slate.begin();
        *tx.on(&docs) = op;
        tx.commit_with(Ack::Written).await.unwrap();
    };
    let mut random = StdRng::seed_from_u64(1);
    commit(some(&mut random, 0..100)).await;
    slate.maintain().await.unwrap();
    commit(some(&mut random, 100..400)).await;
    let mut begun_with = Vec::new();
    while let Some(op) = plan(slate.view().on(&docs).unwrap().view).await.unwrap() {
        let made = match &op.upkeep {
            Some(Upkeep::Index(IndexJob { rebuild: Step::Begin { centroids }, .. })) => Some(centroids.len()),
            _ => None,
        };
        commit(op).await;
        begun_with.extend(made);
        if made.is_some() && begun_with.len() == 1 {
            for first in (400..2000).step_by(100) {
                commit(some(&mut random, first..first + 100)).await;
            }
        }
    }
    let [first, second] = begun_with[..] else { panic!("cells were made anew {} times", begun_with.len()) };
    assert!(first <= 30 && second >= 100, "{first} and {second} cells of 16 vectors, for 400 and 2,000");
    let reader = slate.view().on(&docs).unwrap();
    let table = reader.view.state().unwrap().table("v");
    assert_eq!((table.rows(), table.clustered.rows, table.rebuild.is_some()), (2000, 2000, false));
}
