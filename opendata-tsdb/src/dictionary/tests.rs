use super::*;
use crate::labels;

#[test]
fn labels_with_equal_concatenations_are_different_series() {
    let mut dictionary = Dictionary::default();
    let one = dictionary.intern(&labels! { "a" => "bc" });
    let two = dictionary.intern(&labels! { "ab" => "c" });
    assert_ne!(one, two);
    assert_eq!(dictionary.intern(&labels! { "a" => "bc" }), one);
}

#[test]
fn labels_are_known_by_their_place_only_as_long_as_they_are_held() {
    let mut dictionary = Dictionary::default();
    let kept = labels! { "a" => "1" };
    let one = dictionary.intern(&kept);
    assert_eq!(dictionary.intern(&kept.clone()), one);
    // The same labels from elsewhere, held there: now they are known by the new place, and still by what they say.
    let others = [labels! { "a" => "1" }, labels! { "a" => "2" }];
    let held = others.clone();
    assert_eq!(dictionary.intern(&others[0]), one);
    assert_eq!(dictionary.intern(&kept), one);
    let two = dictionary.intern(&others[1]);
    assert_ne!(two, one);
    drop((kept, others, held));
    // Whatever comes to stand where the old ones stood is not taken for them.
    for n in 3..1000 {
        let labels = labels! { "a" => n.to_string() };
        let held = labels.clone();
        let slot = dictionary.intern(&labels);
        assert_eq!(dictionary.labels(slot), Some(&held));
    }
    assert_eq!(dictionary.by_place.len(), dictionary.known.len());
    let moved = dictionary.shrink(|slot| slot == two);
    assert_eq!((dictionary.len(), moved[two as usize]), (1, 0));
    assert_eq!(dictionary.intern(&labels! { "a" => "2" }), 0);
}

#[test]
fn labels_with_equal_hashes_are_different_series() {
    let mut dictionary = Dictionary::default();
    let all = [labels! { "a" => "1" }, labels! { "a" => "2" }, labels! { "a" => "3" }];
    let slots: Vec<_> = all.iter().map(|labels| dictionary.intern_hashed(labels, 7)).collect();
    assert_eq!(slots, [0, 1, 2]);
    for (labels, slot) in all.iter().zip(&slots) {
        assert_eq!(dictionary.intern_hashed(labels, 7), *slot);
    }
    let moved = dictionary.shrink(|slot| slot != 1);
    assert_eq!(moved, [0, NONE, 1]);
    assert_eq!(dictionary.intern_hashed(&all[2], 7), 1);
    assert_eq!(dictionary.intern_hashed(&all[1], 7), 2);
}

#[test]
fn a_loaded_bucket_goes_on_behind_its_last_id() {
    let mut dictionary = Dictionary::default();
    let mut bucket = Bucket::default();
    for (id, metric) in ["x", "y", "x"].into_iter().enumerate() {
        let labels = labels! { "__name__" => metric, "n" => id.to_string() };
        assert_eq!(bucket.assign(dictionary.intern(&labels), &labels), id as u32);
    }
    bucket.publish();
    let mut again = (Dictionary::default(), Bucket::default());
    for id in 0..3 {
        let entry = bucket.series.get(id).unwrap().clone();
        let slot = again.0.intern(&entry.labels);
        again.1.load(slot, entry);
    }
    let labels = labels! { "__name__" => "y", "n" => "new" };
    assert_eq!(again.1.assign(again.0.intern(&labels), &labels), 3);
    assert_eq!(again.1.fresh[0].metric, 1);
}

#[test]
fn a_shared_list_does_not_change() {
    let mut series = SeriesById::default();
    let entry = |id: u32| Entry { metric: id, labels: Labels::empty() };
    series.extend((0..130).map(entry));
    let shared = series.clone();
    series.extend((130..400).map(entry));
    assert_eq!((shared.len(), series.len()), (130, 400));
    assert_eq!(shared.get(130), None);
    assert_eq!(series.get(399).unwrap().metric, 399);
    assert_eq!(shared.get(129).unwrap().metric, 129);
}
