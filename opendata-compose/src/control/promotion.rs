//! The rules of promotions: when a fork may take the place of main, and what that changes.

use opendata_core::{Error, Result, Timestamp};

use super::entry::PromotePolicy;
use super::state::{BranchPhase, MAIN, Promotion, State};
use crate::spec::check_name;

impl State {
    pub(super) fn begin_promotion(&mut self, fork: &str, policy: PromotePolicy, deadline: Timestamp) -> Result<()> {
        if let Some(other) = &self.promotion {
            return Err(other.conflict());
        }
        if fork == MAIN {
            return Err(Error::invalid("main is main already"));
        }
        let main = self.usable(MAIN)?.nodes.clone();
        let branch = self.usable(fork)?.clone();
        // A cut from before a split or a join has other nodes than main has now.
        let whole = branch.base.as_ref().and_then(|base| self.cuts.get(&base.cut)).map(|cut| &cut.nodes);
        let covers = branch.nodes.keys().eq(main.keys());
        if !covers && !whole.is_some_and(|nodes| nodes.keys().eq(branch.nodes.keys())) {
            let nodes: Vec<_> = main.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "only a fork of all nodes can take main's place, fork={fork}, nodes=[{}]",
                nodes.join(", ")
            )));
        }
        if !covers && policy != PromotePolicy::Discard {
            return Err(Error::conflict(format!(
                "main has other nodes than the fork; all that main holds would have to be discarded, fork={fork}"
            )));
        }
        if let Some((cut, _)) = self.cuts.iter().find(|(_, cut)| cut.branch == MAIN && cut.is_open()) {
            return Err(Error::conflict(format!("a cut of main is being taken, cut={cut}")));
        }
        self.promotion = Some(Promotion { fork: fork.to_owned(), policy, deadline });
        Ok(())
    }

    pub(super) fn promotion_of(&self, fork: &str) -> Result<&Promotion> {
        let found = self.promotion.as_ref().filter(|promotion| promotion.fork == fork);
        found.ok_or_else(|| Error::conflict(format!("no promotion of this fork is under way, fork={fork}")))
    }

    /// The one entry that makes a fork main.
    pub(super) fn promote(&mut self, fork: &str, former: &str, now: Timestamp) -> Result<()> {
        check_name("branch", former)?;
        self.promotion_of(fork)?;
        self.check_new_branch(former)?;
        self.known(fork)?;
        let (Some(mut new), Some(mut old)) = (self.branches.remove(fork), self.branches.remove(MAIN)) else {
            return Err(Error::not_found(format!("no such branch, name={fork}")));
        };
        for edge in new.edges.values_mut() {
            edge.suspended = false;
        }
        old.phase = BranchPhase::Former;
        old.ceased = Some((now, self.next));
        // Whoever owned a node of main goes on with the new one.
        new.owners = std::mem::take(&mut old.owners);
        // The slates went from name to name, and with them their cuts.
        for cut in self.cuts.values_mut() {
            if cut.branch == MAIN {
                former.clone_into(&mut cut.branch);
            } else if cut.branch == fork {
                MAIN.clone_into(&mut cut.branch);
            }
        }
        for base in self.branches.values_mut().filter_map(|branch| branch.base.as_mut()).chain(new.base.as_mut()) {
            if base.branch == MAIN {
                former.clone_into(&mut base.branch);
            } else if base.branch == fork {
                MAIN.clone_into(&mut base.branch);
            }
        }
        self.branches.insert(MAIN.to_owned(), new);
        self.branches.insert(former.to_owned(), old);
        self.promoted.insert(fork.to_owned());
        self.promotion = None;
        Ok(())
    }
}
