//! Verifying the edges of a branch, as they stand now or stood in a cut.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::slate::{At, SlateReader, View};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Result};

use super::ExternalComposite;
use crate::edge::EdgeSpec;
use crate::edge::verify::{self, EdgeReport, Options, Others, Subject, Tell};

/// What is verified, and how.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// These edges; all, if none is named.
    pub edges: Vec<String>,
    /// As they stood in this cut; now, if none.
    pub at: Option<String>,
    /// Who else may write into the instances that edges write to.
    pub others: Others,
    /// Where what edges made is made again, to be thrown away afterwards by whoever gave it; in memory, if none.
    pub scratch: Option<Store>,
}

impl ExternalComposite {
    /// Makes again what edges must have made of their sources, and compares it with what their sinks hold: rows, windows, letters and counts. It reads the
    /// stores only and disturbs nobody; edges may run meanwhile, since everything is looked at where one view of the sink stands. The reports say
    /// for each edge whether both agree, the first difference, and what could not be verified.
    ///
    /// # Errors
    /// `NotFound` if there is no such edge or cut; what the stores returned. A difference is no error.
    pub async fn verify(&self, options: &VerifyOptions, tell: Tell<'_>) -> Result<Vec<EdgeReport>> {
        let state = self.0.control.refresh().await?;
        let cut = options.at.as_ref().map(|cut| state.committed_cut(cut)).transpose()?;
        let branch = state.branch(&self.0.branch)?;
        let spec = cut.map_or(&branch.spec, |cut| &cut.spec);
        for wanted in &options.edges {
            spec.find_edge(wanted)?;
        }
        let is_wanted = |edge: &EdgeSpec| options.edges.is_empty() || options.edges.contains(&edge.id);
        let sinks: Vec<_> = spec.edges.iter().filter(|edge| is_wanted(edge)).map(|edge| &edge.to).collect();
        // Of rows that another edge makes nothing could be said without it.
        let looked_at = |edge: &&EdgeSpec| is_wanted(edge) || (!edge.to.is_external() && sinks.contains(&&edge.to));
        let edges: Vec<&EdgeSpec> = spec.edges.iter().filter(looked_at).collect();
        let open = async |nodes: BTreeSet<&str>| -> Result<BTreeMap<String, SlateReader>> {
            let mut readers = BTreeMap::new();
            for node in nodes {
                let reader = match cut {
                    Some(cut) => {
                        let member = cut.members.get(node);
                        let member =
                            member.ok_or_else(|| Error::not_found(format!("the cut has no such node, node={node}")))?;
                        let described = self.0.reading(&member.path);
                        described.read(At::Checkpoint(member.checkpoint.clone())).await
                    }
                    None => self.reader(node).await,
                };
                match reader {
                    Ok(reader) => drop(readers.insert(node.to_owned(), reader)),
                    // It was never opened: nothing ran there.
                    Err(error) if error.kind() == ErrorKind::NotFound && cut.is_none() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(readers)
        };
        // Sinks before sources: what a sink has seen, its source shows then.
        let keepers = open(edges.iter().map(|edge| edge.runs_on()).collect()).await?;
        let sources = open(edges.iter().map(|edge| edge.from.node.as_str()).collect()).await?;
        let view = |readers: &BTreeMap<String, SlateReader>, node: &str| -> Option<View> {
            readers.get(node).map(SlateReader::view)
        };
        let mut subjects = Vec::new();
        let mut reports = Vec::new();
        for edge in edges {
            match (view(&sources, &edge.from.node), view(&keepers, edge.runs_on())) {
                (Some(source), Some(sink)) => {
                    subjects.push(Subject { spec: edge.clone(), transform: None, source, sink });
                }
                _ => reports.push(EdgeReport::never_ran(edge)),
            }
        }
        let mut how = Options { others: options.others, ..Options::in_memory()? };
        if let Some(scratch) = &options.scratch {
            how.scratch = scratch.clone();
        }
        reports.extend(verify::verify(&subjects, &how, tell).await?);
        reports.retain(|report| spec.edge(&report.edge).is_some_and(is_wanted));
        reports.sort_by_key(|report| spec.edges.iter().position(|edge| edge.id == report.edge));
        Ok(reports)
    }
}
