use super::*;
use futures::TryStreamExt;

use crate::env::Env;
use crate::slate::{Settings, Slate};
use crate::testing::{Ledger, LedgerConfig};
use crate::{ErrorKind, Result};

async fn open(store: &Store, path: &str, instances: &[&str]) -> Slate {
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let builder = Slate::builder(store, path).settings(settings).register::<Ledger>();
    let builder = instances.iter().fold(builder, |b, name| b.system::<Ledger>(name, LedgerConfig::default()));
    builder.open().await.unwrap()
}

async fn add(slate: &Slate, instance: &str, amount: i64) -> Position {
    let ledger = slate.get::<Ledger>(instance).unwrap();
    let mut tx = slate.begin();
    tx.on(&ledger).add("a", amount);
    tx.commit().await.unwrap().position()
}

async fn balance(slate: &Slate, instance: &str) -> i64 {
    let balances = slate.view().get_reader::<Ledger>(instance).unwrap().balances().await.unwrap();
    balances.get("a").copied().unwrap_or(0)
}

async fn at(store: &Store, path: &str) -> Result<SlateReader> {
    SlateReader::builder(store, path).register::<Ledger>().open(At::Checkpoint("c".into())).await
}

#[tokio::test]
async fn what_was_split_into_slates_of_its_own_is_joined_again_and_goes_on() {
    let store = Store::from_url("memory:").unwrap();
    let whole = open(&store, "whole", &["x", "y"]).await;
    add(&whole, "x", 1).await;
    add(&whole, "y", 10).await;
    whole.checkpoint("c", None).await.unwrap();
    let reader = at(&store, "whole").await.unwrap();
    reader.fork_instance("x", "x").await.unwrap();
    reader.fork_instance("y", "y").await.unwrap();
    let mut last = Position::ZERO;
    for (path, instance) in [("x", "x"), ("y", "y")] {
        let part = open(&store, path, &[]).await;
        last = last.max(add(&part, instance, 100).await);
        part.checkpoint("c", None).await.unwrap();
        part.close().await.unwrap();
    }
    let (x, y) = (at(&store, "x").await.unwrap(), at(&store, "y").await.unwrap());
    let Fork { slate_id, position } = join(&[&x, &y], "joined").await.unwrap();
    assert!(position > last);
    let joined = open(&store, "joined", &[]).await;
    assert_eq!(joined.id(), slate_id);
    assert_eq!((balance(&joined, "x").await, balance(&joined, "y").await), (101, 110));
    assert!(add(&joined, "x", 1).await > position);
    let ancestors: Vec<_> = joined.lineage().into_iter().map(|ancestor| ancestor.slate_id).collect();
    assert!(ancestors.contains(&x.slate_id()) && ancestors.contains(&y.slate_id()) && ancestors.contains(&whole.id()));
    assert_eq!(join(&[&x, &y], "joined").await.unwrap_err().kind(), ErrorKind::Conflict);
    joined.close().await.unwrap();
    super::super::delete(&store, "joined").await.unwrap();
    super::super::delete(&store, "x").await.unwrap();
}

#[tokio::test]
async fn slates_whose_keys_or_names_collide_are_not_joined() {
    let store = Store::from_url("memory:").unwrap();
    for (path, instance) in [("a", "one"), ("b", "two"), ("c", "one")] {
        let slate = open(&store, path, &[instance]).await;
        add(&slate, instance, 1).await;
        slate.checkpoint("c", None).await.unwrap();
        slate.close().await.unwrap();
    }
    let (a, b, c) = (at(&store, "a").await.unwrap(), at(&store, "b").await.unwrap(), at(&store, "c").await.unwrap());
    let keys = join(&[&a, &b], "to").await.unwrap_err();
    assert!(keys.kind() == ErrorKind::Conflict && keys.to_string().contains("same keys"), "{keys}");
    let names = join(&[&a, &c], "to").await.unwrap_err();
    assert!(names.kind() == ErrorKind::Conflict && names.to_string().contains("same name"), "{names}");
    assert_eq!(join(&[&a], "to").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(store.admin("to", &Env::system()).unwrap().read_manifest(None).await.unwrap().is_none());
}

#[tokio::test]
async fn slates_that_were_retired_are_split_and_joined_without_clones_between() {
    let store = Store::from_url("memory:").unwrap();
    let whole = open(&store, "whole", &["x", "y"]).await;
    add(&whole, "x", 1).await;
    add(&whole, "y", 10).await;
    whole.retire("it is being split").await.unwrap();
    let mut readers = Vec::new();
    let forks = whole.fork_parts(&[(&["x"], "x"), (&["y"], "y")]).await.unwrap();
    for (name, fork) in ["x", "y"].into_iter().zip(forks) {
        let Fork { slate_id, position } = fork;
        let part = open(&store, name, &[]).await;
        assert_eq!(part.id(), slate_id);
        let ancestors = part.lineage();
        assert_eq!((ancestors.len(), ancestors[0].slate_id, ancestors[0].fork_position), (1, whole.id(), position));
        assert_eq!((part.retired(), part.view().instances().count()), (None, 1));
        assert!(add(&part, name, 100).await > position);
        part.retire("it is being joined").await.unwrap();
        part.checkpoint("c", None).await.unwrap();
        readers.push(at(&store, name).await.unwrap());
        part.close().await.unwrap();
    }
    join(&readers.iter().collect::<Vec<_>>(), "joined").await.unwrap();
    let joined = open(&store, "joined", &[]).await;
    assert_eq!((balance(&joined, "x").await, balance(&joined, "y").await), (101, 110));
    let files: Vec<_> = store.object_store().list(None).try_collect().await.unwrap();
    let between: Vec<_> = files.iter().filter(|file| file.location.as_ref().contains(".base")).collect();
    assert!(between.is_empty(), "{between:?}");
    joined.close().await.unwrap();
    whole.close().await.unwrap();
}
