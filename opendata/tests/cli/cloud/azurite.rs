//! Azurite, an emulator of Azure's blobs: installed once below `target/` from npm, used only after it has let one of twenty conditional puts win.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PACKAGE: &str = "azurite@3.35.0";
pub(super) const CONTAINER: &str = "opendata-tests";
const START: Duration = Duration::from_secs(60);

/// Creates the container, then puts one new blob from twenty threads on the condition that it is not there. Ends well if one won, five times over.
const PREPARE: &str = r#"
import base64, concurrent.futures, email.utils, hashlib, hmac, sys, urllib.error, urllib.request
host, container = sys.argv[1], sys.argv[2]
account = "devstoreaccount1"
key = base64.b64decode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")

def put(path, query, headers, body):
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03", **headers}
    ours = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    resource = f"/{account}/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
    length = str(len(body)) if body else ""
    kind = "application/octet-stream"
    text = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n{headers.get('If-None-Match', '')}\n\n\n{ours}{resource}"
    sign = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    url = f"http://{host}/{account}{path}" + ("?" + "&".join(f"{n}={v}" for n, v in query.items()) if query else "")
    request = urllib.request.Request(url, data=body, method="PUT")
    for name, value in {**headers, "Authorization": f"SharedKey {account}:{sign}", "Content-Type": kind}.items():
        if value:
            request.add_header(name, value)
    request.add_header("Content-Length", str(len(body)))
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        if error.code not in (409, 412):
            sys.exit(f"{url}: {error.code} {error.read()[:300]}")
        return error.code

put(f"/{container}", {"restype": "container"}, {}, b"")
for round in range(5):
    def one(client):
        body = f"put by client {client}".encode()
        return put(f"/{container}/race-{round}", {}, {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}, body)
    with concurrent.futures.ThreadPoolExecutor(20) as clients:
        won = [status for status in clients.map(one, range(20)) if status == 201]
    if len(won) != 1:
        sys.exit(f"{len(won)} clients won: this store must not hold slates")
"#;

/// A running emulator. It ends with this value.
pub(super) struct Azurite {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Azurite {
    /// Starts one for a test; none if that cannot be done here, which is said and counted.
    pub(super) fn start(test: &str) -> Option<Self> {
        match install().and_then(|script| Self::launch(&script)) {
            Ok(server) => Some(server),
            Err(error) => {
                skip(test, &format!("{PACKAGE} does not run here: {error}"));
                None
            }
        }
    }

    fn launch(script: &Path) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new("node")
            .arg(script)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--inMemoryPersistence"])
            .args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let server = Self { child, port, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START {
                return Err("it was not ready in time".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        run(Command::new("python3").args(["-c", PREPARE, &format!("127.0.0.1:{port}"), CONTAINER]))?;
        Ok(server)
    }

    /// What tells the program where it is.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
            ("AZURITE_BLOB_STORAGE_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ]
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The emulator's script. Tests run as processes side by side: one installs, the others wait.
fn install() -> Outcome<PathBuf> {
    if std::env::var("OPENDATA_AZURE").is_ok_and(|wish| wish == "off") {
        return Err("switched off by OPENDATA_AZURE=off".into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace('@', "-"));
    fs::create_dir_all(&folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    lock.lock()?;
    let script = folder.join("node_modules/azurite/dist/src/blob/main.js");
    if !folder.join("complete").exists() {
        let npm = ["install", "--no-audit", "--no-fund", "--silent", "--fetch-retries", "1", PACKAGE];
        run(Command::new("npm").args(npm).current_dir(&folder))?;
        fs::write(folder.join("complete"), PACKAGE)?;
    }
    if script.exists() { Ok(script) } else { Err("its script is not where it was".into()) }
}

fn run(command: &mut Command) -> Outcome<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.lines().last().unwrap_or("it said nothing")).into())
}

/// Says that a test is skipped, where a person sees it and where `cargo xtask test` counts it.
fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("skipped-tests");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(test.replace("::", ".")), reason).unwrap();
}
