use super::*;

fn columns(samples: &[(i64, f64)]) -> Columns {
    let (times, values) = samples.iter().copied().unzip();
    Columns { times, values, ..Columns::default() }
}

#[test]
fn of_equal_times_the_last_wins() {
    let mut samples = columns(&[(3, 1.0), (1, 2.0), (3, 3.0), (2, 4.0), (3, 5.0), (1, 6.0)]);
    samples.settle();
    assert_eq!(samples, columns(&[(1, 6.0), (2, 4.0), (3, 5.0)]));
}

#[test]
fn clipping_touches_only_the_tail() {
    let mut samples = columns(&[(90, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
    samples.clip(1, 2, 3);
    assert_eq!(samples, columns(&[(90, 0.0), (2, 2.0), (3, 3.0)]));
}
