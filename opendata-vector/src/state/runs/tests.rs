use super::*;

#[test]
fn runs_of_cells_are_apart_where_gaps_are_wide_or_they_would_be_long() {
    let wanted = |cell: &u32, size| Wanted { cell: *cell, size, between: 0 };
    let of = |cells: &[u32], size| runs(&cells.iter().map(|cell| wanted(cell, size)).collect::<Vec<_>>());
    assert_eq!(of(&[], 1), []);
    assert_eq!(of(&[3], RUN_BYTES * 2), [(3, 3)]);
    // Two that are left out cost less than another request.
    assert_eq!(of(&[1, 2, 4, 8, 9], 1), [(1, 4), (8, 9)]);
    assert_eq!(of(&[1, 2, 3, 4, 5], RUN_BYTES / 2), [(1, 2), (3, 4), (5, 5)]);
    // Of many gaps the widest count.
    let cells: Vec<u32> = (0..40).map(|n| n * 10 + if n >= 20 { 50 } else { 0 }).collect();
    let found = of(&cells, 1);
    assert_eq!(found.len(), 16);
    assert!(found.iter().any(|(_, last)| *last == 190), "{found:?}");
    assert_eq!((found[0].0, found[15].1), (0, 440));
    // What lies between is read along.
    let long = [Wanted { cell: 1, size: 1, between: 0 }, Wanted { cell: 3, size: 1, between: RUN_BYTES - 1 }];
    assert_eq!(runs(&long), [(1, 1), (3, 3)]);
    assert_eq!(runs(&long.map(|wanted| Wanted { between: 1, ..wanted })), [(1, 3)]);
}
