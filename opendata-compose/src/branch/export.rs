//! Export: a cut as a composition of its own in another store, sharing no file with this one. A fork is no backup; this is.

use std::collections::BTreeMap;

use opendata_core::slate::{At, Checkpoint, Copied};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Result};

use crate::control::{ControlLog, Cut, CutMember, MAIN, Said};
use crate::cut::checkpoint_name;
use crate::external::ExternalComposite;
use crate::spec::{Composition, NodeSpec};

/// Within this time it must be said that the cut was taken; nothing is done meanwhile.
const SAYING_MS: i64 = 60_000;

impl ExternalComposite {
    /// Copies a cut to a root of any store, row by row, and makes a composition of it there, whose edges go on where they
    /// stood in the cut. The cut is one of the new composition too, under its name, so it can be read, restored, or exported on from there.
    /// Each copy is read again and summed up before the composition is made. `progress` is told from time to time
    /// which node is copied, and how much of it. To import is to export from where the copy is.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut that can be used; `Conflict` if there is a composition or a slate in the way; `Corrupt`
    /// if a copy is not what was copied; what the stores returned.
    pub async fn export(
        &self,
        cut: &str,
        to: &Store,
        root: &str,
        mut progress: impl FnMut(&str, Copied),
    ) -> Result<BTreeMap<String, Copied>> {
        let state = self.0.control.refresh().await?;
        let found = state.committed_cut(cut)?;
        let control = ControlLog::open(to, root, &self.0.owner, &self.0.env).await?;
        if control.state().created {
            return Err(Error::conflict(format!("there is a composition at this root already, root={root}")));
        }
        let past = self.at(cut).await?;
        let (mut copied, mut nodes, mut members) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for node in found.members.keys() {
            let path = format!("{root}/{node}");
            let copied_to = past.node(node)?.copy_to(to, &path, |so_far| progress(node, so_far)).await;
            let sum = copied_to.map_err(|error| in_the_way(error, root, &path))?;
            let copy = self.0.systems.describe_any(to, &path).env(self.0.env.clone()).read(At::Latest).await?;
            if copy.checksum().await? != sum {
                return Err(Error::corrupt(format!("the copy is not what was copied, node={node}, path={path}")));
            }
            let spec = found.spec.nodes.get(node).cloned().unwrap_or_default();
            members.insert(node.clone(), self.member_of_copy(cut, to, &path, &spec).await?);
            copied.insert(node.clone(), sum);
            nodes.insert(node.clone(), path);
        }
        // Where the slates lay is no part of what the composition is.
        let plain = |(name, node): (&String, &NodeSpec)| (name.clone(), NodeSpec { path: None, ..node.clone() });
        let spec = Composition { nodes: found.spec.nodes.iter().map(plain).collect(), ..found.spec.clone() };
        let base = control.append(Said::Create).await?.next;
        let said = Said::Apply {
            branch: MAIN.to_owned(),
            spec,
            nodes,
            regenerate: BTreeMap::new(),
            generations: found.generations.clone(),
            base,
        };
        control.append(said).await?;
        self.say_cut(&control, cut, found, members).await?;
        Ok(copied)
    }

    /// Makes a copy's checkpoint of the cut that was copied. Nobody else knows of the copy yet.
    async fn member_of_copy(&self, cut: &str, to: &Store, path: &str, spec: &NodeSpec) -> Result<CutMember> {
        let described = self.0.systems.describe(to, path, spec, &self.0.settings)?.env(self.0.env.clone());
        let copy = described.must_exist().open().await?;
        let slate = copy.slate().id().to_string();
        let made = copy.slate().checkpoint(&checkpoint_name(cut), None).await;
        let closed = copy.close().await;
        let Checkpoint { name: checkpoint, position, .. } = made?;
        closed?;
        Ok(CutMember { path: path.to_owned(), slate, checkpoint, position })
    }

    /// Says in the copy's control log that the cut was taken: it was verified and pinned before anyone could write.
    async fn say_cut(
        &self,
        control: &ControlLog,
        name: &str,
        copied: &Cut,
        members: BTreeMap<String, CutMember>,
    ) -> Result<()> {
        let cut = || name.to_owned();
        let deadline = self.0.env.now().plus_ms(SAYING_MS);
        let (branch, mode) = (MAIN.to_owned(), copied.mode);
        let begin = Said::CutBegin { cut: cut(), branch, mode, deadline, expires: None, tags: copied.tags.clone() };
        control.append(begin).await?;
        for edge in copied.held.iter().cloned() {
            control.append(Said::CutHeld { cut: cut(), edge }).await?;
        }
        for (node, member) in members {
            control.append(Said::CutMember { cut: cut(), node, member }).await?;
        }
        control.append(Said::CutCommit { cut: cut(), edges: copied.edges.clone() }).await?;
        Ok(())
    }
}

/// There is no composition, so nothing speaks of what lies there.
fn in_the_way(error: Error, root: &str, path: &str) -> Error {
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    Error::conflict(format!(
        "something lies here that no composition speaks of, perhaps of an export that was broken off: delete it, or take another place, root={root}, path={path}"
    ))
    .with_source(error)
}
