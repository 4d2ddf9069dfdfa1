//! The peers: installed from Debian's packages, started on loopback, ended by the process that was started.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use opendata_tsdb::Labels;

use super::http::{self, Client};
use super::remote;

/// Newest first: they run on older releases too.
const SUITES: [&str; 3] = ["sid", "trixie", "bookworm"];
const PACKAGES: [&str; 3] = ["prometheus", "victoria-metrics", "prometheus-node-exporter"];
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What could be installed.
pub(crate) struct Installed {
    pub(crate) folder: PathBuf,
    pub(crate) prometheus: Option<PathBuf>,
    pub(crate) victoria: Option<PathBuf>,
    pub(crate) exporter: Option<PathBuf>,
}

/// Installs the peers below `target/bench-tsdb` if they are not there yet.
pub(crate) fn install() -> Option<Installed> {
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
    let folder = target.join("bench-tsdb");
    let root = folder.join("root");
    if !root.join("usr/bin").is_dir() && !SUITES.iter().any(|suite| fetch(&folder, suite, &root)) {
        println!("no peers: Debian's packages could not be fetched; going on without them");
        return None;
    }
    let found = |name: &str| Some(root.join("usr/bin").join(name)).filter(|path| path.is_file());
    let installed = Installed {
        prometheus: found("prometheus"),
        victoria: found("victoria-metrics"),
        exporter: found("prometheus-node-exporter"),
        folder,
    };
    std::fs::create_dir_all(installed.folder.join("recording")).ok()?;
    let versions = std::fs::read_to_string(root.join("versions")).unwrap_or_default();
    println!("peers: {}", versions.trim());
    Some(installed)
}

/// Where this machine gets Debian's packages from, as its own sources say.
fn mirror() -> Option<String> {
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let used = parts.filter(|path| path.extension().is_some_and(|end| end == "list" || end == "sources"));
    let files = std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(used);
    let lines: Vec<String> = files
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let said = lines.iter().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut urls = said.flat_map(|line| line.split_whitespace()).filter(|word| word.starts_with("http"));
    urls.find(|url| url.trim_end_matches('/').ends_with("/debian")).map(str::to_owned)
}

/// Downloads the packages of a suite and unpacks them, without touching the machine's own packages.
fn fetch(folder: &Path, suite: &str, root: &Path) -> bool {
    let state = folder.join(suite);
    let made =
        ["lists/partial", "cache/archives/partial"].iter().all(|dir| std::fs::create_dir_all(state.join(dir)).is_ok());
    let Some(mirror) = mirror() else { return false };
    let source = format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
    if !made || std::fs::write(state.join("sources.list"), source).is_err() {
        return false;
    }
    println!("fetching peers from Debian {suite}");
    let option = |name: &str, dir: &str| format!("{name}={}", state.join(dir).display());
    let apt = |args: &[&str]| {
        let options = [
            option("Dir::Etc::SourceList", "sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            option("Dir::State::Lists", "lists"),
            option("Dir::Cache", "cache"),
            "Acquire::Languages=none".to_owned(),
        ];
        let mut command = Command::new("apt-get");
        command.arg("-q").args(options.iter().flat_map(|option| ["-o", option])).args(args).current_dir(&state);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !apt(&["update"]) || !PACKAGES.iter().all(|package| apt(&["download", package])) {
        return false;
    }
    let archives = std::fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path());
    let archives: Vec<_> = archives.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    let unpack =
        |archive: &PathBuf| Command::new("dpkg").arg("-x").arg(archive).arg(root).status().is_ok_and(|s| s.success());
    let names: Vec<_> = archives.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    archives.iter().all(unpack) && std::fs::write(root.join("versions"), format!("{}\n", names.join(", "))).is_ok()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(program: &Path, args: &[&str], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that takes remote write and answers queries.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    /// What stands before `/api/v1`.
    pub(crate) prefix: String,
    pub(crate) dir: PathBuf,
    /// Ends the server when it is dropped.
    pub(crate) _process: Process,
}

/// Starts the peers that are installed, empty.
pub(crate) fn start(installed: Option<&Installed>, dir: &Path) -> Vec<Peer> {
    let Some(installed) = installed else { return Vec::new() };
    let prometheus = installed.prometheus.as_ref().map(|program| prometheus(program, &dir.join("prometheus")));
    let victoria = installed.victoria.as_ref().map(|program| victoria(program, &dir.join("victoria")));
    [prometheus, victoria].into_iter().flatten().flatten().collect()
}

fn fresh(dir: &Path) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
}

fn prometheus(program: &Path, dir: &Path) -> Option<Peer> {
    fresh(dir);
    std::fs::write(dir.join("prometheus.yml"), "global:\n  scrape_interval: 1h\n").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
        "--web.enable-admin-api".to_owned(),
        "--query.max-samples=1000000000".to_owned(),
        "--log.level=warn".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let process = Process::start(program, &args, &dir.join("log"));
    let ready = http::wait_until_ready(&address, "/-/ready");
    ready.then(|| Peer { name: "prometheus", address, prefix: String::new(), dir: dir.join("data"), _process: process })
}

fn victoria(program: &Path, dir: &Path) -> Option<Peer> {
    fresh(dir);
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        format!("-storageDataPath={}", dir.join("data").display()),
        format!("-httpListenAddr={address}"),
        "-retentionPeriod=12".to_owned(),
        "-search.latencyOffset=0s".to_owned(),
        "-search.maxSamplesPerQuery=1000000000".to_owned(),
        "-search.maxUniqueTimeseries=2000000".to_owned(),
        "-loggerLevel=WARN".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let process = Process::start(program, &args, &dir.join("log"));
    let ready = http::wait_until_ready(&address, "/health");
    ready.then(|| Peer { name: "victoria", address, prefix: String::new(), dir: dir.join("data"), _process: process })
}

impl Peer {
    /// Sends bodies of remote write over two connections, each in its order.
    pub(crate) fn send(&self, lanes: &[Vec<Vec<u8>>]) {
        let head = format!("POST {}/api/v1/write", self.prefix);
        let send = |bodies: &[Vec<u8>]| {
            let mut client = Client::connect(&self.address).unwrap();
            for body in bodies {
                let (status, answer) = client.send(&head, remote::HEADERS, body).unwrap();
                assert_eq!(status / 100, 2, "{}: {status} {answer}", self.name);
            }
        };
        std::thread::scope(|scope| {
            for lane in lanes {
                scope.spawn(|| send(lane));
            }
        });
        if self.name == "victoria" {
            http::get(&self.address, "/internal/force_flush").unwrap();
        }
    }

    /// Sends `value(series, step)` at every step for every series.
    pub(crate) fn feed(&self, series: &[Labels], times: &[i64], value: impl Fn(usize, usize) -> f64 + Sync) {
        const STEPS: usize = 20;
        for (block, times) in times.chunks(STEPS).enumerate() {
            let lane = |from: usize| {
                let bodies = series.chunks(500).enumerate().skip(from).step_by(2);
                bodies.map(|(at, part)| {
                    let rows: Vec<Vec<(i64, f64)>> = (0..part.len())
                        .map(|n| {
                            let samples = times.iter().enumerate();
                            samples.map(|(i, time)| (*time, value(at * 500 + n, block * STEPS + i))).collect()
                        })
                        .collect();
                    remote::body(part.iter().zip(rows.iter().map(Vec::as_slice)))
                })
            };
            self.send(&[lane(0).collect(), lane(1).collect()]);
        }
    }

    /// The answer to a request of the query API.
    pub(crate) fn ask(&self, client: &mut Client, path: &str) -> String {
        let cache = if self.name == "victoria" { "&nocache=1" } else { "" };
        let head = format!("GET {}/api/v1/{path}{cache}", self.prefix);
        let mut answer = client.send(&head, "", &[]).unwrap_or_default();
        if answer.0 == 0 {
            // A server ends connections of some age.
            *client = Client::connect(&self.address).unwrap();
            answer = client.send(&head, "", &[]).unwrap();
        }
        let (status, body) = answer;
        assert_eq!(status, 200, "{}: {body}", self.name);
        body
    }
}
