use opendata_core::ErrorKind;
use opendata_core::slate::{Ack, Handle, Settings, Slate};
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
    // Commits drain what is more than the tail may hold themselves.
    let (slate, docs) = opened(Config { tail_rows: 32, tail_limit_rows: 32, cell_rows: 16, ..Config::default() }).await;
    let commit = async |op: Op| commit(&slate, &docs, op).await.unwrap();
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

/// A slate of one field, of which nothing is maintained by itself.
async fn opened(config: Config) -> (Slate, Handle<Vector>) {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    let config = config.vector("v", VectorField::new(8, Metric::L2));
    let slate =
        Slate::builder(&store, "slate").system::<Vector>("docs", config).settings(settings).open().await.unwrap();
    let docs = slate.get::<Vector>("docs").unwrap();
    (slate, docs)
}

async fn commit(slate: &Slate, docs: &Handle<Vector>, op: Op) -> Result<()> {
    let mut tx = slate.begin();
    *tx.on(docs) = op;
    tx.commit_with(Ack::Written).await?;
    Ok(())
}

fn begins(op: &Op) -> bool {
    matches!(&op.upkeep, Some(Upkeep::Index(IndexJob { rebuild: Step::Begin { .. }, .. })))
}

#[tokio::test]
async fn what_commits_drain_while_the_middles_of_new_cells_are_found_does_not_undo_the_work() {
    let (slate, docs) = opened(Config { tail_rows: 32, tail_limit_rows: 32, cell_rows: 16, ..Config::default() }).await;
    let next = async || plan(slate.view().on(&docs).unwrap().view).await.unwrap();
    let mut random = StdRng::seed_from_u64(2);
    commit(&slate, &docs, some(&mut random, 0..100)).await.unwrap();
    slate.maintain().await.unwrap();
    commit(&slate, &docs, some(&mut random, 100..400)).await.unwrap();
    let begin = loop {
        match next().await.unwrap() {
            op if begins(&op) => break op,
            op => commit(&slate, &docs, op).await.unwrap(),
        }
    };
    // Two maintainers have found middles, and commits drain meanwhile.
    let twice = next().await.unwrap();
    assert!(begins(&twice));
    let epoch = || slate.view().on(&docs).unwrap().view.state().unwrap().table("v").epoch;
    let planned_on = epoch();
    for first in (400..900).step_by(100) {
        commit(&slate, &docs, some(&mut random, first..first + 100)).await.unwrap();
    }
    assert!(epoch() > planned_on, "nothing was drained");
    commit(&slate, &docs, begin).await.unwrap();
    let refused = commit(&slate, &docs, twice).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    slate.maintain().await.unwrap();
    let reader = slate.view().on(&docs).unwrap();
    let table = reader.view.state().unwrap().table("v");
    assert_eq!((table.rows(), table.rebuild.is_some()), (900, false));
    reader.verify().await.unwrap();
}

#[tokio::test]
async fn small_cells_are_dissolved_many_at_a_time_and_their_vectors_are_found_in_others() {
    let (slate, docs) = opened(Config { tail_rows: 32, cell_rows: 16, ..Config::default() }).await;
    let mut random = StdRng::seed_from_u64(3);
    commit(&slate, &docs, some(&mut random, 0..4000)).await.unwrap();
    slate.maintain().await.unwrap();
    let table = || slate.view().on(&docs).unwrap().view.state().unwrap().table("v");
    let before = table();
    // Most documents of every cell go, and with the next purge what is left of them.
    let mut gone = Op::default();
    (0..4000).filter(|id| id % 8 != 0).for_each(|id| _ = gone.delete(format!("{id:06}")));
    commit(&slate, &docs, gone).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(op) = plan(slate.view().on(&docs).unwrap().view).await.unwrap() {
        if let Some(Upkeep::Index(IndexJob { removed, created, .. })) = &op.upkeep
            && !removed.is_empty()
            && created.is_empty()
        {
            pieces.push(removed.len());
            assert!(removed.len() <= (table().cells.len() / DISSOLVED_SHARE).max(1), "{pieces:?}");
        }
        commit(&slate, &docs, op).await.unwrap();
    }
    let after = table();
    assert!(pieces.iter().any(|cells| *cells > 4), "{pieces:?}");
    assert!(after.cells.len() < before.cells.len() / 2, "{} of {}", after.cells.len(), before.cells.len());
    assert!(after.cells.values().all(|info| info.rows >= 3), "{:?}", after.cells);
    assert_eq!(after.rows(), 500);
    let reader = slate.view().on(&docs).unwrap();
    reader.verify().await.unwrap();
}
