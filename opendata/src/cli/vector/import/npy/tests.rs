use std::io::Cursor;

use super::*;

fn file(header: &str, numbers: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(numbers);
    bytes
}

#[test]
fn matrices_are_read_row_by_row() {
    let numbers: Vec<u8> = [1f32, 2.0, 3.0, -4.5].iter().flat_map(|number| number.to_le_bytes()).collect();
    let bytes = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }          \n", &numbers);
    let mut npy = Npy::new(Cursor::new(&bytes)).unwrap();
    assert_eq!((npy.rows, npy.columns, npy.row_bytes()), (2, 2, 8));
    assert_eq!(npy.next().unwrap().unwrap(), [1.0, 2.0]);
    assert_eq!(npy.next().unwrap().unwrap(), [3.0, -4.5]);
    assert!(npy.next().unwrap().is_none());

    let bytes = file("{'shape': (3,), 'fortran_order': False, 'descr': '|i1'}", &[1, 255, 128]);
    assert_eq!(Npy::new(Cursor::new(&bytes)).unwrap().next().unwrap().unwrap(), [1.0, -1.0, -128.0]);
}

#[test]
fn what_is_no_matrix_is_refused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}";
    for (bytes, expected) in [
        (b"PK".to_vec(), "ends too early"),
        (b"PKPKPKPKPKPK".to_vec(), "not a NumPy file"),
        (file(&good.replace("<f4", "<c8"), &[]), "not f2, f4, f8"),
        (file(&good.replace("False", "Perhaps"), &[]), "does not say in which order"),
        (file(&good.replace("(2, 2)", "(2, 2, 2)"), &[]), "not a matrix"),
        (file(&good.replace("(2, 2)", "(2, 0)"), &[]), "rows of this size"),
        (file(&good.replace("(2, 2)", "(2, x)"), &[]), "not a matrix"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "too long"),
    ] {
        let error = Npy::new(Cursor::new(&bytes)).err().unwrap();
        assert!(error.message().contains(expected), "{error}");
    }
    let short = file(good, &[0; 12]);
    let mut npy = Npy::new(Cursor::new(&short)).unwrap();
    npy.next().unwrap();
    assert!(npy.next().unwrap_err().message().contains("ends too early"));
}

#[test]
fn columns_one_after_another_are_read_as_rows_too() {
    let (rows, columns) = (BLOCK_ROWS as usize * 2 + 5, 3);
    let at = |row: usize, column: usize| (row * 10 + column) as f32;
    let numbers = (0..columns).flat_map(|column| (0..rows).map(move |row| at(row, column)));
    let numbers: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    let bytes = file(&format!("{{'descr': '<f4', 'fortran_order': True, 'shape': ({rows}, {columns}), }}\n"), &numbers);
    let mut npy = Npy::new(Cursor::new(&bytes)).unwrap();
    for row in 0..rows {
        assert_eq!(npy.next().unwrap().unwrap(), [at(row, 0), at(row, 1), at(row, 2)]);
    }
    assert!(npy.next().unwrap().is_none());
    let mut npy = Npy::new(Cursor::new(&bytes[..bytes.len() - 1])).unwrap();
    assert!((0..rows).any(|_| npy.next().is_err()));
}
