//! `opendata validate | plan | apply`.

use clap::Args;
use opendata_compose::plan::{OnChange, Plan};
use opendata_compose::systems::Systems;
use serde_json::{Value, json};

use super::super::context::Context;
use crate::failure::Failure;

/// Check the composition file: names, settings, edges, and the guarantee that follows for each.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata validate\n  opendata validate --file staging.yaml --json")]
pub(in crate::cli) struct Validate {}

impl Validate {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composition = cx.composition()?;
        if !composition.is_joined() {
            return cx
                .out
                .say(&json!({"valid": true, "edges": []}), || "the composition is valid: one slate".to_owned());
        }
        let spec = composition.joint()?;
        Systems::default().validate(&spec)?;
        let edges: Vec<Value> =
            spec.edges.iter().map(|edge| json!({"edge": edge.id, "guarantee": edge.guarantee()})).collect();
        let said = json!({"valid": true, "edges": edges});
        cx.out.say(&said, || {
            let mut lines = vec![format!("the composition is valid: {} nodes", spec.nodes.len())];
            lines.extend(spec.edges.iter().map(|edge| format!("edge {}: {}", edge.id, edge.guarantee())));
            lines.join("\n")
        })
    }
}

const EXAMPLES: &str = "\
Examples:
  opendata plan                      what would change
  opendata apply                     change it
  opendata apply --allow-loss        also if something stored is given up
  opendata apply --rebuild           edges that make something else read their source again from the start";

/// Show what making the composition as the file says would change, and change nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PlanIt {
    #[command(flatten)]
    how: How,
}

/// Make the composition as the file says: one entry in its control log. What runs its nodes brings it about.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Apply {
    #[command(flatten)]
    how: How,
    /// Allow changes that give up stored state.
    #[arg(long)]
    allow_loss: bool,
}

#[derive(Debug, Args)]
struct How {
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Let edges that make something else of their records read their source again from the start.
    #[arg(long)]
    rebuild: bool,
}

impl How {
    async fn plan(&self, cx: &Context) -> Result<(opendata_compose::ExternalComposite, Plan), Failure> {
        let spec = cx.composition()?.joint()?;
        let composite = super::describe(cx, self.branch.as_deref())?.attach().await?;
        let on_change = if self.rebuild { OnChange::Rebuild } else { OnChange::GoOn };
        let plan = composite.plan_with(&spec, on_change).await?;
        Ok((composite, plan))
    }
}

fn said(plan: &Plan, applied: bool) -> Value {
    json!({"changes": plan.changes, "loses_state": plan.loses_state(), "applied": applied})
}

impl PlanIt {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let (_, plan) = self.how.plan(cx).await?;
        cx.out.say(&said(&plan, false), || plan.to_string())
    }
}

impl Apply {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let (composite, plan) = self.how.plan(cx).await?;
        let plan = if self.allow_loss { plan.allow_loss() } else { plan };
        composite.apply(&plan).await?;
        cx.out.say(&said(&plan, true), || match plan.is_empty() {
            true => "nothing to change".to_owned(),
            false => format!("{plan}\napplied"),
        })
    }
}
