use proptest::prelude::*;

use super::*;

fn word() -> impl Strategy<Value = (u8, Option<Vec<u8>>)> {
    (0u8..20, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..5)))
}

#[test]
fn golden_bytes() {
    let page = encode([(1, Some(&b"ab"[..])), (2, None), (9, Some(b""))]);
    assert_eq!(opendata_core::Hex(&page).to_string(), "010103616202000901");
    assert_eq!(find(b"k", &page, 1).unwrap(), Some(&b"ab"[..]));
    assert_eq!(find(b"k", &page, 9).unwrap(), Some(&b""[..]));
    assert_eq!((find(b"k", &page, 0).unwrap(), find(b"k", &page, 2).unwrap()), (None, None));
    assert_eq!(split(35, 16), (2, 3));
}

#[test]
fn what_is_no_page_is_corrupt() {
    for bytes in [&b""[..], b"\x02", b"\x01\x05", b"\x01\x05\x03a", b"\x01\x05\x01\x05\x01", b"\x01\x05\x01\x04\x01"] {
        assert!(merge(b"k", &[bytes]).is_err(), "{bytes:x?}");
    }
}

proptest! {
    /// Whatever is merged first, the last word on an id counts.
    #[test]
    fn the_last_word_counts(words in proptest::collection::vec(word(), 0..30), cut in any::<prop::sample::Index>()) {
        let mut last = BTreeMap::new();
        let pages: Vec<Bytes> = words.iter().map(|(low, entry)| encode([(*low, entry.as_ref())])).collect();
        words.iter().for_each(|(low, entry)| _ = last.insert(*low, entry.clone()));
        let all: Vec<&[u8]> = pages.iter().map(|page| &**page).collect();
        let (first, rest) = all.split_at(cut.index(all.len() + 1));
        let (first, rest) = (merge(b"k", first).unwrap(), merge(b"k", rest).unwrap());
        let merged = merge(b"k", &[&first, &rest]).unwrap();
        prop_assert_eq!(&merged, &merge(b"k", &all).unwrap());
        for low in 0..20 {
            let found = find(b"k", &merged, low).unwrap().map(<[u8]>::to_vec);
            prop_assert_eq!(found, last.get(&low).cloned().flatten());
        }
    }
}
