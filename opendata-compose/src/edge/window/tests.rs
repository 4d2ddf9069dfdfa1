use super::*;
use crate::edge::spec::Window;

fn labels(text: &str) -> Labels {
    Labels::last_wins([("__name__", "m"), ("l", text)])
}

#[test]
fn windows_read_as_they_were_written_and_stand_in_order() {
    let id = (-60_000, 3, labels("a\0b"));
    let key = encode_key(9, &id);
    assert_eq!(decode_key(&key).unwrap(), id);
    assert_eq!(
        opendata_core::Hex(&key).to_string(),
        "01000000097fffffffffff15a000035f5f6e616d655f5f00006d00006c00006100ff620000"
    );
    assert!(encode_key(9, &id) < encode_key(9, &(0, 0, Labels::empty())));
    for aggregate in [Aggregate::Sum, Aggregate::Count, Aggregate::Min, Aggregate::Max] {
        let mut slot = Slot::new(aggregate, 0.1);
        slot.add(1e100);
        let bytes = slot.encode();
        assert_eq!(Slot::decode(&bytes).unwrap(), slot);
        for end in 0..bytes.len() {
            assert!(Slot::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn a_sum_is_the_same_in_any_order() {
    let values = [1e16, 1.0, -1e16, 0.1, 0.2, 0.3, 1e-30, -0.6, 3.0];
    let sum = |values: &mut dyn Iterator<Item = f64>| {
        let mut sum = ExactSum::default();
        values.for_each(|value| sum.add(value));
        sum.value().to_bits()
    };
    let forward = sum(&mut values.into_iter());
    assert_eq!(forward, sum(&mut values.into_iter().rev()));
    for turn in 0..values.len() {
        assert_eq!(forward, sum(&mut values.into_iter().cycle().skip(turn).take(values.len())));
    }
    assert_eq!(f64::from_bits(forward), 4.0);
}

fn run(window: Window, lateness: u64, events: &[(i64, f64)], watermarks: &[(usize, i64)]) -> (Vec<String>, usize) {
    let mut windows = Windows::new(&[Windowed { aggregate: Aggregate::Sum, window }], lateness, 100);
    let (mut results, mut late) = (Vec::new(), 0);
    let mut watermark = Timestamp(i64::MIN);
    for (index, (at, value)) in events.iter().enumerate() {
        if windows.observe(0, &labels("x"), Timestamp(*at), *value, watermark).unwrap() == Observed::Late {
            late += 1;
        }
        for (_, to) in watermarks.iter().filter(|(after, _)| *after == index) {
            windows.advance(watermark, Timestamp(*to));
            watermark = Timestamp(*to);
        }
        while windows.is_due(watermark) {
            let mut outputs = Vec::new();
            windows.flush(0, watermark, &mut outputs);
            for output in outputs {
                let Output::Sample(_, at, value) = output else { panic!("no sample") };
                results.push(format!("{at}={value}"));
            }
        }
    }
    (results, late)
}

#[test]
fn tumbling_windows_close_with_the_watermark_are_corrected_and_go() {
    let events = [(1, 1.0), (9, 2.0), (11, 4.0), (5, 8.0), (6, 16.0)];
    let (results, late) = run(Window::tumbling(10), 5, &events, &[(2, 10), (3, 15)]);
    assert_eq!((results, late), (vec!["10=3".to_owned(), "10=11".to_owned()], 1));
}

#[test]
fn sliding_windows_overlap_also_before_the_epoch() {
    let (results, late) = run(Window::sliding(10, 5), 0, &[(-1, 1.0), (4, 2.0)], &[(1, 100)]);
    assert_eq!((results, late), (vec!["0=1".to_owned(), "5=3".to_owned(), "10=2".to_owned()], 0));
}

#[test]
fn more_windows_than_allowed_are_an_error() {
    let mut windows = Windows::new(&[Windowed { aggregate: Aggregate::Count, window: Window::tumbling(1) }], 0, 2);
    let mut observe = |at| windows.observe(0, &labels("x"), Timestamp(at), 1.0, Timestamp(i64::MIN)).map(|_| ());
    observe(1).unwrap();
    observe(2).unwrap();
    assert_eq!(observe(3).unwrap_err().kind(), opendata_core::ErrorKind::Backpressure);
}
