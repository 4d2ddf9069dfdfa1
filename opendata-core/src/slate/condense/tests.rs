use super::*;
use crate::slate::{Settings, Slate};
use crate::store::Store;
use crate::system::DataSystem;
use crate::testing::{Ledger, LedgerConfig};

fn weight(bytes: u64, largest_run: u64, rows: u64, deletions: u64) -> Weight {
    Weight { bytes, largest_run, rows, deletions }
}

#[test]
fn deletions_weigh_as_much_as_rows_of_average_size() {
    assert!(weight(SMALL, 0, 100, 50).is_mostly_dead());
    assert!(!weight(SMALL, 0, 100, 49).is_mostly_dead());
    assert!(!weight(SMALL - 1, 0, 100, 100).is_mostly_dead(), "too small to matter");
    assert!(weight(SMALL, 0, 1, 1000).is_mostly_dead(), "more deletions than rows");
    assert!(!weight(SMALL, 0, 0, 0).is_mostly_dead(), "files that do not say what they hold");
}

#[test]
fn a_segment_that_is_deleted_from_may_not_grow_for_ever() {
    let run = 10 << 20;
    assert!(weight(2 * run + GROWTH, run, 1000, 20).is_mostly_dead());
    assert!(!weight(2 * run + GROWTH - 1, run, 1000, 20).is_mostly_dead());
    assert!(!weight(2 * run + GROWTH, run, 1000, 10).is_mostly_dead(), "hardly any deletions");
}

#[test]
fn a_trifle_beside_a_large_run_is_left_alone() {
    assert!(weight(100 << 20, 90 << 20, 1, 0).is_scattered());
    assert!(!weight(100 << 20, 95 << 20, 1, 0).is_scattered());
    assert!(weight(1 << 20, (1 << 20) - 10, 1, 0).is_scattered(), "small ones cost nothing");
}

#[tokio::test]
async fn a_segment_that_is_left_alone_becomes_one_run() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings {
        maintenance_interval_ms: 20,
        poll_interval_ms: 20,
        flush_interval_ms: 10,
        condense_after_s: 1,
        compression: crate::slate::Compression::Zstd,
        ..Settings::default()
    };
    let builder = Slate::builder(&store, "s").settings(settings).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = builder.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    for amount in 1..=3 {
        let mut transaction = slate.begin();
        transaction.on(&ledger).add("a", amount);
        transaction.commit().await.unwrap();
        slate.flush_files().await.unwrap();
    }
    let of_ledger = |files: &crate::slate::Files| {
        let mut segments = files.segments.iter();
        let (_, found) = segments.find(|(prefix, _)| prefix.system == Ledger::ID).unwrap();
        found.clone()
    };
    let before = slate.files().await.unwrap();
    assert_eq!(of_ledger(&before).new.count, 3);
    assert!(before.log.count > 0 && before.sorted.count >= 3);
    let begun = Instant::now();
    loop {
        let now = of_ledger(&slate.files().await.unwrap());
        if (now.new.count, now.run_count) == (0, 1) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(slate.stats().segments_condensed >= 1);
    let manifest = slate.0.db.manifest();
    let of_runs = manifest.segments().iter().flat_map(|segment| segment.compacted()).flat_map(|run| run.sst_views());
    let codecs: Vec<_> = of_runs.map(|file| file.sst.info.compression_codec).collect();
    assert!(!codecs.is_empty() && codecs.iter().all(Option::is_some), "{codecs:?}");
    let balances = slate.view().get_reader::<Ledger>("ledger").unwrap().scan_balances().await.unwrap();
    assert_eq!(balances.get("a"), Some(&6));
    slate.close().await.unwrap();
}

/// The engine's worker takes the manifest it remembers for the newest one when the next has been collected.
#[tokio::test]
async fn compaction_goes_on_after_manifests_were_collected_while_nothing_was_compacted() {
    // On local files the engine has no boundary that would tell it.
    let folder = tempfile::tempdir().unwrap();
    let store = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    let settings = Settings {
        poll_interval_ms: 20,
        flush_interval_ms: 10,
        garbage_age_s: 1,
        garbage_interval_s: 1,
        files_timeout_ms: 20_000,
        compression: crate::slate::Compression::Zstd,
        ..Settings::default()
    };
    let builder = Slate::builder(&store, "s").settings(settings).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = builder.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    for round in 0..2 {
        for _ in 0..2 {
            let mut transaction = slate.begin();
            transaction.on(&ledger).add("a", 1);
            transaction.commit().await.unwrap();
            slate.flush_files().await.unwrap();
        }
        // Every checkpoint is a manifest, and so is its end. Those of the first round are collected in the second.
        for _ in 0..16 {
            slate.checkpoint("c", None).await.unwrap();
            slate.release("c").await.unwrap();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        slate.compact().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    let balances = slate.view().get_reader::<Ledger>("ledger").unwrap().scan_balances().await.unwrap();
    assert_eq!(balances.get("a"), Some(&4));
    slate.close().await.unwrap();
}
