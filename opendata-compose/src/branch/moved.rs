//! What applications wrote to a branch since a position: beside edges, whose work is made again.

use std::collections::BTreeMap;
use std::fmt;

use opendata_core::{DataSystem, Error, Position, Result};
use opendata_log::Log;
use serde::Serialize;

use crate::control::Branch;
use crate::internal::InternalComposite;

/// What applications wrote to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The node.
    pub node: String,
    /// The instance in it.
    pub instance: String,
    /// How many records they appended to a log; how much was written to another instance is not known.
    pub records: Option<u64>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.records {
            Some(records) => write!(f, "{}/{}: {records} records", self.node, self.instance),
            None => write!(f, "{}/{}", self.node, self.instance),
        }
    }
}

/// That a fork cannot become main without a word about what main took meanwhile.
pub(super) fn refusal(fork: &str, cut: &str, written: &[Written]) -> Error {
    let mut nodes: Vec<&str> = written.iter().map(|written| written.node.as_str()).collect();
    nodes.dedup();
    let written: Vec<String> = written.iter().map(Written::to_string).collect();
    Error::conflict(format!(
        "main was written to since the fork began; discard what it wrote, or rebase it, fork={fork}, cut={cut}, nodes=[{}], written=[{}]",
        nodes.join(", "),
        written.join(", ")
    ))
}

/// The instances of main that applications have written to behind a position, in the order of nodes.
pub(super) async fn written_since(
    main: &Branch,
    fenced: &BTreeMap<String, InternalComposite>,
    since: &(impl Fn(&str) -> Position + Sync),
) -> Result<Vec<Written>> {
    let mut all = Vec::new();
    for (node, composite) in fenced {
        let (view, after) = (composite.view(), since(node));
        for instance in view.instances() {
            let mut edges = main.spec.edges_into(node);
            let fed = edges.any(|edge| edge.to.instance.as_deref() == Some(&instance.name));
            if view.written_directly(&instance.name).await? <= after || (fed && planted!(DirectUnseen)) {
                continue;
            }
            let records = match instance.system == Log::ID {
                // That a log was trimmed is nothing that could be lost.
                true => match view.get_reader::<Log>(&instance.name)?.count_direct(after.next()).await? {
                    0 => continue,
                    records => Some(records),
                },
                false => None,
            };
            all.push(Written { node: node.clone(), instance: instance.name.to_string(), records });
        }
    }
    Ok(all)
}
