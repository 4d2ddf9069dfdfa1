use proptest::prelude::*;

use super::table::{CellInfo, Table};
use super::*;

fn frame(bits: u8, ids: &[u64]) -> Frame {
    let mut frame = Frame::default();
    for id in ids {
        let at = *id as f32;
        frame.push(*id, &Code { bits, base: at, slope: at + 0.5, spread: -at, bytes: vec![*id as u8; 3] });
    }
    frame
}

#[test]
fn golden_bytes() {
    let cell = Cell { frames: vec![frame(8, &[1])] };
    let expected = "01 08 01000000 03000000 0100000000000000 0000803f 0000c03f 000080bf 010101";
    assert_eq!(opendata_core::Hex(&cell.encode()).to_string(), expected.replace(' ', ""));
    let cells = [(2, CellInfo { rows: 9, changed: 3 }), (5, CellInfo { rows: 1, changed: 4 })].into();
    let table = Table { epoch: 4, drained_to: 10, next_cell: 6, shape: 3, cells };
    assert_eq!(opendata_core::Hex(&table.encode()).to_string(), "01 04 0a 06 03 02 02 09 03 03 01 04".replace(' ', ""));
    assert_eq!(opendata_core::Hex(&encode_centroid(&[1.0])).to_string(), "010000803f");
}

#[test]
fn frames_are_appended_and_thinned() {
    let (one, two) = (Cell { frames: vec![frame(8, &[1, 2])] }, Cell { frames: vec![frame(4, &[7])] });
    let both = Cell::decode(b"k", &merge(b"k", &[&one.encode(), &two.encode()]).unwrap()).unwrap();
    assert_eq!(both.frames, [frame(8, &[1, 2]), frame(4, &[7])]);
    assert_eq!(both.frames[0].retain(|id| id != 1), frame(8, &[2]));
}

proptest! {
    #[test]
    fn tables_round_trip(
        epoch in any::<u64>(),
        next_cell in any::<u32>(),
        cells in proptest::collection::btree_map(any::<u32>(), (any::<u64>(), any::<u64>()), 0..20),
    ) {
        let cells = cells.into_iter().map(|(cell, (rows, changed))| (cell, CellInfo { rows, changed })).collect();
        let table = Table { epoch, drained_to: epoch / 2, next_cell, shape: 1, cells };
        prop_assert_eq!(Table::decode(b"k", &table.encode()).unwrap(), table);
    }

    #[test]
    fn torn_cells_are_corrupt(ids in proptest::collection::vec(any::<u64>(), 1..9), cut in any::<prop::sample::Index>()) {
        let bytes = Cell { frames: vec![frame(8, &ids)] }.encode();
        prop_assert_eq!(Cell::decode(b"k", &bytes).unwrap(), Cell { frames: vec![frame(8, &ids)] });
        let cut = cut.index(bytes.len());
        prop_assert!(cut == 1 || Cell::decode(b"k", &bytes[..cut]).is_err());
    }
}
