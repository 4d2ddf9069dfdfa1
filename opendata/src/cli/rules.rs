//! `opendata rules check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use crate::failure::Failure;
use crate::rules::file::{self, Kind};

const EXAMPLES: &str = "\
Examples:
  opendata rules check alerts.yml
  opendata rules check rules/*.yml --json";

/// Recording and alerting rules.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Rules {
    Check(Check),
}

/// Read files of rules, and say what is wrong with them: words, queries and templates.
///
/// The first file that is wrong ends it, with exit code 3.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Rules {
    pub(super) fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Self::Check(Check { files }) = self;
        for file in files {
            let groups = file::read(&file)?;
            let rules = || groups.iter().flat_map(|group| &group.rules);
            let recording = rules().filter(|rule| matches!(rule.kind, Kind::Recording)).count();
            let alerting = rules().count() - recording;
            let (name, count) = (file.display(), groups.len());
            let answer =
                json!({"file": name.to_string(), "groups": count, "recording": recording, "alerting": alerting});
            cx.out.say(&answer, || {
                format!("{name}: in order, {count} groups, {recording} recording and {alerting} alerting rules")
            })?;
        }
        Ok(())
    }
}
