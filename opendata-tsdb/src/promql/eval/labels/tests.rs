use super::*;

#[test]
fn numbers_in_texts_count_as_numbers() {
    let mut names = ["a10", "a2", "b1", "a", "a2b", "a02", "10", "9", ""];
    names.sort_by(|a, b| natural(a, b));
    assert_eq!(names, ["", "9", "10", "a", "a2", "a2b", "a02", "a10", "b1"]);
}

#[test]
fn replacements_name_groups_by_number_and_name() {
    let regex = whole_value_regex("(?P<host>[^:]+):(.*)").unwrap();
    assert_eq!(expand(&regex, "a.b:80", "${host}-$2-$$-$9").as_deref(), Some("a.b-80-$-"));
    assert_eq!(expand(&regex, "a.b", "$1"), None);
}
