use opendata_core::Hex;
use proptest::prelude::*;

use super::top::{List, Mask, Worth, search};
use super::*;
use crate::idset::chunk::Chunk;
use crate::search::{Scored, Top};
use crate::text::{Bm25, Posting as Word};

fn words(all: &[(u16, u64, u64)]) -> Vec<Word> {
    all.iter().map(|&(low, occurrences, words)| Word { low, occurrences, words }).collect()
}

/// Postings of a list that is as dense as asked.
fn list(dense: u32) -> impl Strategy<Value = Vec<Word>> {
    prop::collection::vec((1u16..(2 * 60_000 / dense) as u16, 1u64..20, 1u64..500), 0..dense as usize).prop_map(
        |steps| {
            let mut low = 0u16;
            let mut all = Vec::new();
            for (step, occurrences, words) in steps {
                let Some(next) = low.checked_add(step) else { break };
                low = next;
                all.push(Word { low, occurrences, words: words.max(occurrences) });
            }
            all
        },
    )
}

#[test]
fn golden_bytes_of_a_full_block_and_an_open_one() {
    let all: Vec<Word> = (0..130).map(|low| Word { low, occurrences: 1, words: 2 }).collect();
    let bytes = encode(&all);
    let text = Hex(&bytes).to_string();
    assert!(text.starts_with("02800100 7f 8003 01 02 000102 010102".replace(' ', "").as_str()), "{text}");
    assert!(text.ends_with("02 8001 01 06 01 02 000102 010102".replace(' ', "").as_str()), "{text}");
}

#[test]
fn damage_is_told() {
    let good = encode(&words(&[(3, 1, 9), (300, 2, 4)]));
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x80;
        // Either it is told, or another list is read; it never panics.
        let _ = decode::<Word>(b"k", &bad);
        assert!(decode::<Word>(b"k", &good[..at]).is_err() || at == 1, "cut at {at}");
    }
    let overlapping = merge::<Word>(b"k", &[&good, &good]).unwrap_err();
    assert_eq!(overlapping.kind(), opendata_core::ErrorKind::Corrupt);
}

fn plain(lists: &[(Vec<Word>, Bm25)], allowed: Option<&Chunk>, dead: &Chunk) -> Vec<Scored> {
    let mut found = Vec::new();
    for low in 0..=u16::MAX {
        let hits = lists.iter().filter_map(|(all, worth)| {
            let at = all.binary_search_by_key(&low, |word| word.low).ok()?;
            Some(worth.of(all[at]))
        });
        let hits: Vec<f64> = hits.collect();
        let counts = allowed.is_none_or(|allowed| allowed.contains(low)) && !dead.contains(low);
        if !hits.is_empty() && counts {
            found.push(Scored { score: hits.iter().sum(), id: 5 * 65_536 + u64::from(low) });
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_round_trip_and_merge_alike_however_they_are_grouped(all in list(2000), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let whole = encode(&all);
        prop_assert_eq!(decode::<Word>(b"k", &whole).unwrap(), all.clone());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut begin = 0;
        for cut in cuts.into_iter().chain([all.len()]) {
            parts.push(encode(&all[begin..cut]));
            begin = cut;
        }
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        prop_assert_eq!(&merge::<Word>(b"k", &parts).unwrap(), &whole);
        let (left, right) = parts.split_at(parts.len() / 2);
        let (left, right) = (merge::<Word>(b"k", left).unwrap(), merge::<Word>(b"k", right).unwrap());
        prop_assert_eq!(&merge::<Word>(b"k", &[&left, &right]).unwrap(), &whole);
    }

    #[test]
    fn the_best_are_those_that_a_plain_evaluation_finds_to_the_last_bit(
        lists in (list(4000), list(400), list(60), list(3)),
        boosts in prop::array::uniform4(0.0f64..3.0),
        depth in 1usize..40,
        dead in prop::collection::btree_set(any::<u16>(), 0..2000),
        allowed in prop::option::of(prop::collection::btree_set(any::<u16>(), 0..5000)),
    ) {
        let lists = [lists.0, lists.1, lists.2, lists.3];
        let worths = lists.iter().zip(boosts).map(|(all, boost)| Bm25::new(all.len() as u64, 60_000, 6_000_000, boost));
        let lists: Vec<(Vec<Word>, Bm25)> = lists.clone().into_iter().zip(worths).collect();
        let dead = Chunk::list(dead.into_iter().collect());
        let allowed = allowed.map(|set| Chunk::list(set.into_iter().collect()));
        let rows: Vec<Bytes> = lists.iter().map(|(all, _)| encode(all)).collect();
        let walked = rows.iter().zip(&lists).enumerate();
        let walked = walked.map(|(order, (row, (_, worth)))| List::new(b"k", row, *worth, order).unwrap()).collect();
        let mut top = Top::new(depth);
        search(5, walked, &Mask { allowed: allowed.as_ref(), dead: Some(&dead) }, &mut top).unwrap();
        let mut expected = plain(&lists, allowed.as_ref(), &dead);
        expected.truncate(depth);
        prop_assert_eq!(top.into_sorted(), expected);
    }
}

#[test]
fn blocks_that_cannot_matter_are_not_read() {
    // A common word in long texts, and a rare one.
    let common: Vec<Word> = (0..60_000).map(|low| Word { low, occurrences: 1, words: 900 }).collect();
    let rare: Vec<Word> = (0..20).map(|n| Word { low: n * 3000, occurrences: 4, words: 20 }).collect();
    let (common_row, rare_row) = (encode(&common), encode(&rare));
    let lists = vec![
        List::new(b"k", &common_row, Bm25::new(60_000, 60_000, 6_000_000, 1.0), 0).unwrap(),
        List::new(b"k", &rare_row, Bm25::new(20, 60_000, 6_000_000, 1.0), 1).unwrap(),
    ];
    let mut top = Top::new(3);
    let read = search(0, lists, &Mask { allowed: None, dead: None }, &mut top).unwrap();
    assert_eq!(top.into_sorted().len(), 3);
    assert!(read < 9000, "{read} of 60,020 postings");
}
