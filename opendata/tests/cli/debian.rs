//! Real clients from Debian's packages: fetched once below `target/`, unpacked there, and never installed on the machine.
//!
//! Where no package source can be reached the tests that need them are skipped, which is said and counted.

use std::error::Error;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// Newest first: they run on older releases too.
const SUITES: [&str; 3] = ["sid", "trixie", "bookworm"];
const PACKAGES: [&str; 2] = ["prometheus", "prometheus-node-exporter"];
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// After a failed attempt nobody tries again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(600);

/// Where the programs of the packages lie; `None` if they cannot be had here, which is said and counted.
pub(super) fn programs(test: &str) -> Option<PathBuf> {
    let found = match std::env::var("OPENDATA_DEBIAN") {
        Ok(wish) if wish == "off" => Err("switched off by OPENDATA_DEBIAN=off".into()),
        _ => fetched(),
    };
    found.map_err(|reason| skip(test, &format!("Debian's packages cannot be fetched: {reason}"))).ok()
}

fn fetched() -> Result<PathBuf, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    fs::create_dir_all(&folder)?;
    // Tests run as processes side by side: one fetches, the others wait for it.
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    lock.lock()?;
    let (complete, failed, root) = (folder.join("complete"), folder.join("failed"), folder.join("root"));
    let programs = root.join("usr/bin");
    if complete.exists() {
        return Ok(programs);
    }
    let recent = |at: SystemTime| at.elapsed().is_ok_and(|since| since < TRY_AGAIN);
    if fs::metadata(&failed).and_then(|data| data.modified()).is_ok_and(recent) {
        return Err(fs::read_to_string(&failed)?.into());
    }
    let mut reasons = Vec::new();
    for suite in SUITES {
        match fetch(&folder.join(suite), suite, &root) {
            Ok(names) => {
                fs::write(&complete, names)?;
                return Ok(programs);
            }
            Err(reason) => reasons.push(format!("{suite}: {reason}")),
        }
    }
    fs::write(&failed, reasons.join("; "))?;
    Err(reasons.join("; ").into())
}

/// Downloads the packages of a suite and unpacks them.
fn fetch(state: &Path, suite: &str, root: &Path) -> Result<String, Box<dyn Error>> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(folder))?;
    }
    let mirror = mirror().ok_or("this machine's package sources name no mirror of Debian")?;
    let source = format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
    fs::write(state.join("sources.list"), source)?;
    let at = |name: &str, place: &str| format!("{name}={}", state.join(place).display());
    let options = [
        at("Dir::Etc::SourceList", "sources.list"),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        at("Dir::State::Lists", "lists"),
        at("Dir::Cache", "cache"),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Retries=1".to_owned(),
        "Acquire::http::Timeout=20".to_owned(),
    ];
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-q").args(options.iter().flat_map(|option| ["-o", option])).args(args).current_dir(state);
        run(&mut command)
    };
    apt(&["update"])?;
    apt(&[&["download"], &PACKAGES[..]].concat())?;
    // Older suites have it in the package of Prometheus itself.
    let _ = apt(&["download", "promtool"]);
    let mut names = Vec::new();
    for entry in fs::read_dir(state)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(root))?;
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    match ["prometheus", "promtool", "prometheus-node-exporter"]
        .iter()
        .find(|name| !root.join("usr/bin").join(name).is_file())
    {
        None => Ok(names.join("\n")),
        Some(missing) => Err(format!("{missing} is in none of the packages").into()),
    }
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("it said nothing").to_owned().into())
}

/// Says that a test is skipped, where a person sees it and where `cargo xtask test` counts it.
fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("skipped-tests");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(test.replace("::", ".")), reason).unwrap();
}

/// A port that was free just now.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that runs beside the test, and is ended with it.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(super) fn start(program: &Path, args: &[String], log: PathBuf) -> Self {
        let out = File::create(&log).unwrap();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: command.spawn().unwrap(), log }
    }

    /// What it said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where this machine gets Debian's packages from, as its own sources say.
fn mirror() -> Option<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let used = parts.filter(|path| path.extension().is_some_and(|end| end == "list" || end == "sources"));
    let files = std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(used);
    let lines: Vec<String> = files
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let said = lines.iter().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut urls = said.flat_map(|line| line.split_whitespace()).filter(|word| word.starts_with("http"));
    urls.find(|url| url.trim_end_matches('/').ends_with("/debian")).map(str::to_owned)
}
