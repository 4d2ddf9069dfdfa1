use super::*;

#[test]
fn columns_line_up_and_nothing_steers_the_terminal() {
    let mut table = Table::new([("position", Align::Right), ("stream", Align::Left), ("payload", Align::Left)]);
    table.row(["7".into(), "träge".into(), "a\nb\u{1b}[31m".into()]);
    table.row(["123456789".into(), "日本".into(), String::new()]);
    let mut text = Vec::new();
    table.write(&mut text).unwrap();
    let expected = " position  stream  payload\n        7  träge   a\\nb\\u{1b}[31m\n123456789  日本\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn a_table_goes_on_under_one_header() {
    let mut table = Table::new([("a", Align::Left)]);
    let mut text = Vec::new();
    table.row(["1".into()]);
    assert_eq!(table.waiting(), 1);
    table.write_rows(&mut text).unwrap();
    table.row(["2".into()]);
    table.write_rows(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "a\n1\n2\n");
}
