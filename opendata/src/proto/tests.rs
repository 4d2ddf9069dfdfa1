use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_is_written_is_read(number in 1_u32..1000, value: u64, signed: i64, text: String, double: f64) {
        let mut out = Vec::new();
        put_bytes(&mut out, number, text.as_bytes());
        put_unsigned(&mut out, number, value);
        put_unsigned(&mut out, number, zigzag(signed));
        put_double(&mut out, number, double);
        let mut message = Message::new(&out);
        prop_assert_eq!(message.next().unwrap().map(|(n, v)| (n, v.text().unwrap().to_owned())), Some((number, text)));
        if value != 0 {
            prop_assert_eq!(message.next(), Ok(Some((number, Value::Varint(value)))));
        }
        if signed != 0 {
            prop_assert_eq!(message.next().unwrap().map(|(_, v)| v.zigzag()), Some(Ok(signed)));
        }
        if double.to_bits() != 0 {
            prop_assert_eq!(message.next().unwrap().map(|(_, v)| v.double().unwrap().to_bits()), Some(double.to_bits()));
        }
        prop_assert_eq!(message.next(), Ok(None));
    }

    #[test]
    fn labels_have_their_length_in_front(name in ".{0,200}", value in ".{0,200}") {
        let mut out = Vec::new();
        put_label(&mut out, 1, &name, &value);
        let mut message = Message::new(&out);
        let (_, label) = message.next().unwrap().unwrap();
        let mut label = Message::new(label.bytes().unwrap());
        prop_assert_eq!(label.next().unwrap().map(|(n, v)| (n, v.text().unwrap())), Some((1, name.as_str())));
        prop_assert_eq!(label.next().unwrap().map(|(n, v)| (n, v.text().unwrap())), Some((2, value.as_str())));
        prop_assert_eq!((label.next(), message.next()), (Ok(None), Ok(None)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
        let mut message = Message::new(&bytes);
        while let Ok(Some((_, value))) = message.next() {
            let _ = repeated(value, |_| ());
            let _ = repeated_doubles(value, &mut Vec::new());
        }
    }
}

#[test]
fn bytes_are_those_of_the_specification() {
    let mut out = Vec::new();
    put_unsigned(&mut out, 1, 150);
    put_bytes(&mut out, 2, b"testing");
    assert_eq!(out, b"\x08\x96\x01\x12\x07testing");
    assert_eq!([0, -1, 1, -2, i64::MAX, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX - 1, u64::MAX]);
    let mut packed = Vec::new();
    repeated(Value::Bytes(b"\x03\x8e\x02\x9e\xa7\x05"), |number| packed.push(number)).unwrap();
    assert_eq!(packed, [3, 270, 86942]);
}
