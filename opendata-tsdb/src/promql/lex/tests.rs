use super::*;

fn kinds(source: &str) -> Vec<TokenKind> {
    let mut kinds: Vec<TokenKind> = tokens(source).unwrap().into_iter().map(|token| token.kind).collect();
    assert_eq!(kinds.pop(), Some(TokenKind::End));
    kinds
}

#[test]
fn numbers_and_durations_are_told_apart() {
    use TokenKind::{Duration, Number};
    for (source, kind) in [
        ("5", Number(5.0)),
        ("5m", Duration(300_000)),
        ("1e3", Number(1000.0)),
        ("1E-3", Number(0.001)),
        (".5", Number(0.5)),
        ("0x1F", Number(31.0)),
        ("0xffff_ffff", Number(4_294_967_295.0)),
        ("1_000.5", Number(1000.5)),
        ("1h5ms", Duration(3_600_005)),
        ("iNf", Number(f64::INFINITY)),
    ] {
        assert_eq!(kinds(source), [kind], "{source}");
    }
}

#[test]
fn colons_belong_to_names_except_in_brackets() {
    assert_eq!(kinds("a:b[5m:1m]").len(), 6);
    assert_eq!(kinds("job:rate:sum"), [TokenKind::Word("job:rate:sum".to_owned())]);
}

#[test]
fn strings_have_gos_escapes() {
    for (source, text) in [
        (r#""a\"b\n\x41\101é""#, "a\"b\nAA\u{e9}"),
        (r"'it''s'", "it"),
        (r"`raw\n`", r"raw\n"),
        ("'\u{1F600}'", "\u{1F600}"),
        (r#""\xc3\xa9""#, "\u{e9}"),
    ] {
        assert_eq!(kinds(source).first(), Some(&TokenKind::Text(text.to_owned())), "{source}");
    }
}

#[test]
fn comments_and_blanks_are_left_out() {
    assert_eq!(kinds("1 # one\n + # and\n 2 #").len(), 3);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (source, message) in [
        ("1 +\n  $", "query does not parse: unexpected character '$', at=2:3"),
        ("'abc", "query does not parse: a string does not end, at=1:1"),
        ("é", "query does not parse: unexpected character 'é', at=1:1"),
        (r"'é\q'", "query does not parse: unknown escape in a string, at=1:3"),
        (r"'\xff'", "query does not parse: a string is not UTF-8, at=1:1"),
        ("0x", "query does not parse: not a hexadecimal number, text=0x, at=1:1"),
        (r"'\", "query does not parse: unknown escape in a string, at=1:2"),
    ] {
        assert_eq!(tokens(source).unwrap_err().message(), message, "{source}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "\\PC{0,40}") {
        let _ = tokens(&source);
    }
}
