use super::*;
use crate::ErrorKind;
use crate::slate::{At, Settings, Slate};
use crate::testing::{Ledger, LedgerConfig};
use futures::TryStreamExt;

#[tokio::test]
async fn a_copy_shares_no_file_and_answers_the_same() {
    let (from, to) = (Store::from_url("memory:").unwrap(), Store::from_url("memory:").unwrap());
    let open = async |store: &Store, path: &str| {
        let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
        let builder = Slate::builder(store, path).settings(settings);
        builder.system::<Ledger>("ledger", LedgerConfig::default()).open().await.unwrap()
    };
    let slate = open(&from, "s").await;
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    for round in 0..300 {
        let mut tx = slate.begin();
        tx.on(&ledger).add(&format!("account-{}", round % 70), round);
        tx.commit().await.unwrap();
    }
    slate.checkpoint("c", None).await.unwrap();
    let reader = |store: &Store, path: &str, at: At| SlateReader::builder(store, path).register::<Ledger>().open(at);
    let source = reader(&from, "s", At::Checkpoint("c".into())).await.unwrap();
    let mut told = 0;
    let copied = source.copy_to(&to, "copy", |_| told += 1).await.unwrap();
    assert!(told > 0 && copied.rows >= 70);
    assert_eq!(source.copy_to(&to, "copy", |_| {}).await.unwrap_err().kind(), ErrorKind::Conflict);
    slate.close().await.unwrap();
    let files: Vec<_> = from.object_store().list(None).try_collect().await.unwrap();
    for file in files {
        object_store::ObjectStoreExt::delete(&**from.object_store(), &file.location).await.unwrap();
    }

    let copy = reader(&to, "copy", At::Latest).await.unwrap();
    assert_eq!(copy.checksum().await.unwrap(), copied);
    assert!(copy.view().position() > source.view().position());
    assert_eq!(copy.lineage()[0].slate_id, source.slate_id());
    assert_ne!(copy.slate_id(), source.slate_id());
    let again = open(&to, "copy").await;
    let balances = again.view().get_reader::<Ledger>("ledger").unwrap().balances().await.unwrap();
    assert_eq!(balances.values().sum::<i64>(), (0..300).sum::<i64>());
    again.close().await.unwrap();
}
