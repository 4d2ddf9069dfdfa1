//! The real program: commands that answer, and processes that own nodes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;

/// The program in a folder with a composition file.
pub(crate) struct Program {
    binary: PathBuf,
    folder: PathBuf,
    /// Where the events are served.
    pub(crate) address: String,
}

impl Program {
    /// Writes the composition file of `examples` into a folder, with a port that is free.
    pub(crate) fn new(folder: &Path) -> Outcome<Self> {
        // Beside the examples' folder, as cargo builds both.
        let example = std::env::current_exe()?;
        let target = example.parent().and_then(Path::parent).ok_or("no folder of what was built")?;
        let binary = target.join(format!("opendata{}", std::env::consts::EXE_SUFFIX));
        if !binary.is_file() {
            return Err(format!("the program is not built: {}", binary.display()).into());
        }
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let program = Self { binary, folder: folder.to_owned(), address };
        program.write_file(|text| text.to_owned())?;
        Ok(program)
    }

    /// Writes the composition file anew, with a change.
    pub(crate) fn write_file(&self, change: impl Fn(&str) -> String) -> Outcome<()> {
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/pipelines.yaml");
        let text = std::fs::read_to_string(example)?;
        let text = text.replace("file:../pipelines-data", "file:./data").replace("127.0.0.1:8081", &self.address);
        Ok(std::fs::write(self.folder.join("opendata.yaml"), change(&text))?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(&self.folder);
        for name in ["FILE", "STORE", "NODE", "SERVER", "LOG", "LISTEN", "OWNER"] {
            command.env_remove(format!("OPENDATA_{name}"));
        }
        command
    }

    /// Runs a command, shows it and what it says.
    pub(crate) fn show(&self, args: &[&str]) -> Outcome<()> {
        let quoted = |arg: &&str| if arg.contains([' ', '(', '*']) { format!("'{arg}'") } else { (*arg).to_owned() };
        println!("   $ opendata {}", args.iter().map(quoted).collect::<Vec<_>>().join(" "));
        let said = self.command(args).output()?;
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            println!("     {line}");
        }
        match said.status.success() {
            true => Ok(()),
            false => Err(format!("{args:?}: {}", String::from_utf8_lossy(&said.stderr)).into()),
        }
    }

    /// Runs a command for its answer.
    pub(crate) fn ask(&self, args: &[&str]) -> Outcome<Value> {
        let said = self.command(&[&["--json"], args].concat()).output()?;
        if !said.status.success() {
            return Err(format!("{args:?}: {}", String::from_utf8_lossy(&said.stderr)).into());
        }
        let lines = String::from_utf8(said.stdout)?;
        let values: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(if values.len() == 1 { values.into_iter().next().unwrap_or_default() } else { Value::Array(values) })
    }

    /// Starts a process that owns a node, and waits until it does.
    pub(crate) fn own(&self, node: &str, branch: Option<&str>) -> Outcome<Process> {
        let owner = branch.map_or_else(|| node.to_owned(), |branch| format!("{node}-{branch}"));
        let mut args = vec!["--json", "run", "--own", node, "--owner", &owner];
        if let Some(branch) = branch {
            args.extend(["--branch", branch]);
        }
        let mut child =
            self.command(&args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = child.stdout.take().ok_or("a process without output")?;
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.is_empty() {
            return Err(format!("the process of node {node} ended at once").into());
        }
        Ok(process)
    }

    /// Sends a request to the process that serves the events. The status and the answer, or why there is none.
    pub(crate) fn post(&self, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let (host, length) = (&self.address, body.len());
        let head =
            format!("POST {path} HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        connection.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        match status {
            Some(status) => Ok((status, answer)),
            None => Err(std::io::Error::other("the connection was closed")),
        }
    }

    /// Waits until every edge has read all that there is.
    pub(crate) fn caught_up(&self, branch: &str) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let edges = self.ask(&["lag", "--branch", branch])?;
            let edges = edges.pointer("/edges").and_then(Value::as_array).cloned().unwrap_or_default();
            if !edges.is_empty() && edges.iter().all(|edge| edge.get("lag_records").and_then(Value::as_u64) == Some(0))
            {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(format!("the edges have not caught up within a minute: {edges:?}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A process that does not outlive its owner.
pub(crate) struct Process(Child);

impl Process {
    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
