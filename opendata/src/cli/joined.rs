//! Commands on a joined composition: several slates, their edges, cuts and branches.
//!
//! Most of them only say something in the control log; whoever runs the nodes brings it about. None of them needs a server.

pub(super) mod at;
pub(super) mod backfill;
pub(super) mod branch;
pub(super) mod cut;
pub(super) mod edge;
pub(super) mod letters;
pub(super) mod plan;
pub(super) mod reshape;
pub(super) mod run;
pub(super) mod status;
pub(super) mod verify;
pub(super) mod wait;

use opendata_compose::{ExternalComposite, Store};
use opendata_core::{Error, Result};

use super::context::Context;

/// The composition, without owning any of its nodes.
async fn look(cx: &Context, branch: Option<&str>) -> Result<ExternalComposite> {
    let composite = describe(cx, branch)?.attach().await?;
    let state = composite.state();
    if !state.created {
        return Err(Error::not_found(
            "the composition is not there yet; make it as the file says with `opendata apply`",
        ));
    }
    state.branch(composite.branch())?;
    Ok(composite)
}

/// How to open the composition that the command line names.
fn describe(cx: &Context, branch: Option<&str>) -> Result<opendata_compose::external::Builder> {
    let composition = cx.composition()?;
    let spec = composition.joint()?;
    let root = composition.root().unwrap_or_default();
    let builder = ExternalComposite::builder(&store(cx)?, root);
    // All nodes of a file have settings of their own; what is opened here has those of the first.
    let node = spec.nodes.keys().next().map(String::as_str);
    let builder = builder.settings(composition.node(node)?.settings.clone());
    Ok(match branch {
        Some(branch) => builder.branch(branch),
        None => builder,
    })
}

fn store(cx: &Context) -> Result<Store> {
    let composition = cx.composition()?;
    let spec = composition.joint()?;
    let node = spec.nodes.keys().next().map(String::as_str);
    Ok(composition.prepare(node, cx.global.store.as_deref(), None)?.store)
}
