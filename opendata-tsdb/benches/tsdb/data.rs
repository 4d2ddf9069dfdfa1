//! What is measured on: counters of stated number, and real samples recorded from a node exporter.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opendata_core::Timestamp;
use opendata_tsdb::{Labels, labels};

use super::http;
use super::peers::{Installed, Process, free_port};

/// How far apart samples stand.
pub(crate) const STEP_MS: i64 = 15_000;

/// A number that looks random and is always the same.
pub(crate) fn mixed(a: u64, b: u64) -> u64 {
    let mut mixed = (a << 32) ^ b;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// The series of one metric: 10 jobs, 20 paths an instance.
pub(crate) fn counters(count: usize) -> Vec<Labels> {
    (0..count).map(counter_labels).collect()
}

/// One of them.
pub(crate) fn counter_labels(n: usize) -> Labels {
    labels! {
        "__name__" => "http_requests_total", "job" => format!("job-{}", n / 20 % 10),
        "instance" => format!("host-{:05}:9100", n / 20), "path" => format!("/api/v1/path-{}", n % 20),
        "region" => format!("eu-west-{}", n / 20 % 3), "code" => "200"
    }
}

/// A counter's value at a step: it grows by about 40 a step, unevenly, and starts again at zero every 2,000 steps.
pub(crate) fn counter(series: usize, step: usize) -> f64 {
    let since = (step + series * 7) % 2000;
    (since as u64 * 40 + mixed(series as u64, step as u64) % 40) as f64
}

/// Steps that end at the last full minute, so that peers that look at the clock take them too.
pub(crate) fn times(steps: usize) -> Vec<Timestamp> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let end = now / 60_000 * 60_000;
    (1..=steps as i64).map(|step| Timestamp(end - (steps as i64 - step) * STEP_MS)).collect()
}

/// Samples of real series, one row a scrape.
pub(crate) struct Recording {
    pub(crate) series: Vec<Labels>,
    /// By scrape, then by series; none where the scrape did not have the series.
    pub(crate) scrapes: Vec<(i64, Vec<Option<f64>>)>,
    /// Where it comes from, in words.
    pub(crate) source: String,
}

/// Records a node exporter, or reads what was recorded before: files of scrapes named `<any>-<milliseconds>.txt`.
pub(crate) fn record(installed: &Installed, scrapes: usize) -> Option<Recording> {
    let folder = installed.folder.join("recording");
    if let Some(recording) = read(&folder) {
        return Some(recording);
    }
    let exporter = installed.exporter.as_ref()?;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let _process = Process::start(exporter, &[&format!("--web.listen-address={address}")], &folder.join("log"));
    http::wait_until_ready(&address, "/metrics");
    let begun = Instant::now();
    let pause = Duration::from_millis(1000);
    for at in 0..scrapes {
        let due = pause * u32::try_from(at).unwrap();
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let time_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let text = http::get(&address, "/metrics").unwrap();
        std::fs::write(folder.join(format!("{at:05}-{time_ms}.txt")), text).unwrap();
    }
    read(&folder)
}

fn read(folder: &Path) -> Option<Recording> {
    let mut files: Vec<_> = std::fs::read_dir(folder).ok()?.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "txt"));
    files.sort();
    let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
    let (mut series, mut scrapes) = (Vec::new(), Vec::new());
    for file in &files {
        let time_ms: i64 = file.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok()?;
        let text = std::fs::read_to_string(file).ok()?;
        let mut values = vec![None; series.len()];
        for (labels, value) in text.lines().filter_map(sample) {
            let place = *places.entry(labels.clone()).or_insert(series.len());
            if place == series.len() {
                series.push(labels);
                values.push(None);
            }
            values[place] = Some(value);
        }
        scrapes.push((time_ms, values));
    }
    let (first, last) = (scrapes.first()?.0, scrapes.last()?.0);
    let apart = (last - first) as f64 / (scrapes.len().max(2) - 1) as f64 / 1e3;
    let source = format!("{} scrapes of a node exporter, {apart:.1} s apart, {} series", scrapes.len(), series.len());
    Some(Recording { series, scrapes, source })
}

/// A line of the exposition format, as the exporter writes it.
fn sample(line: &str) -> Option<(Labels, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    let mut rest = rest.strip_suffix('}')?;
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut end = 0;
        let bytes = after.as_bytes();
        while bytes.get(end) != Some(&b'"') {
            end += if bytes.get(end)? == &b'\\' { 2 } else { 1 };
        }
        pairs
            .push((label.trim_start_matches(',').to_owned(), after[..end].replace("\\\"", "\"").replace("\\\\", "\\")));
        rest = &after[end + 1..];
    }
    Some((Labels::last_wins(pairs), value.parse().ok()?))
}

impl Recording {
    /// The series of so many hosts.
    pub(crate) fn expanded(&self, hosts: usize) -> Vec<Labels> {
        let of = |host: usize| {
            let name = format!("host-{host:04}:9100");
            self.series.iter().map(move |labels| {
                labels.with("instance", &name).and_then(|labels| labels.with("job", "node")).unwrap()
            })
        };
        (0..hosts).flat_map(of).collect()
    }

    /// How many scrapes lie between two steps of a host: of a recording of 25 minutes or more every 15th is taken, so that they are
    /// really 15 s apart; of a shorter one each stands for one.
    fn stride(&self) -> usize {
        if self.scrapes.len() >= 1500 { 15 } else { 1 }
    }

    /// How many hosts there are: as many as begin a second after one another, or some that begin at other places.
    pub(crate) fn hosts(&self) -> usize {
        if self.stride() > 1 { self.stride() } else { 20 }
    }

    /// How many steps each host has, of those wanted.
    pub(crate) fn steps(&self, wanted: usize) -> usize {
        if self.stride() > 1 { wanted.min(self.scrapes.len() / self.stride()) } else { wanted }
    }

    fn scrape(&self, host: usize, step: usize) -> &(i64, Vec<Option<f64>>) {
        match self.stride() {
            1 => &self.scrapes[(step + host * 37) % self.scrapes.len()],
            stride => &self.scrapes[step * stride + host % stride],
        }
    }

    /// The values of a host at a step. Where the recording is short it begins anew, with a jump of every counter.
    pub(crate) fn values(&self, host: usize, step: usize) -> &[Option<f64>] {
        &self.scrape(host, step).1
    }

    /// The time of a step, of which the even time is given: as it was recorded, or up to 4 ms off.
    pub(crate) fn time_ms(&self, host: usize, step: usize, even_ms: &[Timestamp]) -> i64 {
        if self.stride() == 1 {
            return even_ms[step].0 + (mixed(host as u64, step as u64) % 5) as i64;
        }
        let first = self.scrapes[0].0;
        even_ms[0].0 + self.scrape(host, step).0 - first
    }

    /// What it is, in words.
    pub(crate) fn description(&self) -> String {
        let how = match self.stride() {
            1 => "each taken for one every 15 s, again from the beginning where they end",
            _ => "every 15th taken, 15 hosts that begin a second after one another",
        };
        format!("{}; {how}", self.source)
    }
}
