use super::*;

#[test]
fn an_error_says_its_kind_then_its_message_and_keeps_its_source() {
    let beneath = std::io::Error::other("disk full");
    let error = Error::unavailable("could not write").with_source(beneath).context("append to stream");
    assert_eq!(error.to_string(), "unavailable: append to stream: could not write");
    assert_eq!(format!("{error:?}"), "unavailable: append to stream: could not write; caused by: disk full");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_corrupt_record_names_its_key() {
    let error = Error::corrupt_at(&[0x03, 0xff], "unknown layout");
    assert_eq!(error.to_string(), "corrupt: corrupt record: unknown layout, key=03ff");
}
