//! Warnings and hints, worded as the reference words them: people and programs look for that text.

use super::Eval;
use crate::labels::{Labels, Quoted};
use crate::promql::kernel::Step;
use crate::promql::lex::Span;

/// ` for metric name "x"`, or nothing where the name is not known.
pub(super) struct Named<'a>(pub(super) &'a str);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for metric name {}", Quoted(self.0)) }
    }
}

impl Eval<'_> {
    /// A warning at a place of the query.
    pub(crate) fn warn(&self, span: Span, what: impl std::fmt::Display) {
        self.notes().warn(format!("PromQL warning: {what} ({})", span.place(self.query)));
    }

    /// Exponential and custom buckets do not mix.
    pub(super) fn warn_mixed_schemas(&self, labels: &Labels, span: Span) {
        let name = Named(labels.metric_name().unwrap_or_default());
        let what = "vector contains a mix of histograms with exponential and custom buckets schemas";
        self.warn(span, format_args!("{what}{name}"));
    }

    /// Different custom bounds were reduced to those in common.
    pub(super) fn inform_bounds(&self, step: Step, span: Span) {
        self.inform(span, format_args!("mismatched custom buckets were reconciled during {step}"));
    }

    /// Counters that contradict one another were added up.
    pub(super) fn warn_resets(&self, step: Step, span: Span) {
        self.warn(span, format_args!("conflicting counter resets during histogram {step}"));
    }

    /// A hint at a place of the query.
    pub(crate) fn inform(&self, span: Span, what: impl std::fmt::Display) {
        self.notes().inform(format!("PromQL info: {what} ({})", span.place(self.query)));
    }
}
