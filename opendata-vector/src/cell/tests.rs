use std::sync::Arc;

use proptest::prelude::*;

use super::table::{CellInfo, Clustered, Rebuild, Table};
use super::*;

fn frame(bits: u8, ids: &[u64]) -> Frame {
    let mut frame = Frame::default();
    for id in ids {
        let at = *id as f32;
        frame.push(*id, &Code { bits, base: at, slope: at + 0.5, spread: at, bytes: vec![*id as u8; 3] });
    }
    frame
}

#[test]
fn golden_bytes() {
    let cell = Cell::of(frame(8, &[1, 3]));
    let expected = "02 08 02000000 03000000 02 04 0000803f 00004040 0000c03f 00006040 803f 4040 010101 030303";
    assert_eq!(opendata_core::Hex(&cell.encode()).to_string(), expected.replace(' ', ""));
    let cells = [(2, CellInfo { rows: 9, changed: 3 }), (5, CellInfo { rows: 1, changed: 4 })].into();
    let clustered = Clustered { rows: 7, drained_to: 8 };
    let mut table = Table { epoch: 4, drained_to: 10, next_cell: 6, shape: 3, clustered, cells, ..Table::default() };
    let expected = "02 04 0a 06 03 07 08 02 02 09 03 03 01 04 00";
    assert_eq!(opendata_core::Hex(&table.encode()).to_string(), expected.replace(' ', ""));
    table.rebuild = Some(Rebuild { fed_to: 9, cells: [(6, CellInfo { rows: 2, changed: 5 })].into() });
    let expected = "02 04 0a 06 03 07 08 02 02 09 03 03 01 04 01 09 01 06 02 05";
    assert_eq!(opendata_core::Hex(&table.encode()).to_string(), expected.replace(' ', ""));
    assert_eq!(opendata_core::Hex(&encode_centroid(&[1.0])).to_string(), "010000803f");
}

#[test]
fn frames_are_appended_and_thinned() {
    let (one, two) = (Cell::of(frame(8, &[1, 2])), Cell::of(frame(4, &[7])));
    let merged = merge(b"k", &[&one.encode(), &Cell::of(frame(8, &[5])).encode(), &two.encode()]).unwrap();
    let all = Cell::decode(b"k", &merged).unwrap();
    assert_eq!(all.frames, [frame(8, &[1, 2, 5]), frame(4, &[7])]);
    assert_eq!(all.frames[0].retain(|id| id != 1), frame(8, &[2, 5]));
    let mut pushed = one;
    pushed.push(frame(8, &[5]));
    pushed.push(frame(4, &[7]));
    assert_eq!(pushed, all);
}

#[test]
fn spreads_are_never_stored_too_small() {
    for spread in [0.0, 1e-30, 1.0, 1.000_001, 3.7, 1e30, f32::INFINITY] {
        let code = Code { bits: 8, spread, bytes: vec![0], ..Code::default() };
        let mut frame = Frame::default();
        frame.push(1, &code);
        let stored = Cell::decode(b"k", &Cell::of(frame).encode()).unwrap().frames[0].spread[0];
        assert!(stored >= spread && stored <= spread * 1.01, "{spread} {stored}");
    }
}

proptest! {
    #[test]
    fn tables_round_trip(
        epoch in any::<u64>(),
        next_cell in any::<u32>(),
        cells in proptest::collection::btree_map(any::<u32>(), (any::<u64>(), any::<u64>()), 0..20),
        is_rebuilt in any::<bool>(),
    ) {
        let cells: std::collections::BTreeMap<_, _> =
            cells.into_iter().map(|(cell, (rows, changed))| (cell, CellInfo { rows, changed })).collect();
        let rebuild = is_rebuilt.then(|| Rebuild { fed_to: epoch / 3, cells: cells.clone() });
        let clustered = Clustered { rows: epoch, drained_to: epoch / 4 };
        let table = Table { epoch, drained_to: epoch / 2, next_cell, shape: 1, clustered, cells, rebuild, ..Table::default() };
        prop_assert_eq!(Table::decode(b"k", &table.encode()).unwrap(), table);
    }

    #[test]
    fn torn_cells_are_corrupt(ids in proptest::collection::vec(any::<u64>(), 1..9), cut in any::<prop::sample::Index>()) {
        let mut frame = frame(8, &ids);
        frame.spread.iter_mut().for_each(|spread| *spread = f32::from_bits(spread.to_bits() & 0xffff_0000));
        let bytes = Cell::of(frame.clone()).encode();
        prop_assert_eq!(Cell::decode(b"k", &bytes).unwrap(), Cell::of(frame));
        let cut = cut.index(bytes.len());
        prop_assert!(cut == 1 || Cell::decode(b"k", &bytes[..cut]).is_err());
    }
}

#[test]
fn a_table_that_changes_forgets_what_searches_knew_of_its_cells() {
    let mut table = Table::default();
    table.cells.insert(7, CellInfo { rows: 3, changed: 1 });
    let cell = Arc::new(Cell::default());
    let place = table.places().at(0).unwrap();
    assert!(place.held().is_none());
    place.hold(&cell);
    assert!(Arc::ptr_eq(&place.held().unwrap(), &cell));
    // A copy that is changed is another table.
    let mut other = table.clone();
    other.next_epoch();
    other.cells.insert(9, CellInfo { rows: 2, changed: 2 });
    assert_eq!((other.places().rows, other.places().at(1).unwrap().cell), (5, 9));
    assert!(other.places().at(0).unwrap().held().is_none());
    // Where the cache lets go of a cell, nothing else keeps it.
    drop(cell);
    assert!(table.places().at(0).unwrap().held().is_none());
}
