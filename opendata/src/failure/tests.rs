use super::*;

#[test]
fn each_kind_has_a_code_a_name_and_a_line_in_the_help() {
    let mut codes: Vec<u8> = KINDS.iter().map(|(kind, _)| exit_code(*kind)).collect();
    codes.sort_unstable();
    assert_eq!(codes, (3..=12).collect::<Vec<_>>());
    for (kind, name) in KINDS {
        assert_eq!(kind_of_name(name), Some(*kind));
        let line = format!("{:>4}  {}", exit_code(*kind), name.replace('_', " "));
        assert!(EXIT_CODES.contains(&line), "{line}");
    }
}
