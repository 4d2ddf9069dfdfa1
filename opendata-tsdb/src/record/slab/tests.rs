use proptest::prelude::*;

use super::*;

fn rows(samples: &[(u32, i64, f64)]) -> Rows {
    let mut rows = Rows::default();
    samples.iter().for_each(|(id, time, value)| rows.push(*id, *time, *value));
    rows
}

#[test]
fn golden_bytes() {
    let slabs = encode(7, &rows(&[(5, 1000, 1.0), (6, 1000, 2.0), (7, 1000, 4.0)]));
    let golden: &[u8] = &[
        1, 14, 3, // layout, written, count
        10, 1, 0, 2, // ids: 5, then deltas of 1
        0xd0, 0x0f, 0, 0, 0, // times: 1000, then offsets of 0
        1, 0, 0, 2, 0, 2, 2, 0b1000, // values: decimals from 1, offsets 1 and 3 as 0 and 2 above 1
    ];
    assert_eq!(slabs, [golden]);
}

#[test]
fn golden_bytes_with_start_times() {
    let mut rows = rows(&[(5, 1000, 1.0), (6, 1000, 2.0), (7, 1000, 4.0)]);
    rows.samples.starts = vec![0, 900];
    let golden: &[u8] = &[
        3, 14, 3, // layout, written, count
        10, 1, 0, 2, // ids: 5, then deltas of 1
        0xd0, 0x0f, 0, 0, 0, // times: 1000, then offsets of 0
        1, 0, 0, 2, 0, 2, 2, 0b1000, // values
        0,      // no histograms
        1, 2, 0, 0, 0, 0x88, 0x0e, 0, 0, 0, // one start: at place 1, 900
    ];
    assert_eq!(encode(7, &rows), [golden]);
}

#[test]
fn a_large_group_is_several_slabs() {
    let mut many = Rows::default();
    (0..SLAB_SAMPLES + 5).for_each(|i| many.push(i as u32 % 1000, i as i64, i as f64));
    let slabs = encode(0, &many);
    assert_eq!(slabs.len(), 2);
    let mut back = Rows::default();
    for slab in &slabs {
        let head = decode_into(slab, &mut Scratch::default(), &mut back).unwrap();
        assert_eq!(head, decode_head(slab).unwrap());
    }
    assert_eq!(back, many);
}

proptest! {
    #[test]
    fn slabs_come_back_bit_for_bit(samples in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 1..100), written in any::<i64>()) {
        let samples: Vec<_> = samples.into_iter().map(|(id, time, bits)| (id, time, f64::from_bits(bits))).collect();
        let slabs = encode(written, &rows(&samples));
        let mut back = Rows::default();
        let head = decode_into(&slabs[0], &mut Scratch::default(), &mut back).unwrap();
        prop_assert_eq!(head, Head { written_ms: written, count: samples.len() });
        let bits = |samples: Vec<(u32, i64, f64)>| samples.into_iter().map(|(id, time, value)| (id, time, value.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(back.iter().collect()), bits(samples));
    }

    #[test]
    fn start_times_come_back(
        starts in prop::collection::vec(prop_oneof![Just(0), Just(100), any::<i64>()], 1..50),
        before in 0usize..3,
    ) {
        let mut all = rows(&vec![(1, 1, 1.0); before]);
        for (id, start) in (0..).zip(&starts) {
            all.push(id, 7, 1.0);
            all.start_last(*start);
        }
        let mut back = rows(&vec![(1, 1, 1.0); before]);
        for slab in encode(0, &all) {
            decode_into(&slab, &mut Scratch::default(), &mut back).unwrap();
        }
        let of = |rows: &Rows, from| (from..rows.len()).map(|at| rows.samples.as_samples().start(at)).collect::<Vec<_>>();
        prop_assert_eq!(of(&back, 2 * before), starts.clone());
        prop_assert_eq!(of(&all, before), starts);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        bytes.insert(0, FLOATS + u8::try_from(bytes.len() % 3).unwrap());
        let _ = decode_into(&bytes, &mut Scratch::default(), &mut Rows::default());
    }
}
