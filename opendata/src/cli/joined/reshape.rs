//! `opendata split | join`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use opendata_compose::branch::Reshaped;
use opendata_core::{Error, Result};
use serde_json::json;

use super::super::context::Context;
use crate::failure::Failure;

const SPLIT_EXAMPLES: &str = "\
Examples:
  opendata split billing --into events=orders --into metrics=sales,costs
  opendata split billing --into billing=orders --into metrics=sales     the node keeps one of its instances
  opendata split --cancel                            one that was broken off: the node goes on as it was

Nothing is copied: the new slates share the files of the old one. Edges keep their ids, cursors, windows and letters; one that ran inside
the node leads from one node to another from now on. The node takes no writes for a moment. What it was stays as a branch that can
be read and discarded. Then change the composition file: `opendata plan` says when it fits.";

/// Split a node into several, each with some of its instances, without copying.
#[derive(Debug, Args)]
#[command(after_help = SPLIT_EXAMPLES)]
pub(in crate::cli) struct Split {
    /// The node.
    #[arg(value_name = "NODE", required_unless_present = "cancel")]
    whole: Option<String>,
    /// A new node and the instances that go to it; given once a node.
    #[arg(long = "into", value_name = "NODE=INSTANCE,..", required_unless_present = "cancel", num_args = 1)]
    parts: Vec<String>,
    /// Give up a split, a join or a promotion that is under way, because whoever does it is gone.
    #[arg(long, conflicts_with_all = ["whole", "parts"])]
    cancel: bool,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

const JOIN_EXAMPLES: &str = "\
Examples:
  opendata join events metrics --into billing
  opendata join events metrics --into events        the joined node has the name of one of them
  opendata join --cancel                            one that was broken off: the nodes go on as they were

Nothing is copied. Names of instances must differ, and two instances of one system can be joined only if they came from one slate: joining
changes no keys. Edges between the nodes run inside the one from now on.";

/// Join several nodes into one that has the instances of all, without copying.
#[derive(Debug, Args)]
#[command(after_help = JOIN_EXAMPLES)]
pub(in crate::cli) struct Join {
    /// The nodes.
    #[arg(required_unless_present = "cancel", num_args = 2..)]
    nodes: Vec<String>,
    /// The name of the node they become.
    #[arg(long, value_name = "NODE", required_unless_present = "cancel")]
    into: Option<String>,
    /// Give up a split, a join or a promotion that is under way, because whoever does it is gone.
    #[arg(long, conflicts_with_all = ["nodes", "into"])]
    cancel: bool,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

impl Split {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Some(whole) = self.whole else { return cancel(cx).await };
        let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for part in &self.parts {
            let (node, instances) = parse(part)?;
            if parts.insert(node.clone(), instances).is_some() {
                return Err(Error::invalid(format!("a node is named twice in --into, node={node}")).into());
            }
        }
        let reshaped = super::look(cx, self.branch.as_deref()).await?.split(&whole, &parts).await?;
        say(cx, &reshaped, &format!("split {whole}"))
    }
}

fn parse(part: &str) -> Result<(String, BTreeSet<String>)> {
    let wrong = || Error::invalid(format!("--into is NODE=INSTANCE,INSTANCE,.., found={part}"));
    let (node, instances) = part.split_once('=').ok_or_else(wrong)?;
    let instances: BTreeSet<String> =
        instances.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if node.is_empty() || instances.is_empty() {
        return Err(wrong());
    }
    Ok((node.to_owned(), instances))
}

impl Join {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Some(into) = self.into else { return cancel(cx).await };
        let nodes: BTreeSet<String> = self.nodes.into_iter().collect();
        let composite = super::look(cx, self.branch.as_deref()).await?;
        let reshaped = composite.join(&nodes, &into).await?;
        let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
        say(cx, &reshaped, &format!("joined {}", names.join(", ")))
    }
}

/// Gives up what is under way; nothing being under way is no error, so that it can be said again.
pub(super) async fn cancel(cx: &mut Context) -> Result<(), Failure> {
    let given_up = super::look(cx, None).await?.cancel_under_way().await?;
    cx.out.say(&json!({"given_up": given_up}), || match &given_up {
        Some(what) => format!("gave up the {what}"),
        None => "no split, join or promotion is under way".to_owned(),
    })
}

fn say(cx: &mut Context, reshaped: &Reshaped, what: &str) -> Result<(), Failure> {
    let said = json!({"nodes": reshaped.nodes, "former": reshaped.former});
    cx.out.say(&said, || {
        let nodes: Vec<_> = reshaped.nodes.iter().map(|(node, path)| format!("node {node} at {path}")).collect();
        format!(
            "{what}:\n{}\nwhat was there before is branch {}; now change the composition file",
            nodes.join("\n"),
            reshaped.former
        )
    })
}
