//! What a user would pick instead, run by a Python program on the same vectors, queries and cores.

use std::io::BufRead;
use std::process::{Command, Stdio};

use crate::ours::Figures;
use crate::sets::{Floor, Set, python, script};

/// Runs all peers and prints each beside ours at the recall that comes next above its own.
pub(crate) fn run(set: &Set, ours: &[Figures], floor: &Floor) {
    let truth: Vec<u8> = set.truth.iter().flatten().flat_map(|row| row.to_le_bytes()).collect();
    std::fs::write(set.folder.join("truth.u32"), truth).unwrap();
    let metric = format!("{:?}", set.metric).to_lowercase();
    let mut command = Command::new(python());
    command.arg(script("peers.py")).arg(&set.folder).args([set.dims.to_string(), metric, set.count().to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    println!(
        "peers: name, setting, recall@10, queries/s on all cores, vectors/s built, bytes a vector; ours at its recall"
    );
    for line in std::io::BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, setting, recall, per_second, built, bytes] = fields[..] else {
            println!("  {line}");
            continue;
        };
        let (recall, per_second): (f64, f64) = (recall.parse().unwrap(), per_second.parse().unwrap());
        let equal = ours.iter().find(|own| own.recall >= recall - 0.002).or(ours.last()).unwrap();
        println!(
            "  {name} {setting}: recall {recall:.4}, {per_second:.0} queries/s, {built} vectors/s, {bytes} bytes; ours {:.4} at {:.0}: {:.2}x",
            equal.recall,
            equal.per_second,
            equal.per_second / per_second
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
