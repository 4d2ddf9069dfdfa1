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
    let mut npy = Npy::new(&bytes[..]).unwrap();
    assert_eq!((npy.rows, npy.columns, npy.row_bytes()), (2, 2, 8));
    assert_eq!(npy.next().unwrap().unwrap(), [1.0, 2.0]);
    assert_eq!(npy.next().unwrap().unwrap(), [3.0, -4.5]);
    assert!(npy.next().unwrap().is_none());

    let bytes = file("{'shape': (3,), 'fortran_order': False, 'descr': '|i1'}", &[1, 255, 128]);
    assert_eq!(Npy::new(&bytes[..]).unwrap().next().unwrap().unwrap(), [1.0, -1.0, -128.0]);
}

#[test]
fn what_is_no_matrix_is_refused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}";
    for (bytes, expected) in [
        (b"PK".to_vec(), "ends too early"),
        (b"PKPKPKPKPKPK".to_vec(), "not a NumPy file"),
        (file(&good.replace("<f4", "<c8"), &[]), "not f2, f4, f8"),
        (file(&good.replace("False", "True"), &[]), "not stored row by row"),
        (file(&good.replace("(2, 2)", "(2, 2, 2)"), &[]), "not a matrix"),
        (file(&good.replace("(2, 2)", "(2, 0)"), &[]), "rows of this size"),
        (file(&good.replace("(2, 2)", "(2, x)"), &[]), "not a matrix"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "too long"),
    ] {
        let error = Npy::new(&bytes[..]).err().unwrap();
        assert!(error.message().contains(expected), "{error}");
    }
    let short = file(good, &[0; 12]);
    let mut npy = Npy::new(&short[..]).unwrap();
    npy.next().unwrap();
    assert!(npy.next().unwrap_err().message().contains("ends too early"));
}
