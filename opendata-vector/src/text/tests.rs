use proptest::prelude::*;

use super::*;

fn field() -> TextField {
    TextField { stemming: Some(Stemming::English), stop_words: vec!["the".into()] }
}

#[test]
fn words_are_unicode_words_in_lower_case() {
    assert_eq!(
        words(&TextField::default(), "The quick, (brown) fox can't jump 32.3 feet"),
        ["the", "quick", "brown", "fox", "can't", "jump", "32.3", "feet"]
    );
    assert_eq!(words(&field(), "The Foxes were running"), ["fox", "were", "run"]);
    assert_eq!(words(&TextField::default(), "ÄRGER über"), ["ärger", "über"]);
    assert_eq!(words(&TextField::default(), &"é".repeat(300))[0].len(), WORD_LIMIT_BYTES);
}

#[test]
fn golden_bytes() {
    let postings = [Posting { low: 3, occurrences: 1, words: 9 }, Posting { low: 300, occurrences: 2, words: 4 }];
    // Layout, two postings from 3 to 300, a body of 8 bytes, 2 occurrences and 4 words at best.
    let expected = "02 02 03 a902 07 02 04 00 01 09 a902 02 04".replace(' ', "");
    assert_eq!(opendata_core::Hex(&encode(&postings)).to_string(), expected);
    let merged = merge(b"k", &[&encode(&postings[..1]), &encode(&postings[1..])]).unwrap();
    assert_eq!(decode(b"k", &merged).unwrap(), postings);
}

#[test]
fn bm25_by_hand() {
    let worth = Bm25::new(1, 3, 12, 1.0);
    // idf = ln(1 + 2.5 / 1.5), a text of average length with two occurrences: 2 * 2.2 / 3.2
    assert!(
        (worth.of(Posting { low: 1, occurrences: 2, words: 4 }) - (1.0f64 + 2.5 / 1.5).ln() * 2.0 * 2.2 / 3.2).abs()
            < 1e-12
    );
}

proptest! {
    #[test]
    fn postings_round_trip(all in proptest::collection::btree_map(any::<u16>(), (1u64..9, any::<u64>()), 0..50)) {
        let postings: Vec<Posting> =
            all.into_iter().map(|(low, (occurrences, words))| Posting { low, occurrences, words }).collect();
        prop_assert_eq!(decode(b"k", &encode(&postings)).unwrap(), postings);
    }
}
