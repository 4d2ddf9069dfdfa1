//! How far numbers lie from their median, counted the cheapest way there is.

use super::width_of;

/// Where numbers lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spread {
    /// The median; of an even count, the higher of the two in the middle.
    pub(super) center: i64,
    /// How many numbers need a window of 2^w around the median, and no narrower one.
    pub(super) needs: [usize; 65],
}

/// Numbers in so wide a range are counted one by one.
const COUNTED: usize = 2048;

/// The spread of numbers, which are not none, between the lowest and the highest of them.
pub(super) fn spread(numbers: &[i64], low: i64, high: i64, scratch: &mut Vec<i64>) -> Spread {
    match high.checked_sub(low).and_then(|range| usize::try_from(range).ok()) {
        Some(_) if numbers.is_sorted() => of_sorted(numbers),
        Some(range) if range < COUNTED.min(4 * numbers.len()) => counted(numbers, low, range, scratch),
        _ => selected(numbers, scratch),
    }
}

fn need_of(number: i64, center: i64) -> usize {
    let distance = number.wrapping_sub(center);
    width_of(((distance << 1) ^ (distance >> 63)).cast_unsigned()) as usize
}

fn add(needs: &mut [usize; 65], need: usize, count: usize) {
    if let Some(counted) = needs.get_mut(need) {
        *counted += count;
    }
}

/// Whatever the numbers are.
fn selected(numbers: &[i64], scratch: &mut Vec<i64>) -> Spread {
    scratch.clear();
    scratch.extend_from_slice(numbers);
    let center = *scratch.select_nth_unstable(numbers.len() / 2).1;
    // In two halves: a count that was just written is slow to read.
    let mut halves = [[0usize; 65]; 2];
    for pair in numbers.chunks(2) {
        for (number, needs) in pair.iter().zip(&mut halves) {
            add(needs, need_of(*number, center), 1);
        }
    }
    let [mut needs, others] = halves;
    needs.iter_mut().zip(others).for_each(|(count, more)| *count += more);
    Spread { center, needs }
}

/// In ascending order, and no further apart than a number can say: the windows end at places that are searched for.
fn of_sorted(numbers: &[i64]) -> Spread {
    let center = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    let (mut needs, mut inside) = ([0usize; 65], 0);
    for (width, count) in (0u32..).zip(&mut needs) {
        // From -2^(w-1) to 2^(w-1) - 1; of no width, the median itself.
        let (below, above) = match width {
            0 => (0, 0),
            64 => (i64::MAX, i64::MAX),
            _ => (1i64 << (width - 1), (1i64 << (width - 1)) - 1),
        };
        let begin = numbers.partition_point(|number| *number < center.saturating_sub(below));
        let end = numbers.partition_point(|number| *number <= center.saturating_add(above));
        *count = end - begin - inside;
        inside = end - begin;
        if inside == numbers.len() {
            break;
        }
    }
    Spread { center, needs }
}

/// In a small range above the lowest one.
fn counted(numbers: &[i64], low: i64, range: usize, counts: &mut Vec<i64>) -> Spread {
    counts.clear();
    counts.resize(range + 1, 0);
    for number in numbers {
        if let Some(count) = usize::try_from(number - low).ok().and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
    let with_numbers = || {
        let numbers = (0i64..).map(|above| low.wrapping_add(above));
        numbers.zip(counts.iter().map(|count| usize::try_from(*count).unwrap_or(0)))
    };
    let mut before = 0;
    let middle = with_numbers().find(|(_, count)| {
        before += count;
        before > numbers.len() / 2
    });
    let center = middle.map_or(low, |(number, _)| number);
    let mut needs = [0usize; 65];
    for (number, count) in with_numbers() {
        add(&mut needs, need_of(number, center), count);
    }
    Spread { center, needs }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![
            prop::collection::vec(any::<i64>(), 1..60),
            prop::collection::vec(-300i64..300, 1..400),
            prop::collection::vec(i64::MAX - 500..=i64::MAX, 1..200),
            prop::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1), Just(0)], 1..20),
            (any::<i64>(), prop::collection::vec(0i64..1 << 40, 1..100)).prop_map(|(start, steps)| {
                let mut at = start >> 1;
                steps
                    .into_iter()
                    .map(|step| {
                        at += step;
                        at
                    })
                    .collect()
            }),
        ]
    }

    #[test]
    fn the_greatest_number_but_one_is_counted() {
        let spread = counted(&[i64::MAX - 1], i64::MAX - 1, 0, &mut Vec::new());
        assert_eq!((spread.center, spread.needs[0]), (i64::MAX - 1, 1));
    }

    proptest! {
        #[test]
        fn every_way_counts_the_same(numbers in numbers()) {
            let (low, high) = (*numbers.iter().min().unwrap(), *numbers.iter().max().unwrap());
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let center = sorted[sorted.len() / 2];
            let mut needs = [0usize; 65];
            for number in &numbers {
                needs[need_of(*number, center)] += 1;
            }
            let expected = Spread { center, needs };
            let mut scratch = Vec::new();
            prop_assert_eq!(&selected(&numbers, &mut scratch), &expected);
            if let Some(range) = high.checked_sub(low) {
                prop_assert_eq!(&of_sorted(&sorted), &expected);
                if range < 1 << 16 {
                    prop_assert_eq!(&counted(&numbers, low, range as usize, &mut scratch), &expected);
                }
            }
            prop_assert_eq!(spread(&numbers, low, high, &mut scratch), expected);
        }
    }
}
