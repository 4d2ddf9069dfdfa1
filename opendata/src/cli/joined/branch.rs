//! `opendata fork create | list | discard`, `opendata promote`, `opendata restore`.

use clap::{ArgGroup, Args, Subcommand};
use opendata_compose::CutOptions;
use opendata_compose::branch::Promoted;
use opendata_compose::control::{BranchPhase, PromotePolicy};
use opendata_core::store::StoreOptions;
use serde_json::{Value, json};

use super::super::context::Context;
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

/// Forks of a whole joined composition.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Branches {
    /// Fork the composition at a cut, sharing every file. Edges to the outside stand still in it.
    Create {
        /// Its name, never used before.
        name: String,
        /// The cut; without it one is taken now.
        #[arg(long, value_name = "CUT")]
        at: Option<String>,
        /// Only these nodes.
        #[arg(long, value_name = "NODE", value_delimiter = ',')]
        nodes: Vec<String>,
    },
    /// Show main, forks, and what was main.
    List,
    /// Give a fork up and delete its slates.
    Discard {
        /// Its name.
        name: String,
    },
}

impl Branches {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composite = super::look(cx, None).await?;
        match self {
            Self::Create { name, at, nodes } => {
                let cut = match at {
                    Some(cut) => cut,
                    None => {
                        let cut = format!("fork-{name}");
                        composite.cut(&cut, &CutOptions::default()).await?;
                        cut
                    }
                };
                match nodes.as_slice() {
                    [] => composite.fork(&name, &cut).await?,
                    nodes => composite.fork_nodes(&name, &cut, nodes).await?,
                }
                let said = json!({"fork": name, "cut": cut});
                cx.out.say(&said, || format!("forked {name} at cut {cut}\nrun it: opendata run --branch {name}"))
            }
            Self::List => {
                let branches = composite.branches().await?;
                let list: Vec<_> = branches
                    .iter()
                    .map(|branch| {
                        json!({"name": branch.name, "phase": phase(branch.phase), "base": branch.base, "nodes": branch.nodes})
                    })
                    .collect();
                cx.out.say_table(&json!({"branches": list}), || {
                    let mut table =
                        Table::new([("name", Align::Left), ("phase", Align::Left), ("began at", Align::Left)]);
                    for branch in &branches {
                        let base =
                            branch.base.as_ref().map_or_else(String::new, |(of, cut)| format!("{of}, cut {cut}"));
                        table.row([branch.name.clone(), phase(branch.phase).to_owned(), base]);
                    }
                    table
                })
            }
            Self::Discard { name } => {
                composite.discard(&name).await?;
                cx.out.say(&json!({"discarded": name}), || format!("discarded {name}"))
            }
        }
    }
}

fn phase(phase: BranchPhase) -> &'static str {
    match phase {
        BranchPhase::Making(_) => "making",
        BranchPhase::Live => "live",
        BranchPhase::Former => "former",
        BranchPhase::Discarding => "discarding",
        BranchPhase::Discarded => "discarded",
    }
}

/// Put a fork in the place of main, by one entry of the control log. What was main stays as a branch that can be read and forked.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("moved")))]
#[command(
    after_help = "Examples:\n  opendata promote trial\n  opendata promote trial --rebase\n  opendata promote --cancel      one that was broken off, or a restore: main goes on as it was"
)]
pub(in crate::cli) struct Promote {
    /// The fork.
    #[arg(required_unless_present = "cancel")]
    fork: Option<String>,
    /// If main was written to since the fork began: leave that behind, and say how much it was.
    #[arg(long, group = "moved")]
    discard: bool,
    /// If main's logs took records since the fork began: append them to the fork's logs.
    #[arg(long, group = "moved")]
    rebase: bool,
    /// Give up a promotion, a restore, a split or a join that is under way, because whoever does it is gone.
    #[arg(long, conflicts_with_all = ["fork", "moved"])]
    cancel: bool,
}

impl Promote {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Some(fork) = self.fork else { return super::reshape::cancel(cx).await };
        let policy = match (self.discard, self.rebase) {
            (true, _) => PromotePolicy::Discard,
            (_, true) => PromotePolicy::Rebase,
            _ => PromotePolicy::Refuse,
        };
        let promoted = super::look(cx, None).await?.promote(&fork, policy).await?;
        let said = said(&promoted);
        cx.out.say(&said, || {
            let rebased = match promoted.rebased {
                0 => String::new(),
                records => format!("\nappended again: {records} records of main's logs"),
            };
            format!("{fork} is main now; what was main is {}{rebased}{}", promoted.former, left_behind(&promoted))
        })
    }
}

fn said(promoted: &Promoted) -> Value {
    json!({
        "former": promoted.former,
        "moved": promoted.moved,
        "rebased": promoted.rebased,
        "discarded": promoted.discarded,
    })
}

/// What applications wrote and only the branch that was main holds.
fn left_behind(promoted: &Promoted) -> String {
    let lines = promoted.discarded.iter().map(|written| format!("\nonly {} has now: {written}", promoted.former));
    lines.collect()
}

/// Put main back to a cut, or to a time. What main was stays as a branch.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("to_what").required(true)))]
#[command(after_help = "Examples:\n  opendata restore before-migration\n  opendata restore --to 15m")]
pub(in crate::cli) struct Restore {
    /// The cut.
    #[arg(group = "to_what")]
    cut: Option<String>,
    /// A time: the newest cut before it, and behind that what the logs took until then.
    #[arg(long, group = "to_what", value_name = "TIME")]
    to: Option<String>,
}

impl Restore {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composite = super::look(cx, None).await?;
        if let Some(time) = &self.to {
            let (replayed, promoted) = composite.restore_to(times::parse_time(time)?).await?;
            let said = json!({"cut": replayed.cut, "replayed": replayed.records, "former": promoted.former, "as_in_cut": replayed.as_in_cut});
            return cx.out.say(&said, || {
                let mut said = format!(
                    "main is as it was: cut {} and {} records of its logs; what was main is {}",
                    replayed.cut, replayed.records, promoted.former
                );
                if !replayed.as_in_cut.is_empty() {
                    let names = replayed.as_in_cut.join(", ");
                    said.push_str(&format!(
                        "\nwritten to by applications since that cut, and as they were in it: {names}"
                    ));
                }
                said
            });
        }
        let cut = self.cut.unwrap_or_default();
        let promoted = composite.restore(&cut).await?;
        let said = said(&promoted);
        cx.out.say(&said, || {
            format!("main is as it was in cut {cut}; what was main is {}{}", promoted.former, left_behind(&promoted))
        })
    }
}

/// Copy a cut to another store as a composition of its own that shares no file with this one: a backup. To import is the same the other way.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  opendata export nightly --to s3://backups/shop\n  opendata import nightly --from s3://backups/shop --as restored"
)]
pub(in crate::cli) struct Export {
    /// The cut.
    cut: String,
    /// The other store.
    #[arg(long, value_name = "URL")]
    to: String,
    /// The root of the composition there; the same as here by default.
    #[arg(long = "as", value_name = "ROOT")]
    root: Option<String>,
}

/// Copy a composition, as it was in a cut, from another store into this one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata import nightly --from file:./backup --as restored")]
pub(in crate::cli) struct Import {
    /// The cut.
    cut: String,
    /// The other store.
    #[arg(long, value_name = "URL")]
    from: String,
    /// The root of the composition there; the same as here by default.
    #[arg(long, value_name = "ROOT")]
    from_root: Option<String>,
    /// The root it gets here; the composition file's by default.
    #[arg(long = "as", value_name = "ROOT")]
    root: Option<String>,
}

impl Export {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composite = super::look(cx, None).await?;
        let own = cx.composition()?.root().unwrap_or_default().to_owned();
        let to = opendata_compose::Store::from_url(&self.to)?;
        copy(cx, &composite, &self.cut, &to, &self.root.unwrap_or(own)).await
    }
}

impl Import {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let own = cx.composition()?.root().unwrap_or_default().to_owned();
        let options = StoreOptions { creates_folder: false, ..StoreOptions::default() };
        let from = opendata_compose::Store::open(&self.from, &options)?;
        let from_root = self.from_root.unwrap_or_else(|| own.clone());
        let composite = opendata_compose::ExternalComposite::builder(&from, &from_root).attach().await?;
        let to = super::store(cx)?;
        copy(cx, &composite, &self.cut, &to, &self.root.unwrap_or(own)).await
    }
}

async fn copy(
    cx: &mut Context,
    composite: &opendata_compose::ExternalComposite,
    cut: &str,
    to: &opendata_compose::Store,
    root: &str,
) -> Result<(), Failure> {
    let mut progress = cx.out.progress("copy", None);
    let mut before = ("".to_owned(), opendata_core::slate::Copied::default());
    let told = |node: &str, so_far: opendata_core::slate::Copied| {
        if before.0 != node {
            before = (node.to_owned(), opendata_core::slate::Copied::default());
        }
        progress.advance(so_far.rows - before.1.rows, so_far.bytes - before.1.bytes);
        before.1 = so_far;
    };
    let copied = composite.export(cut, to, root, told).await;
    progress.finish();
    let copied = copied?;
    let nodes: Vec<_> = copied
        .iter()
        .map(|(node, sum)| json!({"node": node, "rows": sum.rows, "bytes": sum.bytes, "checksum": format!("{:016x}", sum.checksum)}))
        .collect();
    let rows: u64 = copied.values().map(|sum| sum.rows).sum();
    cx.out.say(&json!({"root": root, "nodes": nodes}), || {
        format!("copied {} nodes, {rows} rows, to root {root}; every copy was read again", copied.len())
    })
}
