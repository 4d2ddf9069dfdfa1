//! What the tests stand on: a folder, the binary, a running server, and the smallest client of HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a composition, and the program in it.
pub(super) struct Place {
    folder: TempDir,
    /// What is in the program's environment beside what is in ours.
    environment: Vec<(String, String)>,
}

/// How a run of the program ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Place {
    /// An empty folder.
    pub(super) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// The same with variables in the program's environment.
    pub(super) fn with_environment(mut self, environment: &[(&str, &str)]) -> Self {
        self.environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self
    }

    /// A folder with what `opendata init` makes.
    pub(super) fn new() -> Self {
        let place = Self::empty();
        place.ok(&["init"]);
        place
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opendata"));
        command.args(args).current_dir(self.folder.path());
        for name in ["FILE", "STORE", "NODE", "SERVER", "LOG", "LISTEN", "OWNER"] {
            command.env_remove(format!("OPENDATA_{name}"));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, b"")
    }

    pub(super) fn run_with(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || {
            // A program that does not want its input may close it.
            let _ = stdin.write_all(&input);
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        Ended {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs a command and kills it after a while, if it has not ended by then.
    pub(super) fn kill_after(&self, after: Duration, args: &[&str]) {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Runs a command that must succeed, and returns its output.
    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.out, ended.err);
        ended.out
    }

    /// Runs a command that must succeed with `--json`, and returns each document.
    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> Vec<Value> {
        let out = self.ok(&[&["--json"], args].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that must fail with this code, and returns what it says.
    #[track_caller]
    pub(super) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "{args:?}: {}{}", ended.out, ended.err);
        assert_eq!(ended.out, "", "{args:?}");
        ended.err
    }

    /// The payloads of a stream.
    #[track_caller]
    pub(super) fn payloads(&self, args: &[&str]) -> Vec<String> {
        let records = self.json(&[&["log", "scan"], args].concat());
        records.iter().map(|record| record["payload"].as_str().unwrap().to_owned()).collect()
    }

    /// Starts the server on a free port and waits until it serves.
    pub(super) fn serve(&self) -> Server {
        let (child, said) = self.start(&["--json", "run", "--listen", "127.0.0.1:0"]);
        Server { child: Some(child), url: said["listening"].as_str().unwrap().to_owned() }
    }

    /// Starts a process that owns nodes of a joined composition, one of which is served at `url`.
    pub(super) fn own(&self, args: &[&str], url: &str) -> Server {
        let (child, _) = self.start(&[&["--json", "run"], args].concat());
        Server { child: Some(child), url: url.to_owned() }
    }

    /// Starts the program and waits until it says its first line.
    fn start(&self, args: &[&str]) -> (Child, Value) {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("the program does not run: {err}")
        });
        (child, said)
    }
}

/// A running server. It is killed if the test forgets it.
pub(super) struct Server {
    /// None: somebody else started it.
    child: Option<Child>,
    pub(super) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    /// Another program's server on this machine.
    pub(super) fn elsewhere(port: u16) -> Self {
        Self { child: None, url: format!("http://127.0.0.1:{port}") }
    }

    /// Ends it without warning, as `kill -9` does.
    pub(super) fn kill(mut self) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Tells it to end, and returns its exit code.
    pub(super) fn terminate(self) -> i32 {
        let told =
            Command::new("kill").args(["-TERM", &self.child.as_ref().unwrap().id().to_string()]).status().unwrap();
        assert!(told.success());
        self.wait()
    }

    /// Tells it to end, and returns what it said of itself while it ran and ended.
    pub(super) fn last_words(mut self) -> String {
        let mut stderr = self.child.as_mut().unwrap().stderr.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut words = String::new();
            stderr.read_to_string(&mut words).map(|_| words)
        });
        assert_eq!(self.terminate(), 0);
        reading.join().unwrap().unwrap()
    }

    /// Waits for its end, and returns its exit code.
    pub(super) fn wait(mut self) -> i32 {
        self.child.as_mut().unwrap().wait().unwrap().code().unwrap_or(-1)
    }

    /// Whether somebody listens.
    pub(super) fn try_connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap())
    }

    pub(super) fn connect(&self) -> TcpStream {
        let connection = self.try_connect().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        connection
    }

    /// Sends a request and reads the whole answer: its status and its body.
    #[track_caller]
    pub(super) fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let (status, _, body) = self.exchange(method, path, headers, body);
        (status, String::from_utf8(body).unwrap())
    }

    /// Sends a request and reads the whole answer: its status, its head in lower case, and its body as it comes.
    #[track_caller]
    pub(super) fn exchange(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut connection = self.connect();
        let length = body.len();
        let host = self.url.strip_prefix("http://").unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        // A body that is refused early may find the connection closed.
        let _ = connection.write_all(body);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    /// A request that must succeed and answers JSON.
    #[track_caller]
    pub(super) fn json(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, answer) = self.request(method, path, "", body.as_bytes());
        assert_eq!(status, 200, "{method} {path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// A request that must fail: its status, and the kind of the error.
    #[track_caller]
    pub(super) fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.request(method, path, "", body.as_bytes());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        (status, answer["error"]["kind"].as_str().unwrap().to_owned())
    }
}
