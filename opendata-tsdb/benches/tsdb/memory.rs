//! Memory with many active series, in a process of its own.

use std::path::PathBuf;

use opendata_core::slate::Ack;

use super::data::{counter, counter_labels, times};
use super::ingest::write;
use super::{Figure, Plan, open, resident_bytes, row, store};

const STEPS: usize = 8;

/// Measures a process that writes so many series.
pub(crate) fn active_series(plan: &Plan) {
    let series = plan.size(1_000_000);
    println!("\nmemory, {series} active series, {STEPS} samples each, 10,000 a write");
    let program = std::env::current_exe().unwrap();
    let run = std::process::Command::new(program).args(["--memory-of", &series.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text} {}", String::from_utf8_lossy(&run.stderr));
    for line in text.lines() {
        let Some((what, bytes)) = line.rsplit_once(' ') else { continue };
        let mib = bytes.parse::<f64>().unwrap() / (1024.0 * 1024.0);
        row(what, "MiB", &Figure::Cost(mib), (!plan.quick).then_some(1024.0), &[]);
    }
}

/// The process that is measured. The labels it makes are given away as they are written, as a server would.
pub(crate) async fn fresh_process(series: usize) {
    const PART: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let (slate, metrics) = open(&store(&PathBuf::from(folder.path()))).await;
    let at = times(STEPS);
    for (step, time) in at.iter().enumerate() {
        write(&slate, &metrics, |part, op| {
            let part = part * PART..((part + 1) * PART).min(series);
            for n in part.clone() {
                op.sample(counter_labels(n), *time, counter(n, step));
            }
            !part.is_empty()
        })
        .await;
        if step == 0 {
            println!("after the first write of each series {}", resident_bytes("self"));
        }
    }
    println!("after {STEPS} samples each {}", resident_bytes("self"));
    slate.flush_files().await.unwrap();
    let mut tx = slate.begin();
    tx.on(&metrics).sample(counter_labels(0), at[STEPS - 1], 1.0);
    tx.commit_with(Ack::Durable).await.unwrap();
    println!("after the files are written {}", resident_bytes("self"));
    slate.close().await.unwrap();
}
