//! An S3 server of our own: installed once below `target/`, started on a free port of the loopback, ended by its id.
//!
//! - A server is used only after it has passed a race of conditional puts: SlateDB's fencing rests on them, and several
//!   popular emulators let more than one writer win.
//! - The server ends with this process, however that ends: it watches its standard input, which closes with us.
//! - No answer is waited for without end.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, RetryConfig};
use opendata_core::store::{Store, StoreKind};

use super::race;

/// The version whose behaviour was looked at. Another one may win no race.
const PACKAGE: &str = "ministack==1.5.33";
const BUCKET: &str = "opendata-tests";
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);
/// After a failed installation nobody tries again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(600);

/// Runs the server in this interpreter and ends it when standard input closes.
const RUN: &str = "
import os, sys, threading

def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=end_with_parent, daemon=True).start()
sys.argv = ['ministack']
from ministack.app import main
main()
";

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A running server with an empty bucket.
pub(crate) struct Server {
    python: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Server {
    /// Starts a server for a test; `None` if that cannot be done here, which is said and counted.
    pub(crate) async fn start(test: &str) -> Outcome<Option<Self>> {
        match installed() {
            Err(reason) => {
                skip(test, &reason)?;
                Ok(None)
            }
            Ok(python) => {
                let server = Self::launch(python)?;
                race::check(&server, 5).await?;
                Ok(Some(server))
            }
        }
    }

    fn launch(python: PathBuf) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("s3-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Another process may take the port between our look and the server's start; then the server ends at once.
        let mut last = None;
        for _ in 0..3 {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let child = spawn(&python, folder.path(), port)?;
            let mut server = Self { python: python.clone(), folder, port, child };
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
            server.kill()?;
            folder = server.into_folder()?;
        }
        Err(last.unwrap_or_else(|| "no attempt was made".into()))
    }
}
