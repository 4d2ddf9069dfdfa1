//! `opendata cut create | list | tag | release`.

use clap::Subcommand;
use opendata_compose::CutOptions;
use opendata_compose::control::{Cut as CutState, CutMode};
use serde_json::{Value, json};

use super::super::context::Context;
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata cut create before-migration
  opendata cut create nightly --aligned --lifetime 30d
  opendata cut list
  opendata --node events log scan --all --at before-migration      the past
  opendata fork create trial --at before-migration
  opendata cut release before-migration";

/// Consistent checkpoints of the whole composition.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Cut {
    /// Take a cut. Whoever runs the nodes takes part; a node whose owner does not answer is taken over for a moment.
    Create {
        /// Its name, never used before.
        name: String,
        /// At barriers that travel through the logs: every node then reflects the same prefix of what flows into it. It takes as long as
        /// the slowest edge that is not paused needs for what it has not read yet.
        #[arg(long)]
        aligned: bool,
        /// Give up after this long, and say which nodes and edges were waited for; nothing of it is kept.
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        timeout: String,
        /// How long to keep it, such as 12h or 7d; until it is released, if left out.
        #[arg(long, value_name = "DURATION")]
        lifetime: Option<String>,
        /// Free words; a cut with tags is kept until it is released.
        #[arg(long = "tag", value_name = "WORD")]
        tags: Vec<String>,
        /// Another branch than main.
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
    },
    /// Show the cuts that can be used, oldest first.
    List {
        /// Another branch than main.
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
    },
    /// Give a cut other tags.
    Tag {
        /// Its name.
        name: String,
        /// The tags; none takes all away.
        tags: Vec<String>,
    },
    /// Let a cut go; what only it needs is collected later.
    Release {
        /// Its name.
        name: String,
    },
}

impl Cut {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Create { name, aligned, timeout, lifetime, tags, branch } => {
                let mode = if aligned { CutMode::Aligned } else { CutMode::Instant };
                let lifetime = lifetime.as_deref().map(times::parse_duration).transpose()?;
                let options = CutOptions { mode, timeout: times::parse_duration(&timeout)?, lifetime, tags };
                let composite = super::look(cx, branch.as_deref()).await?;
                let begun = std::time::Instant::now();
                let cut = composite.cut(&name, &options).await?;
                let ms = begun.elapsed().as_millis();
                cx.out.say(&said(&name, &cut), || format!("cut {name} of {} nodes in {ms} ms", cut.members.len()))
            }
            Self::List { branch } => {
                let composite = super::look(cx, branch.as_deref()).await?;
                let cuts = composite.cuts().await?;
                let list: Vec<_> = cuts.iter().map(|(name, cut)| said(name, cut)).collect();
                cx.out.say_table(&json!({"cuts": list}), || {
                    let mut table = Table::new([
                        ("name", Align::Left),
                        ("taken", Align::Left),
                        ("mode", Align::Left),
                        ("nodes", Align::Right),
                        ("expires", Align::Left),
                        ("tags", Align::Left),
                    ]);
                    for (name, cut) in &cuts {
                        table.row([
                            name.clone(),
                            times::show(cut.begun),
                            mode(cut).to_owned(),
                            cut.members.len().to_string(),
                            cut.expires.map_or_else(|| "never".to_owned(), times::show),
                            cut.tags.join(", "),
                        ]);
                    }
                    table
                })
            }
            Self::Tag { name, tags } => {
                super::look(cx, None).await?.tag_cut(&name, &tags).await?;
                cx.out.say(&json!({"cut": name, "tags": tags}), || format!("cut {name} has {} tags", tags.len()))
            }
            Self::Release { name } => {
                super::look(cx, None).await?.release_cut(&name).await?;
                cx.out.say(&json!({"released": name}), || format!("released cut {name}"))
            }
        }
    }
}

fn mode(cut: &CutState) -> &'static str {
    match cut.mode {
        CutMode::Instant => "instant",
        CutMode::Aligned => "aligned",
    }
}

fn said(name: &str, cut: &CutState) -> Value {
    json!({
        "name": name, "branch": cut.branch, "mode": mode(cut), "taken": cut.begun, "expires": cut.expires, "tags": cut.tags,
        "members": cut.members, "edges": cut.edges,
    })
}
