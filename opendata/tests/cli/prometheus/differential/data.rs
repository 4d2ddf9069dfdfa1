//! The samples that both get: of a real node exporter, and of series made to hurt.

use std::collections::BTreeMap;

use crate::cli::harness::Server;

pub(super) const STEP_MS: i64 = 15_000;
pub(super) const STEPS: i64 = 160;
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Numbers that look random and repeat with their seed (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// Times in milliseconds with values.
pub(super) type Points = Vec<(i64, f64)>;
/// Names and values of labels.
pub(super) type Pairs = Vec<(String, String)>;

/// Series made to hurt, from `start` on.
pub(super) fn adversarial(dice: &mut Dice, start: i64) -> Vec<(Pairs, Points)> {
    let mut all = Vec::new();
    for (kind, count) in [("counter_total", 6), ("gauge", 5), ("stale", 4), ("late", 4), ("odd", 4)] {
        for n in 0..count {
            let labels = [("__name__", kind), ("job", ["a", "b"][n % 2]), ("instance", &format!("i{n}"))];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            all.push((labels, points(dice, kind, start)));
        }
    }
    all.extend(classic(dice, start));
    all.extend(infos(start));
    all
}

/// Classic histograms: counters, but now and then a bucket that is behind those below it.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn classic(dice: &mut Dice, start: i64) -> Vec<(Pairs, Points)> {
    let mut all = Vec::new();
    for n in 0..3 {
        let mut buckets: Vec<(&str, Points)> =
            ["0.1", "0.5", "1", "5", "+Inf"].map(|bound| (bound, Points::new())).to_vec();
        let mut counts = [0.0; 5];
        for step in 0..STEPS {
            let at = start + step * STEP_MS;
            let mut more = 0.0;
            for (count, (_, points)) in counts.iter_mut().zip(&mut buckets) {
                more += dice.below(4) as f64;
                *count += more;
                let behind = if dice.below(60) == 0 { 9.0 } else { 0.0 };
                points.push((at, *count - behind));
            }
        }
        for (bound, points) in buckets {
            let instance = format!("i{n}");
            let labels = [("__name__", "took_bucket"), ("instance", &instance), ("job", "a"), ("le", bound)];
            all.push((labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), points));
        }
    }
    all
}

/// What `info` adds to series; of one instance only for half of the time. (What changes in the middle was wrong in version 3.5.)
fn infos(start: i64) -> Vec<(Pairs, Points)> {
    let of = |instance: &str, version: &str, steps: std::ops::Range<i64>| {
        let labels = [("__name__", "target_info"), ("instance", instance), ("job", "a"), ("version", version)];
        let points = steps.map(|step| (start + step * STEP_MS, 1.0)).collect();
        (labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), points)
    };
    vec![of("i0", "1", 0..STEPS), of("i1", "2", 0..STEPS), of("i2", "1", 0..STEPS / 2)]
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn points(dice: &mut Dice, kind: &str, start: i64) -> Points {
    let (mut total, mut points) = (0.0, Points::new());
    for step in 0..STEPS {
        let at = start + step * STEP_MS + dice.below(400).cast_signed();
        let small = dice.below(1000) as f64 / 8.0;
        match kind {
            "counter_total" => {
                total = if dice.below(25) == 0 { 0.0 } else { total + small };
                if dice.below(12) > 0 {
                    points.push((at, total));
                }
            }
            "gauge" => {
                // Now and then longer than the lookback.
                if step / 30 % 3 != 1 || dice.below(20) == 0 {
                    points.push((at, small - 60.0));
                }
            }
            "stale" => {
                let value = if step % 40 > 30 { f64::from_bits(STALE) } else { small };
                points.push((at, value));
            }
            "odd" => {
                let value = match dice.below(9) {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    2 => f64::NEG_INFINITY,
                    3 => -0.0,
                    4 => 1e300,
                    _ => small,
                };
                points.push((at, value));
            }
            _ => points.push((at, small)),
        }
    }
    if kind == "late" {
        for at in (0..points.len().saturating_sub(5)).step_by(7) {
            points.swap(at, at + 4);
        }
    }
    points
}

/// What a real node exporter says, scrape after scrape.
pub(super) fn scraped(node: u16, start: i64) -> Vec<(Pairs, Points)> {
    let exporter = Server::elsewhere(node);
    let mut all: BTreeMap<Pairs, Points> = BTreeMap::new();
    for scrape in 0..40 {
        let (status, text) = exporter.request("GET", "/metrics", "", b"");
        assert_eq!(status, 200);
        for line in text.lines().filter(|line| line.starts_with("node_")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (metric, rest) = name.split_once('{').unwrap_or((name, "}"));
            let mut labels = vec![("__name__".to_owned(), metric.to_owned()), ("job".to_owned(), "node".to_owned())];
            let rest = rest.trim_end_matches('}');
            if rest.contains('\\') || rest.contains("\",\"") {
                continue;
            }
            for pair in rest.split("\",").filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once("=\"").unwrap();
                labels.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
            }
            labels.sort();
            let at = start + scrape * 4 * STEP_MS;
            all.entry(labels).or_default().push((at, value.parse().unwrap()));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    all.into_iter().collect()
}
