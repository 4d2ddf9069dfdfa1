use super::*;

fn run(over: Over, samples: &[(i64, f64)], looks: Looks, range_ms: i64) -> Vec<Option<f64>> {
    let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
    let series = Series::floats(Labels::empty(), times, values);
    let none = Scalar::Constant(0.0);
    let args = Arguments { first: &none, second: &none };
    let column =
        slide(over, Samples::of(&series), &looks, range_ms, args, &Budget::of(1_000, 1_000), &mut Notes::new())
            .unwrap();
    (0..looks.grid.count).map(|step| column.get(step)).collect()
}

fn every(step_ms: i64, count: usize) -> Looks {
    Looks { grid: Grid { start_ms: 0, step_ms, count }, fixed_ms: None, offset_ms: 0 }
}

#[test]
fn a_window_is_open_on_the_left() {
    let samples = [(0, 1.0), (10, 2.0), (20, 4.0)];
    assert_eq!(run(Over::Sum, &samples, every(10, 4), 10), [Some(1.0), Some(2.0), Some(4.0), None]);
    assert_eq!(run(Over::Sum, &samples, every(10, 4), 11), [Some(1.0), Some(3.0), Some(6.0), Some(4.0)]);
}

#[test]
fn a_fixed_window_is_the_same_at_each_step() {
    let samples = [(0, 1.0), (10, 2.0), (20, 4.0)];
    let looks = Looks { fixed_ms: Some(25), offset_ms: 5, ..every(10, 3) };
    assert_eq!(run(Over::Sum, &samples, looks, 15), [Some(6.0); 3]);
}

#[test]
fn a_counter_is_not_extrapolated_below_zero() {
    // The first sample stands 10 s after the bound, but the counter was zero 2 s before it.
    let samples = [(10_000, 2.0), (20_000, 12.0), (30_000, 22.0)];
    let looks = Looks { grid: Grid { start_ms: 30_000, step_ms: 1, count: 1 }, fixed_ms: None, offset_ms: 0 };
    let increase = run(Over::Increase, &samples, looks, 30_000)[0].unwrap();
    assert!((increase - 22.0).abs() < 1e-9, "{increase}");
    let delta = run(Over::Delta, &samples, looks, 30_000)[0].unwrap();
    assert!((delta - 30.0).abs() < 1e-9, "{delta}");
}

#[test]
fn nan_is_no_extreme_and_no_change() {
    let samples = [(0, f64::NAN), (1, f64::NAN), (2, 3.0), (3, f64::NAN)];
    let looks = Looks { grid: Grid { start_ms: 3, step_ms: 1, count: 1 }, fixed_ms: None, offset_ms: 0 };
    assert_eq!(run(Over::Min, &samples, looks, 10), [Some(3.0)]);
    assert_eq!(run(Over::Max, &samples, looks, 10), [Some(3.0)]);
    assert_eq!(run(Over::Changes, &samples, looks, 10), [Some(2.0)]);
}

#[test]
fn windows_that_are_looked_through_count() {
    let samples: Vec<i64> = (0..100).collect();
    let values = vec![1.0; 100];
    let none = Scalar::Constant(0.0);
    let args = Arguments { first: &none, second: &none };
    let series = Series::floats(Labels::empty(), samples, values);
    let samples = Samples::of(&series);
    let run =
        |over| slide(over, samples, &every(1, 100), 50, args, &Budget::of(1_000, 0), &mut Notes::new()).map(|_| ());
    assert!(run(Over::Last).is_ok() && run(Over::Max).is_ok() && run(Over::Increase).is_ok());
    for over in [Over::Sum, Over::Quantile, Over::Mad, Over::Deriv] {
        assert_eq!(run(over).unwrap_err().message(), "query computes too many values, limit=1000");
    }
}
