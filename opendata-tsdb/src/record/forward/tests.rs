use proptest::prelude::*;

use super::*;
use crate::labels;

fn entry(metric: u32, labels: Labels) -> Entry {
    Entry { metric, labels }
}

#[test]
fn golden_bytes() {
    let series = [
        (256, entry(256, labels! { "__name__" => "up", "job" => "api" })),
        (257, entry(256, labels! { "__name__" => "up", "job" => "app" })),
        (260, entry(3, labels! { "a" => "b" })),
    ];
    let golden = [
        &[1, 0, 2, 0, 2, 2, 8][..],
        b"__name__",
        &[2],
        b"up",
        &[2, 3],
        b"job",
        &[3],
        b"api",
        &[1, 2, 0, 1, 2, 1],
        b"p",
        &[4, 1, 0x81, 2, 1, 2, 1],
        b"a",
        &[1],
        b"b",
    ]
    .concat();
    let value = encode(series.iter().map(|(id, entry)| (*id, entry)));
    assert_eq!(value.as_ref(), golden);
    assert_eq!(decode(2, &value).unwrap(), series);
}

#[test]
fn a_stable_metric_costs_a_few_bytes_a_series() {
    let series: Vec<_> = (0..128u32).map(|id| {
        let cpu = (id / 8).to_string();
        let mode = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"][id as usize % 8];
        (id, entry(0, labels! { "__name__" => "node_cpu_seconds_total", "cpu" => cpu, "instance" => "localhost:9100", "job" => "node", "mode" => mode }))
    }).collect();
    let value = encode(series.iter().map(|(id, entry)| (*id, entry)));
    assert!(value.len() < 128 * 16, "{} bytes", value.len());
}

fn blocks() -> impl Strategy<Value = Vec<Vec<(u32, Entry)>>> {
    let label = ("[a-c]", "[a-b]{0,3}");
    let labels = prop::collection::vec(label, 0..4).prop_map(Labels::last_wins);
    // The labels of an id are a function of the id, as in a bucket.
    prop::collection::vec(labels, 128).prop_flat_map(|all| {
        let ids = prop::collection::btree_set(0usize..128, 0..60);
        prop::collection::vec(ids, 1..5).prop_map(move |parts| {
            let entry = |id: usize| (1280 + id as u32, entry(1280 + id as u32 / 2, all[id].clone()));
            parts.into_iter().map(|ids| ids.into_iter().map(entry).collect()).collect()
        })
    })
}

proptest! {
    #[test]
    fn merging_unites_and_is_associative(parts in blocks(), cut in 0usize..5) {
        let values: Vec<Bytes> = parts.iter().map(|part| encode(part.iter().map(|(id, entry)| (*id, entry)))).collect();
        for (part, value) in parts.iter().zip(&values) {
            prop_assert_eq!(&decode(10, value).unwrap(), part);
        }
        let cut = cut.min(values.len());
        let whole = merge(10, values.iter().map(AsRef::as_ref)).unwrap();
        let left = merge(10, values[..cut].iter().map(AsRef::as_ref)).unwrap();
        let right = merge(10, values[cut..].iter().map(AsRef::as_ref)).unwrap();
        prop_assert_eq!(&merge(10, [left.as_ref(), right.as_ref()].into_iter()).unwrap(), &whole);
        let union: BTreeMap<u32, Entry> = parts.into_iter().flatten().collect();
        prop_assert_eq!(decode(10, &whole).unwrap(), union.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(0u8..12, 0..60)) {
        bytes.insert(0, LAYOUT);
        let _ = decode(1, &bytes);
    }
}
