//! Processes beside the test: the built `gatherd`, and programs of others.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::harness::{soon, until};

/// Where a program of the system is. A test that gets none must skip; in CI it must run.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where daemons are is not in everybody's PATH.
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(daemons)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{name} must be there in CI"
        );
        // Straight to standard error, since what a passing test prints is not shown.
        let loud = format!("\n!!! SKIPPED, not tested: there is no {name} on this machine\n\n");
        let _ = std::io::stderr().lock().write_all(loud.as_bytes());
    }
    found
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections.
pub(crate) fn free_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| fastrand::u16(15_000..32_000));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.find(is_free).expect("an endless supply")
}

/// A command that runs the built `gatherd` in a directory, with nothing of our environment.
pub(crate) fn gatherd<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatherd"));
    command.args(arguments).current_dir(directory).env_clear();
    command
}

/// What `gatherd` with these arguments says, which ends by itself.
pub(crate) async fn said<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Said {
    Said::of(gatherd(directory, arguments)).await
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    /// Runs a command to its end; its standard output and error are kept if nobody else has them.
    pub(crate) async fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::of_given(command).await
    }

    /// The same, with the standard input that the command was given.
    pub(crate) async fn of_given(mut command: Command) -> Self {
        command.kill_on_drop(true);
        let ended = soon(command.output()).await.expect("it starts");
        let Output {
            status,
            stdout,
            stderr,
        } = ended;
        Self {
            code: status.code(),
            out: String::from_utf8(stdout).expect("text"),
            error: String::from_utf8(stderr).expect("text"),
        }
    }
}

/// A program that runs until told to stop, or until the test is over.
pub(crate) struct Running {
    child: Child,
    lines: UnboundedReceiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts a command and reads the lines of its standard error.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::start_with(command)
    }

    /// The same, with the standard input that the command was given.
    pub(crate) fn start_with(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("it starts");
        let stderr = child.stderr.take().expect("a pipe");
        Self {
            child,
            lines: lines(stderr),
            seen: Vec::new(),
        }
    }

    /// The next line of its standard error that contains `text`.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        while let Some(line) = soon(self.lines.recv()).await {
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended without saying {text:?}: {:#?}", self.seen);
    }

    /// The field `address` of the next line whose message contains `text`.
    pub(crate) async fn address(&mut self, text: &str) -> String {
        let line = self.line(text).await;
        if let Some((_, address)) = line.split_once("address=") {
            return address.to_owned();
        }
        let fields: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        fields["address"].as_str().expect("an address").to_owned()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        let id = Pid::from_raw(id.try_into().expect("a process id")).expect("not 0");
        kill_process(id, signal).expect("it is ours");
    }

    /// Waits until the program has said what a signal does (proc(5), SigCgt): before, no program
    /// can help what it does.
    pub(crate) async fn handles(&self, signal: Signal) {
        until(|| {
            let caught = u64::from_str_radix(&self.status("SigCgt"), 16);
            caught.expect("digits") & (1 << (signal.as_raw() - 1)) != 0
        })
        .await;
    }

    /// What the system says of the program under this name (proc(5), `/proc/[pid]/status`).
    pub(crate) fn status(&self, name: &str) -> String {
        let status = format!("/proc/{}/status", self.child.id().expect("it runs"));
        let status = std::fs::read_to_string(status).expect("it runs");
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| *field == name);
        named.next().expect("a field").1.trim().to_owned()
    }

    /// The exit code, when it has ended; none if a signal ended it.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let status = soon(self.child.wait()).await.expect("a child");
        status.code()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// The lines of a pipe, read so that it never is full.
fn lines(pipe: impl AsyncRead + Unpin + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // Nobody may listen any more; the pipe must be read all the same.
            let _ = sender.send(line);
        }
    });
    receiver
}
