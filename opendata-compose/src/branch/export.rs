//! Export: a cut as a composition of its own in another store, sharing no file with this one. A fork is no backup; this is.

use std::collections::BTreeMap;

use opendata_core::slate::{At, Copied};
use opendata_core::store::Store;
use opendata_core::{Error, Result};

use crate::control::{ControlLog, MAIN, Said};
use crate::external::ExternalComposite;
use crate::spec::{Composition, NodeSpec};

impl ExternalComposite {
    /// Copies a cut to a root of any store, row by row, and makes a composition of it there, whose edges go on where they
    /// stood in the cut. Each copy is read again and summed up before the composition is made. `progress` is told from time to time
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
        let (mut copied, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for node in found.members.keys() {
            let path = format!("{root}/{node}");
            let sum = past.node(node)?.copy_to(to, &path, |so_far| progress(node, so_far)).await?;
            let copy = self.0.systems.describe_any(to, &path).read(At::Latest).await?;
            if copy.checksum().await? != sum {
                return Err(Error::corrupt(format!("the copy is not what was copied, node={node}, path={path}")));
            }
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
        Ok(copied)
    }
}
