//! `opendata init`.

use std::io::Write;

use clap::Args;
use opendata_core::Error;
use serde_json::json;

use super::context::Context;
use crate::composition::{Composition, Creation, template};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  opendata init                                        ./opendata.yaml, data in ./data
  opendata init --name billing --store s3://bucket/prod
  opendata -f prod/opendata.yaml init";

/// Write a commented composition file, and make its slate: an event log `events` and a time series database `usage`.
///
/// Nothing is ever overwritten: where the file, or a slate, is there already, it is a conflict (exit code 5).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The node's name, and its path in the store.
    #[arg(long, default_value = "main", value_name = "NAME")]
    name: String,
}

impl Init {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        cx.without_server("init")?;
        if cx.global.path.is_some() || cx.global.node.is_some() {
            return Err(Error::invalid("init makes a new node: name it with --name").into());
        }
        let file = cx.global.file.clone();
        let store = cx.global.store.as_deref().unwrap_or("file:./data");
        let text = template::render(store, &self.name);
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let composition = Composition::parse(&text, "the new file", folder.unwrap_or(std::path::Path::new(".")))?;
        if file.exists() {
            return Err(taken(&file));
        }
        // The slate first: a file that names a store that cannot be reached is of no use.
        let node = composition.prepare(None, None, None)?;
        if node.read(opendata_core::slate::At::Latest).await.is_ok() {
            let path = &node.node.path;
            return Err(
                Error::conflict(format!("there is a slate at this path already, store={store}, path={path}")).into()
            );
        }
        let composite = node.write(Creation::Create).await?;
        let slate_id = composite.slate().id();
        composite.close().await?;
        write_new(&file, folder, &text)?;
        let answer = json!({"file": file.display().to_string(), "node": self.name, "slate_id": slate_id.to_string()});
        cx.out.say(&answer, || {
            format!(
                "wrote {} and made the slate `{}` in {store}\ntry: opendata log append greetings 'hello' && opendata log scan --all",
                file.display(),
                self.name
            )
        })
    }
}

fn write_new(file: &std::path::Path, folder: Option<&std::path::Path>, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::Machine(format!("file cannot be written, file={}", file.display()), error);
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut new = match std::fs::File::create_new(file) {
        Ok(new) => new,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(taken(file)),
        Err(error) => return Err(failed(error)),
    };
    new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).map_err(failed)
}

fn taken(file: &std::path::Path) -> Failure {
    Error::conflict(format!("the file is there already and is not overwritten, file={}", file.display())).into()
}
