use super::*;

fn uniform() -> Calibration {
    // Neighbour number n of every query is found after 10 n candidates.
    let needed = DEPTHS.map(|depth| vec![(1..=depth as u64).map(|neighbour| neighbour * 10).collect(); 3]);
    Calibration::measured(20_000, &needed)
}

#[test]
fn golden_bytes_and_torn_ones() {
    let calibration = Calibration { rows: 300, candidates: [[1, 2, 3, 4, 5, 6, 7]; 4] };
    let bytes = calibration.encode();
    assert_eq!(opendata_core::Hex(&bytes).to_string(), format!("01ac02{}", "01020304050607".repeat(4)));
    assert_eq!(Calibration::decode(b"k", &bytes).unwrap(), calibration);
    for cut in 0..bytes.len() {
        assert!(Calibration::decode(b"k", &bytes[..cut]).is_err());
    }
}

#[test]
fn more_recall_depth_and_rows_ask_for_more_candidates() {
    let calibration = uniform();
    let at = |depth: f64, recall: f64| calibration.candidates(20_000, depth, recall);
    assert!((900..=980).contains(&at(100.0, 0.9)), "{}", at(100.0, 0.9));
    let recalls = [0.5, 0.8, 0.85, 0.9, 0.96, 0.99, 1.0];
    assert!(recalls.windows(2).all(|pair| at(100.0, pair[0]) <= at(100.0, pair[1])));
    let depths = [0.1, 1.0, 5.0, 10.0, 80.0, 1000.0, 1900.0];
    assert!(depths.windows(2).all(|pair| at(pair[0], 0.95) <= at(pair[1], 0.95)));
    assert!(calibration.candidates(40_000, 10.0, 0.95) > at(10.0, 0.95));
    assert_eq!(at(10.0, 1.0), 20_000, "certainty asks for everything");
    assert_eq!(at(1e9, 0.95), 20_000, "there is no more than everything");
}

#[test]
fn nothing_measured_asks_for_everything() {
    let calibration = Calibration::measured(50, &Default::default());
    assert_eq!(calibration.candidates(50, 10.0, 0.8), 50);
}

/// What is measured of `count` vectors, of which every tenth is hard: half of its neighbours lie ten times as far.
fn mixed(count: u64) -> Calibration {
    let of = |vector: u64, depth: usize| {
        let far = |at: u64| if vector.is_multiple_of(10) && at.is_multiple_of(2) { 10 } else { 1 };
        (0..depth as u64).map(|at| (at + 1 + vector % 7) * far(at)).collect::<Vec<u64>>()
    };
    let needed = DEPTHS.map(|depth| (0..count).map(|vector| of(vector, depth)).collect());
    Calibration::measured(100_000, &needed)
}

#[test]
fn what_few_vectors_say_is_trusted_less() {
    let (few, many) = (mixed(20), mixed(2_000));
    let at = |of: &Calibration| of.candidates(100_000, 10.0, 0.95);
    assert!(at(&few) > at(&many), "{few:?} {many:?}");
    // Of all of them, nineteen of twenty neighbours lie no further.
    assert!((14..=60).contains(&at(&many)), "{many:?}");
}
