use proptest::prelude::*;

use super::*;

fn paths() -> Vec<Vec<String>> {
    let path = |text: &str| text.split('.').map(str::to_owned).collect();
    ["a", "b.a", "b.b", "b", "c.a.b", "c.a.a", "d"].into_iter().map(path).collect()
}

/// What the paths give in the whole document.
fn in_whole(payload: &str) -> Result<Vec<Value>, ()> {
    let whole: Value = serde_json::from_str(payload).map_err(|_| ())?;
    let follow = |path: Vec<String>| {
        path.iter().try_fold(&whole, |value, field| value.get(field)).cloned().unwrap_or(Value::Null)
    };
    Ok(paths().into_iter().map(follow).collect())
}

fn read(payload: &str) -> Result<Vec<Value>, ()> {
    let mut all = Paths::default();
    let slots: Vec<usize> = paths().iter().map(|path| all.add(path)).collect();
    let mut found = Vec::new();
    all.read(payload.as_bytes(), &mut found).map_err(|_| ())?;
    Ok(slots.into_iter().map(|slot| found[slot].to_value()).collect())
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|is| is.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e300..1e300_f64).prop_map(|number| Value::from(number).to_string()),
        "[a-c\\\\\"é\n]{0,4}".prop_map(|text| Value::from(text).to_string()),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", "))),
            // Names repeat: the last one counts.
            proptest::collection::vec(("[a-e]", inner), 0..6).prop_map(|all| {
                let fields: Vec<_> = all.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn fields_are_what_they_are_in_the_whole_document(payload in json()) {
        prop_assert_eq!(read(&payload), in_whole(&payload));
    }

    #[test]
    fn what_ends_early_or_goes_on_is_refused(payload in json(), cut in 0_usize..64) {
        let cut = (0..payload.len().min(cut)).rev().find(|at| payload.is_char_boundary(*at)).unwrap_or(0);
        for text in [&payload[..cut], &format!("{payload} x")] {
            prop_assert_eq!(read(text), in_whole(text));
        }
    }
}
