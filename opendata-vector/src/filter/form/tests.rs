use proptest::prelude::*;
use serde_json::json;

use crate::filter::Filter;
use crate::filter::parse::tests::filters;

#[test]
fn objects_and_text_say_the_same() {
    for (object, text) in [
        (json!({"attribute": "year", "eq": 1999}), "year = 1999"),
        (json!({"attribute": "year", "ge": 1990, "lt": 2000}), "year < 2000 and year >= 1990"),
        (json!({"attribute": "year", "range": [1990, 2000]}), "year in 1990..2000"),
        (json!({"and": ["a = 1", {"not": {"attribute": "b", "exists": true}}]}), "a = 1 and not b exists"),
        (json!({"attribute": "b", "exists": false}), "not b exists"),
        (
            json!({"or": [{"attribute": "s", "prefix": "x"}, {"attribute": "t", "contains": 1.5}]}),
            "s prefix 'x' or t contains 1.5",
        ),
    ] {
        let read: Filter = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(read, text.parse().unwrap(), "{object}");
    }
    for (wrong, expected) in [
        (json!({}), "one of `and`, `or`, `not` and `attribute`"),
        (json!({"and": [], "attribute": "a", "eq": 1}), "one of `and`, `or`, `not` and `attribute`"),
        (json!({"attribute": "a"}), "asks nothing of its attribute, attribute=a"),
        (json!({"attribute": "a", "equals": 1}), "unknown field `equals`"),
        (json!({"attribute": "a", "eq": [1]}), "expected a string, a number, true or false"),
        (json!("a ="), "in the filter, at character 4"),
        (json!(5), "a filter, as text or as an object"),
    ] {
        let error = serde_json::from_value::<Filter>(wrong.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{wrong}: {error}");
    }
}

proptest! {
    #[test]
    fn a_filter_reads_as_it_was_written(filter in filters()) {
        let text = serde_json::to_string(&filter).unwrap();
        prop_assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
    }
}
