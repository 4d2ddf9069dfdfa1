//! Programs of others, installed once below `target/`: from Debian's packages, unpacked without touching the system, and from
//! Python's. Where that cannot be done a test says that it is skipped, and is counted.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// After a failed installation nobody tries again for so long.
const TRY_AGAIN: Duration = Duration::from_secs(600);

/// A folder with what Debian's package holds; or none, which is said and counted.
pub(crate) fn debian(test: &str, package: &str) -> Option<PathBuf> {
    let installed = install(&format!("deb-{package}"), |folder| {
        run(Command::new("apt-get").args(["-qq", "download", package]).current_dir(folder))?;
        let archive = fs::read_dir(folder)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .ok_or("nothing was downloaded")?;
        run(Command::new("dpkg").arg("-x").arg(archive).arg(folder.join("root")))
    });
    or_skip(test, package, installed.map(|folder| folder.join("root")))
}

/// The interpreter of an environment with Python's packages; or none, which is said and counted.
pub(crate) fn python(test: &str, name: &str, packages: &[&str]) -> Option<PathBuf> {
    let installed = install(&format!("python-{name}"), |folder| {
        let venv = folder.join("venv");
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"];
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(venv.join("bin/python")).args(pip).args(packages))
    });
    or_skip(test, name, installed.map(|folder| folder.join("venv/bin/python")))
}

/// A folder that was filled once. Tests run as processes side by side: one fills it, the others wait.
fn install(name: &str, fill: impl FnOnce(&Path) -> Outcome<()>) -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    lock.lock()?;
    let (complete, failed) = (folder.join("complete"), folder.join("failed"));
    if complete.exists() {
        return Ok(folder);
    }
    let recent = |at: SystemTime| at.elapsed().is_ok_and(|since| since < TRY_AGAIN);
    if fs::metadata(&failed).and_then(|data| data.modified()).is_ok_and(recent) {
        return Err(fs::read_to_string(&failed)?.into());
    }
    match fill(&folder) {
        Ok(()) => {
            fs::write(&complete, name)?;
            Ok(folder)
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

fn or_skip(test: &str, what: &str, installed: Outcome<PathBuf>) -> Option<PathBuf> {
    installed.map_err(|error| skip(test, &format!("{what} cannot be installed: {error}"))).ok()
}

/// Says that a test is skipped, where a person sees it and where `cargo xtask test` counts it.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("skipped-tests");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(test.replace("::", ".")), reason).unwrap();
}
