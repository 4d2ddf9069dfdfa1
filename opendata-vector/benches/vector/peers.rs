//! What a user would pick instead, run by a Python program on the same vectors, queries and cores.

use std::io::BufRead;
use std::process::{Command, Stdio};

use crate::ours::{Figures, Space};
use crate::sets::{Floor, Set, python, script};

/// Runs all peers and prints each beside ours at the recall that comes next above its own.
pub(crate) fn run(set: &Set, ours: &[Figures], space: &Space, floor: &Floor) {
    let truth: Vec<u8> = set.truth.iter().flatten().flat_map(|row| row.to_le_bytes()).collect();
    std::fs::write(set.folder.join("truth.u32"), truth).unwrap();
    let metric = format!("{:?}", set.metric).to_lowercase();
    let mut command = Command::new(python());
    command.arg(script("peers.py")).arg(&set.folder).args([set.dims.to_string(), metric, set.count().to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    println!(
        "peers, the same vectors and queries: recall@10, queries/s on all cores, vectors/s until searchable, bytes a vector on disk and in memory; ours beside each, at its recall"
    );
    println!(
        "  ours: {:.0} vectors/s durable and indexed, {:.0} bytes on disk, {:.0} in memory",
        space.indexed_per_second, space.disk_bytes, space.memory_bytes
    );
    for line in std::io::BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, setting, recall, per_second, built, disk, memory] = fields[..] else {
            println!("  {line}");
            continue;
        };
        let (recall, per_second): (f64, f64) = (recall.parse().unwrap(), per_second.parse().unwrap());
        let built: f64 = built.parse().unwrap();
        // The cheapest of ours that finds as much; none if none does.
        let equal =
            ours.iter().filter(|own| own.recall >= recall - 0.002).map(|own| own.per_second).max_by(f64::total_cmp);
        let ratio =
            equal.map_or("ours finds less".to_owned(), |own| format!("ours {own:.0}: {:.2}x", own / per_second));
        println!(
            "  {name} {setting}: recall {recall:.4}, {per_second:.0} queries/s ({ratio}), {built:.0} vectors/s ({:.2}x), {disk} bytes on disk, {memory} in memory",
            space.indexed_per_second / built,
        );
    }
    let best = ours.last().unwrap();
    println!(
        "  brute force: {:.0} queries/s; ours at recall {:.4}: {:.2}x",
        floor.per_second,
        best.recall,
        best.per_second / floor.per_second
    );
    if !child.wait().unwrap().success() {
        println!("  a peer failed; see above");
    }
}
