//! Documents are written, changed, deleted, listed.

use opendata_core::ErrorKind;
use opendata_vector::{Document, Filter, Patch, Query, Select, Value};

use crate::bed::{Bed, config, ids};

fn fox() -> Document {
    Document::new("fox").vector("v", [1.0, 2.0, 3.0]).attribute("kind", "animal").text("body", "a quick red fox")
}

#[tokio::test]
async fn a_document_is_read_as_it_was_written() {
    let mut bed = Bed::new(config()).await;
    let receipt = bed.commit(|op| _ = op.upsert(fox())).await.unwrap();
    for _ in 0..2 {
        for reader in [bed.reader(), bed.outside().await] {
            let found = reader.get("fox").await.unwrap().unwrap();
            assert_eq!(found.document, fox());
            assert_eq!(found.version, receipt.versions[0].1);
            assert_eq!(reader.get("dog").await.unwrap(), None);
            let narrow = reader.get_selected("fox", &Select::fields(["kind"])).await.unwrap().unwrap();
            assert_eq!(narrow.document, Document::new("fox").attribute("kind", "animal"));
            let all = reader.get_all(["dog", "fox"], &Select::Id).await.unwrap();
            assert!(all[0].is_none() && all[1].as_ref().unwrap().document == Document::new("fox"));
        }
        bed.reopen().await;
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let bed = Bed::new(config()).await;
    bed.commit(|op| _ = op.upsert(fox())).await.unwrap();
    let patch = Patch::new().attribute("year", 1999i64).without_attribute("kind").text("title", Some("Reynard".into()));
    bed.commit(|op| _ = op.patch("fox", patch)).await.unwrap();
    let mut expected = fox().attribute("year", 1999i64).text("title", "Reynard");
    expected.attributes.remove("kind");
    let found = bed.reader().get("fox").await.unwrap().unwrap();
    assert_eq!(found.document, expected);
    assert_eq!(bed.reader().count(&Filter::eq("kind", "animal")).await.unwrap(), 0);
    assert_eq!(ids(&bed.reader(), &Query::nearest("v", [1.0, 2.0, 3.0])).await, ["fox"]);
    assert_eq!(ids(&bed.reader(), &Query::words("title", "reynard")).await, ["fox"]);
    let missing = bed.commit(|op| _ = op.patch("dog", Patch::new().attribute("year", 1i64))).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let without = Patch::new().vector("v", None);
    bed.commit(|op| _ = op.patch("fox", without)).await.unwrap();
    assert_eq!(ids(&bed.reader(), &Query::nearest("v", [1.0, 2.0, 3.0])).await, [""; 0]);
}

/// Small documents share a row, large ones do not: nobody can tell, however they change from one to the other.
#[tokio::test]
async fn documents_of_every_size_are_neighbours() {
    let mut bed = Bed::new(config()).await;
    let body = |id: usize, words: usize| format!("word{id} ").repeat(words);
    let of = |id: usize, words: usize| {
        Document::new(format!("{id:03}")).vector("v", [id as f32, 0.0, 1.0]).text("body", body(id, words))
    };
    let size = |id: usize| if id.is_multiple_of(3) { 400 } else { 2 };
    bed.commit(|op| (0..40).for_each(|id| _ = op.upsert(of(id, size(id))))).await.unwrap();
    // What was small becomes large and the other way round, in the transaction that patches it as well.
    bed.commit(|op| {
        for id in 0..20 {
            op.upsert(of(id, 402 - size(id)));
            op.patch(format!("{id:03}"), Patch::new().attribute("year", id as i64));
        }
        (30..34).for_each(|id| _ = op.delete(format!("{id:03}")));
    })
    .await
    .unwrap();
    for _ in 0..2 {
        for reader in [bed.reader(), bed.outside().await] {
            for id in 0..40 {
                let found = reader.get(format!("{id:03}")).await.unwrap().map(|found| found.document);
                let expected = match id {
                    0..20 => Some(of(id, 402 - size(id)).attribute("year", id as i64)),
                    30..34 => None,
                    _ => Some(of(id, size(id))),
                };
                assert_eq!(found, expected, "{id}");
            }
            assert_eq!(reader.verify().await.unwrap(), 36);
        }
        bed.reopen().await;
    }
}

#[tokio::test]
async fn steps_of_one_transaction_take_effect_in_order() {
    let bed = Bed::new(config()).await;
    let receipt = bed
        .commit(|op| {
            op.upsert(fox()).delete("fox").upsert(fox()).patch("fox", Patch::new().attribute("year", 1i64));
            op.upsert(Document::new("gone").attribute("year", 7i64)).delete_where(Filter::eq("year", 7i64));
        })
        .await
        .unwrap();
    assert_eq!(receipt.deleted, 2);
    let found = bed.reader().get("fox").await.unwrap().unwrap();
    assert_eq!(found.document.attributes["year"], Value::I64(1));
    assert_eq!(found.version, receipt.versions[2].1);
    assert_eq!(bed.reader().count(&Filter::all()).await.unwrap(), 1);
    assert_eq!(ids(&bed.reader(), &Query::words("body", "fox")).await, ["fox"]);
}

#[tokio::test]
async fn transactions_that_share_a_group_see_each_other() {
    use opendata_core::slate::Ack;
    let bed = Bed::new(config()).await;
    let mut pending = Vec::new();
    for round in 0..20i64 {
        let mut tx = bed.slate.begin();
        tx.on(&bed.docs).upsert(fox().attribute("year", round));
        pending.push(tx.submit(Ack::Written).await.unwrap());
        let mut tx = bed.slate.begin();
        tx.on(&bed.docs).patch("fox", Patch::new().attribute("kind", "patched"));
        pending.push(tx.submit(Ack::Written).await.unwrap());
        let mut tx = bed.slate.begin();
        tx.on(&bed.docs).delete_where(Filter::eq("kind", "patched").and(Filter::lt("year", 19i64)));
        pending.push(tx.submit(Ack::Written).await.unwrap());
    }
    for commit in pending {
        commit.wait().await.unwrap();
    }
    let reader = bed.reader();
    let found = reader.get("fox").await.unwrap().unwrap();
    assert_eq!(
        (&found.document.attributes["kind"], &found.document.attributes["year"]),
        (&"patched".into(), &19i64.into())
    );
    assert_eq!(reader.stats().await.unwrap().documents, 1);
    assert_eq!(ids(&reader, &Query::words("body", "fox")).await, ["fox"]);
    assert_eq!(ids(&reader, &Query::nearest("v", [0.0, 0.0, 0.0])).await, ["fox"]);
}

#[tokio::test]
async fn versions_guard_writes() {
    let bed = Bed::new(config()).await;
    let first = bed.commit(|op| _ = op.if_version("fox", None).upsert(fox())).await.unwrap().versions[0].1;
    let again = bed.commit(|op| _ = op.if_version("fox", None).upsert(fox())).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    bed.commit(|op| _ = op.if_version("fox", Some(first)).upsert(fox())).await.unwrap();
    let late = bed.commit(|op| _ = op.if_version("fox", Some(first)).delete("fox")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    bed.commit(|op| _ = op.delete("fox")).await.unwrap();
    let third = bed.commit(|op| _ = op.upsert(fox())).await.unwrap().versions[0].1;
    assert!(third > first, "a version is never used twice");
}

#[tokio::test]
async fn documents_are_listed_in_pages_and_deleted_by_filter() {
    let bed = Bed::new(config()).await;
    bed.commit(|op| {
        for n in 0..25i64 {
            op.upsert(Document::new(format!("{n:02}")).attribute("year", n));
        }
    })
    .await
    .unwrap();
    let deleted = bed.commit(|op| _ = op.delete_where(Filter::range("year", 5i64, 10i64))).await.unwrap().deleted;
    assert_eq!(deleted, 5);
    let reader = bed.reader();
    let (mut after, mut seen) = (None::<Vec<u8>>, Vec::new());
    loop {
        let page = reader.scan(after.as_deref(), 7, &Select::WithoutVectors).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.document.id.to_vec());
        seen.extend(page.into_iter().map(|found| String::from_utf8(found.document.id.to_vec()).unwrap()));
    }
    let expected: Vec<String> = (0..25).filter(|n| !(5..10).contains(n)).map(|n| format!("{n:02}")).collect();
    assert_eq!(seen, expected);
    assert_eq!(reader.count(&Filter::all()).await.unwrap(), 20);
}
