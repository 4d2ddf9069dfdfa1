//! Words, both kinds of ranking at once, groups and pages.

use std::collections::BTreeMap;

use opendata_vector::{Document, Effort, Filter, Fusion, Query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, config, ids};

const WORDS: [&str; 8] = ["fox", "dog", "red", "quick", "lazy", "over", "jumps", "the"];

fn text(random: &mut StdRng) -> String {
    let words: Vec<&str> = (0..random.random_range(0..12)).map(|_| WORDS[random.random_range(0..8)]).collect();
    words.join(" ")
}

/// BM25 by the book, over the texts as they are.
fn plain(texts: &BTreeMap<String, String>, query: &[&str]) -> BTreeMap<String, f64> {
    let words: BTreeMap<&String, Vec<&str>> =
        texts.iter().map(|(id, text)| (id, text.split(' ').filter(|w| !w.is_empty()).collect())).collect();
    let count = words.len() as f64;
    let average = words.values().map(Vec::len).sum::<usize>() as f64 / count;
    let mut scores = BTreeMap::new();
    for term in query {
        let with = words.values().filter(|words| words.contains(term)).count() as f64;
        let idf = (1.0 + (count - with + 0.5) / (with + 0.5)).ln();
        for (id, words) in &words {
            let occurrences = words.iter().filter(|word| *word == term).count() as f64;
            if occurrences > 0.0 {
                let norm = 1.2 * (0.25 + 0.75 * words.len() as f64 / average);
                *scores.entry((*id).clone()).or_default() += idf * occurrences * 2.2 / (occurrences + norm);
            }
        }
    }
    scores
}

#[tokio::test]
async fn words_are_ranked_as_the_book_says_through_updates_and_deletions() {
    let mut random = StdRng::seed_from_u64(5);
    let bed = Bed::new(config()).await;
    let mut texts = BTreeMap::new();
    for _ in 0..300 {
        let id = format!("{:03}", random.random_range(0..120));
        if random.random_bool(0.2) {
            bed.commit(|op| _ = op.delete(&id)).await.unwrap();
            texts.remove(&id);
        } else {
            let text = text(&mut random);
            bed.commit(|op| _ = op.upsert(Document::new(&id).text("body", text.clone()))).await.unwrap();
            texts.insert(id, text);
        }
    }
    for reader in [bed.reader(), bed.outside().await] {
        for query in [vec!["fox"], vec!["dog", "red"], vec!["the", "quick", "lazy"], vec!["nothing"]] {
            let expected = plain(&texts, &query);
            let found = reader.search(&Query::words("body", &query.join(" ")).limit(1000)).await.unwrap();
            assert_eq!(found.hits.len(), expected.len(), "{query:?}");
            for hit in &found.hits {
                let id = String::from_utf8_lossy(&hit.document.id).into_owned();
                assert!((hit.score - expected[&id]).abs() < 1e-9, "{id}: {} and {}", hit.score, expected[&id]);
            }
            assert!(found.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
}

async fn library() -> Bed {
    let mut random = StdRng::seed_from_u64(6);
    let bed = Bed::new(config()).await;
    bed.commit(|op| {
        for id in 0..200 {
            let vector = [(); 3].map(|()| random.random_range(-1f32..1.0));
            let document = Document::new(format!("{id:03}")).vector("v", vector).text("body", text(&mut random));
            op.upsert(document.attribute("year", id % 7).attribute("kind", if id % 2 == 0 { "even" } else { "odd" }));
        }
    })
    .await
    .unwrap();
    bed
}

#[tokio::test]
async fn a_fused_ranking_is_the_fusion_of_its_parts() {
    let bed = library().await;
    let reader = bed.reader();
    let filter = Filter::lt("year", 5i64);
    let near = Query::nearest("v", [0.1, 0.2, 0.3]).effort(Effort::Exact).filter(filter.clone()).limit(50);
    let words = Query::words("body", "quick fox").filter(filter.clone()).limit(50);
    let both = near.clone().and_words([("body", 1.0)], "quick fox", 2.0).limit(20).depth(50);
    let (near, words) = (ids(&reader, &near).await, ids(&reader, &words).await);
    let mut expected: BTreeMap<&String, f64> = BTreeMap::new();
    for (list, weight) in [(&near, 1.0), (&words, 2.0)] {
        for (rank, id) in list.iter().enumerate() {
            *expected.entry(id).or_default() += weight / (60.0 + rank as f64 + 1.0);
        }
    }
    let mut expected: Vec<(&String, f64)> = expected.into_iter().collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let found = reader.search(&both).await.unwrap();
    let found: Vec<(String, f64)> =
        found.hits.iter().map(|hit| (String::from_utf8_lossy(&hit.document.id).into_owned(), hit.score)).collect();
    assert_eq!(found.len(), 20);
    for ((id, score), (expected_id, expected_score)) in found.iter().zip(expected) {
        assert_eq!(id, expected_id);
        assert!((score - expected_score).abs() < 1e-12);
    }
    let weighted = both.fusion(Fusion::Weighted);
    let hits = reader.search(&weighted).await.unwrap().hits;
    assert!(hits[0].score <= 3.0 && hits[0].legs.len() == 2);
}

#[tokio::test]
async fn groups_have_room_for_so_many_and_pages_join() {
    let bed = library().await;
    let reader = bed.reader();
    let query = Query::nearest("v", [0.0, 0.0, 0.0]).limit(14).group_by("year", 2);
    let hits = reader.search(&query).await.unwrap().hits;
    assert_eq!(hits.len(), 14);
    for year in 0..7i64 {
        assert_eq!(hits.iter().filter(|hit| hit.document.attributes["year"] == year.into()).count(), 2);
    }
    let whole = ids(&reader, &Query::nearest("v", [0.0, 0.0, 0.0]).limit(30)).await;
    let mut pages = Vec::new();
    for page in 0..3 {
        pages.extend(ids(&reader, &Query::nearest("v", [0.0, 0.0, 0.0]).limit(10).offset(page * 10)).await);
    }
    assert_eq!(pages, whole);
}
