//! `opendata schema`.

use clap::Args;

use super::context::Context;
use crate::composition::schema::SCHEMA;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  opendata schema > opendata.schema.json

Editors that speak YAML's language server use it if the composition file begins with
  # yaml-language-server: $schema=opendata.schema.json";

/// Print the JSON schema of composition files, for editors and checkers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "a command like the others")]
    pub(super) fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        cx.out.line(SCHEMA.trim_end())?;
        cx.out.flush()
    }
}
