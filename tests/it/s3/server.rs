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
pub(crate) const BUCKET: &str = "opendata-tests";
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
                race::check(&server, race::START).await?;
                Ok(Some(server))
            }
        }
    }

    fn launch(python: PathBuf) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("s3-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut attempts = 0;
        loop {
            // Between our look and the server's start another process may take the port: then the server ends at once.
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            attempts += 1;
            match spawn(&python, folder.path(), port) {
                Ok(child) => return Ok(Self { python, folder, port, child }),
                Err(error) if attempts == 3 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The bucket, through the same client the slate uses, with retries that end soon.
    pub(crate) fn bucket(&self) -> Outcome<AmazonS3> {
        let retry = RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(5), ..RetryConfig::default() };
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(10)))
            .with_retry(retry)
            .build()?;
        Ok(store)
    }

    /// The bucket as a store for slates.
    pub(crate) fn store(&self) -> Outcome<Store> {
        Ok(Store::new(Arc::new(self.bucket()?), StoreKind::Remote))
    }

    /// Ends the server without warning. What it acknowledged is on its disk.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again with the same data on the same port.
    pub(crate) fn restart(&mut self) -> Outcome<()> {
        self.child = spawn(&self.python, self.folder.path(), self.port)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server and waits until its bucket is there.
fn spawn(python: &Path, folder: &Path, port: u16) -> Outcome<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut child = Command::new(python)
        .args(["-c", RUN])
        .current_dir(folder)
        .envs([("BIND_HOST", "127.0.0.1"), ("S3_PERSIST", "1"), ("SERVICES", "s3"), ("LOG_LEVEL", "WARNING")])
        .env("GATEWAY_PORT", port.to_string())
        .env("S3_DATA_DIR", folder.join("data"))
        .env("TMPDIR", folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let begun = Instant::now();
    let reason = loop {
        if create_bucket(port).is_ok_and(|answer| answer.contains(" 200 ") || answer.contains(" 409 ")) {
            return Ok(child);
        }
        if let Some(status) = child.try_wait()? {
            break format!("it ended with {status}");
        }
        if begun.elapsed() > START {
            break format!("it was not ready after {} s", START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    Err(format!("the S3 server did not start: {reason}\n{log}").into())
}

/// Creates the bucket, also if it is there already, and returns the first line of the answer.
fn create_bucket(port: u16) -> Outcome<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        connection,
        "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// The interpreter of an environment that holds the server, made if it is not there; or why there is none.
fn installed() -> Result<PathBuf, String> {
    if std::env::var("OPENDATA_S3").is_ok_and(|wish| wish == "off") {
        return Err("switched off by OPENDATA_S3=off".to_owned());
    }
    install().map_err(|error| format!("{PACKAGE} cannot be installed: {error}"))
}

fn install() -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace("==", "-"));
    fs::create_dir_all(&folder)?;
    // Tests run as processes side by side: one installs, the others wait for it.
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    lock.lock()?;
    let (python, complete, failed) = (folder.join("venv/bin/python"), folder.join("complete"), folder.join("failed"));
    if complete.exists() {
        return Ok(python);
    }
    let recent = |at: SystemTime| at.elapsed().is_ok_and(|since| since < TRY_AGAIN);
    if fs::metadata(&failed).and_then(|data| data.modified()).is_ok_and(recent) {
        return Err(fs::read_to_string(&failed)?.into());
    }
    let venv = folder.join("venv");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"];
    let done = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .and_then(|()| run(Command::new(&python).args(pip).arg(PACKAGE)));
    match done {
        Ok(()) => {
            fs::write(&complete, PACKAGE)?;
            Ok(python)
        }
        Err(error) => {
            fs::write(&failed, error.to_string())?;
            Err(error)
        }
    }
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("it said nothing").to_owned().into())
}

/// Says that a test is skipped, where a person sees it and where `cargo xtask test` counts it.
fn skip(test: &str, reason: &str) -> Outcome<()> {
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}")?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target folder")?;
    let folder = target.join("skipped-tests");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(test.replace("::", ".")), reason)?;
    Ok(())
}
