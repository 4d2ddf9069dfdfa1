//! Bugs that tests plant to see that they are found. In a build that is not a test there are none, and nothing of this remains.

/// Whether a bug is planted here: in tests only.
#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        crate::planted::is(crate::planted::Bug::$bug)
    };
}

/// Whether a bug is planted here: never.
#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(test)]
pub(crate) use bugs::{Bug, is, plant};

#[cfg(test)]
mod bugs {
    use std::cell::Cell;

    /// A bug that can be planted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Bug {
        /// The cursor of an edge is moved in a transaction of its own, behind the data.
        CursorApart,
        /// An instant cut makes the checkpoints of sources before those of their sinks.
        SourcesFirst,
        /// An edge reads what its source has written and may still lose.
        ReadsUndurable,
        /// The sweep aborts cuts that have not reached their deadline.
        SweepsEarly,
        /// A promotion does not see what applications wrote to instances that edges write to as well.
        DirectUnseen,
        /// A rebase numbers its transactions, and leaves out those of a number that was there.
        RebaseCounts,
        /// Edges to the outside run in forks as well.
        ForkTells,
        /// A split or a join is made of nodes whose writer goes on, where that is the process that makes it.
        CopiesUnfenced,
        /// A split or a join lets the edges of the branch begin anew, and leaves what they made.
        ForgetsCursors,
        /// A node that was retired by a split or a join that came to nothing is not opened again.
        StaysRetired,
        /// The sweep deletes what a split or a join makes before that is decided.
        SweepsUndecided,
    }

    thread_local! {
        // The simulation runs on one thread, so other tests beside it see nothing of it.
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether a bug is planted here.
    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug for as long as what is returned lives.
    pub(crate) fn plant(bug: Bug) -> Planted {
        PLANTED.set(Some(bug));
        Planted
    }

    pub(crate) struct Planted;

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
}
