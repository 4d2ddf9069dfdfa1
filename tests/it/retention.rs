//! Retention: what was let go leaves the store, but never from under somebody who looks at it.

use std::time::Duration;

use futures::TryStreamExt;
use opendata_compose::{Log, log};
use opendata_core::Position;
use opendata_core::slate::{Settings, Slate};
use opendata_core::store::Store;

async fn stored_bytes(store: &Store) -> u64 {
    let objects: Vec<_> = store.object_store().list(None).try_collect().await.unwrap();
    objects.iter().filter(|object| object.location.as_ref().contains("/compacted/")).map(|object| object.size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_segments_leave_the_store_once_nobody_looks_at_them() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings {
        maintenance_interval_ms: 20,
        poll_interval_ms: 20,
        garbage_interval_s: 1,
        garbage_age_s: 1,
        ..Settings::default()
    };
    let builder = Slate::builder(&store, "slate").settings(settings);
    let slate = builder.system::<Log>("log", log::Config::default()).open().await.unwrap();
    let handle = slate.get::<Log>("log").unwrap();
    for segment in 0..4 {
        let mut tx = slate.begin();
        for _ in 0..50 {
            let noise: Vec<u8> = (0..1000).map(|_| rand::random()).collect();
            tx.on(&handle).append(format!("stream-{segment}"), noise);
        }
        tx.on(&handle).roll();
        tx.commit().await.unwrap();
    }
    slate.flush_files().await.unwrap();
    let before = stored_bytes(&store).await;
    assert!(before > 200_000, "{before}");
    let held = slate.view();
    let read = |view: opendata_core::slate::View| {
        let reader = view.on(&handle).unwrap();
        async move { Ok::<_, opendata_core::Error>(reader.scan_all(..).await?.collect().await?.len()) }
    };

    let mut tx = slate.begin();
    tx.on(&handle).trim_all(Position::MAX);
    tx.on(&handle).append("stream-new", "kept");
    tx.commit().await.unwrap();
    slate.maintain().await.unwrap();
    slate.flush_files().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(slate.stats().segments_dropped, 0, "files were taken from under a view");
    assert_eq!(read(held.clone()).await.unwrap(), 200);
    assert_eq!(read(slate.view()).await.unwrap(), 1);

    drop(held);
    // The segment of the fourth transaction is the one that the kept record went into.
    let gone = async {
        while slate.stats().segments_dropped < 3 || stored_bytes(&store).await > before / 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(waited.is_ok(), "{:?}, {} bytes of {before}", slate.stats(), stored_bytes(&store).await);
    assert_eq!(read(slate.view()).await.unwrap(), 1);
    slate.close().await.unwrap();
}
